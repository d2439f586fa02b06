import FleetModel
import Foundation
import NIOSSL
import SwiftASN1
import X509

/// Where a program's certificate is, its key, and the authorities that it trusts: three PEM files.
package struct LinkFiles: Hashable, Sendable {
    package var certificate: String
    package var key: String
    /// One certificate, or several while a fleet moves from one authority to the next.
    package var authority: String

    package init(certificate: String, key: String, authority: String) {
        self.certificate = certificate
        self.key = key
        self.authority = authority
    }
}

/// Why certificate files cannot be used: the file, the reason, the fix.
package struct LinkFilesFault: Error, Hashable, CustomStringConvertible {
    package let file: String
    package let reason: String

    package init(file: String, reason: String) {
        self.file = file
        self.reason = reason
    }

    package var description: String { "\(self.file): \(self.reason)" }
}

/// What the three files held when they were read, ready for handshakes.
struct LoadedFiles: Sendable {
    let identity: Identity
    let expires: Date
    let authorities: CertificateStore
    let server: NIOSSLContext
    let client: NIOSSLContext
    /// The bytes of the files, to see that they have changed.
    let bytes: [[UInt8]]

    /// - Throws: ``LinkFilesFault`` for the first file that cannot be used.
    init(_ files: LinkFiles) throws(LinkFilesFault) {
        let paths = [files.certificate, files.key, files.authority]
        var bytes: [[UInt8]] = []
        for path in paths { bytes.append(try Self.read(path)) }
        let chain = try Self.certificates(bytes[0], file: files.certificate)
        let trusted = try Self.certificates(bytes[2], file: files.authority)
        let leaf = chain.parsed[0]
        let key: NIOSSLPrivateKey
        do {
            key = try NIOSSLPrivateKey(bytes: bytes[1], format: .pem)
            let parsed = try Certificate.PrivateKey(pemEncoded: String(decoding: bytes[1], as: UTF8.self))
            guard parsed.publicKey == leaf.publicKey else {
                throw LinkFilesFault(file: files.key, reason: "is not the key of \(files.certificate)")
            }
        } catch let fault as LinkFilesFault {
            throw fault
        } catch {
            throw LinkFilesFault(file: files.key, reason: "holds no PEM private key")
        }
        do throws(LinkFault) {
            self.identity = try leaf.identity()
        } catch {
            throw LinkFilesFault(
                file: files.certificate,
                reason: "has not exactly one isobar://FLEET/ROLE/NAME; issue one with `isobar pki issue`"
            )
        }
        self.expires = leaf.notValidAfter
        self.authorities = CertificateStore(trusted.parsed)
        self.bytes = bytes
        do {
            var server = TLSConfiguration.makeServerConfiguration(
                certificateChain: chain.sources,
                privateKey: .privateKey(key)
            )
            server.certificateVerification = .noHostnameVerification
            server.trustRoots = .certificates(trusted.certificates)
            var client = TLSConfiguration.makeClientConfiguration()
            client.certificateChain = chain.sources
            client.privateKey = .privateKey(key)
            // The name of a peer is in its URI, which PeerCheck reads; an address proves nothing.
            client.certificateVerification = .noHostnameVerification
            client.trustRoots = .certificates(trusted.certificates)
            server.minimumTLSVersion = .tlsv13
            client.minimumTLSVersion = .tlsv13
            server.applicationProtocols = ["h2"]
            client.applicationProtocols = ["h2"]
            self.server = try NIOSSLContext(configuration: server)
            self.client = try NIOSSLContext(configuration: client)
        } catch {
            throw LinkFilesFault(file: files.certificate, reason: "cannot be used for TLS: \(error)")
        }
    }

    private static func read(_ path: String) throws(LinkFilesFault) -> [UInt8] {
        guard let data = FileManager.default.contents(atPath: path) else {
            let reason = FileManager.default.fileExists(atPath: path) ? "cannot be read" : "no such file"
            throw LinkFilesFault(file: path, reason: "\(reason); issue certificates with `isobar pki`")
        }
        return Array(data)
    }

    private struct Chain {
        let certificates: [NIOSSLCertificate]
        let parsed: [Certificate]
        var sources: [NIOSSLCertificateSource] { self.certificates.map { .certificate($0) } }
    }

    private static func certificates(_ bytes: [UInt8], file: String) throws(LinkFilesFault) -> Chain {
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
}

extension Certificate {
    /// The one identity in the certificate.
    ///
    /// - Throws: ``LinkFault/noIdentity``.
    func identity() throws(LinkFault) -> Identity {
        let names = (try? self.extensions.subjectAlternativeNames).flatMap { $0 }.map(Array.init) ?? []
        let identities = names.compactMap { name -> String? in
            guard case .uniformResourceIdentifier(let uri) = name, uri.hasPrefix(Identity.scheme) else { return nil }
            return uri
        }
        guard identities.count == 1, let identity = try? Identity(uri: identities[0]) else { throw .noIdentity }
        return identity
    }
}
