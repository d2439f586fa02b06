import Foundation
import NIOSSL
import SwiftASN1
import X509

/// Reading PEM files, with faults that say what to do.
enum PEMFiles {
    /// - Throws: ``LinkFilesFault`` with the fix.
    static func read(_ path: String, fix: String) throws(LinkFilesFault) -> [UInt8] {
        guard let data = FileManager.default.contents(atPath: path) else {
            let reason = FileManager.default.fileExists(atPath: path) ? "cannot be read" : "no such file"
            throw LinkFilesFault(file: path, reason: "\(reason); \(fix)")
        }
        return Array(data)
    }

    struct Chain {
        let certificates: [NIOSSLCertificate]
        /// At least one, the first the program's own.
        let parsed: [Certificate]
        var sources: [NIOSSLCertificateSource] { self.certificates.map { .certificate($0) } }
        var leaf: Certificate { self.parsed[0] }
    }

    static func certificates(_ bytes: [UInt8], file: String) throws(LinkFilesFault) -> Chain {
        do {
            let certificates = try NIOSSLCertificate.fromPEMBytes(bytes)
            let parsed = try certificates.map { try Certificate(derEncoded: try $0.toDERBytes()) }
            guard !parsed.isEmpty else { throw LinkFilesFault(file: file, reason: "holds no certificate") }
            return Chain(certificates: certificates, parsed: parsed)
        } catch let fault as LinkFilesFault {
            throw fault
        } catch {
            throw LinkFilesFault(file: file, reason: "holds no PEM certificate")
        }
    }

    /// The private key of a certificate.
    static func key(
        _ bytes: [UInt8],
        file: String,
        of leaf: Certificate,
        in certificateFile: String
    ) throws(LinkFilesFault) -> NIOSSLPrivateKey {
        do {
            let key = try NIOSSLPrivateKey(bytes: bytes, format: .pem)
            let parsed = try Certificate.PrivateKey(pemEncoded: String(decoding: bytes, as: UTF8.self))
            guard parsed.publicKey == leaf.publicKey else {
                throw LinkFilesFault(file: file, reason: "is not the key of \(certificateFile)")
            }
            return key
        } catch let fault as LinkFilesFault {
            throw fault
        } catch {
            throw LinkFilesFault(file: file, reason: "holds no PEM private key")
        }
    }
}
