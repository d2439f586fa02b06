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
    /// The same for HTTP between gateways.
    let peerServer: NIOSSLContext
    let peerClient: NIOSSLContext
    let peerStreams: NIOSSLContext
    /// The bytes of the files, to see that they have changed.
    let bytes: [[UInt8]]

    /// - Throws: ``LinkFilesFault`` for the first file that cannot be used.
    init(_ files: LinkFiles) throws(LinkFilesFault) {
        let paths = [files.certificate, files.key, files.authority]
        var bytes: [[UInt8]] = []
        for path in paths { bytes.append(try PEMFiles.read(path, fix: "issue certificates with `isobar pki`")) }
        let chain = try PEMFiles.certificates(bytes[0], file: files.certificate)
        let trusted = try PEMFiles.certificates(bytes[2], file: files.authority)
        let leaf = chain.leaf
        let key = try PEMFiles.key(bytes[1], file: files.key, of: leaf, in: files.certificate)
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
            server.applicationProtocols = ["h2", "http/1.1"]
            client.applicationProtocols = ["http/1.1"]
            self.peerServer = try NIOSSLContext(configuration: server)
            self.peerClient = try NIOSSLContext(configuration: client)
            client.applicationProtocols = ["h2"]
            self.peerStreams = try NIOSSLContext(configuration: client)
        } catch {
            throw LinkFilesFault(file: files.certificate, reason: "cannot be used for TLS: \(error)")
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
