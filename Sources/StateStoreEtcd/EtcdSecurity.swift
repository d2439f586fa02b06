import Foundation
import GRPCNIOTransportHTTP2Posix
import NIOSSL
package import WireTransport

/// How a hub and etcd's members know each other.
package enum EtcdSecurity: Sendable {
    /// Plain text.
    case plain
    /// An etcd that somebody else runs; see ``EtcdFiles``.
    case files(EtcdFiles)
    /// Members beside hubs, with the hubs' own certificates.
    case links(LinkCredentials)

    var ofTransport: HTTP2ClientTransport.Posix.TransportSecurity {
        switch self {
        case .plain: .plaintext
        case .links: .customSecure
        case .files(let files): files.ofTransport
        }
    }

    /// - Throws: ``EtcdFilesFault`` for the first file that cannot be used.
    func check() throws {
        if case .files(let files) = self { try files.check() }
    }

    /// What to do about a connection that failed for this reason; `nil` when it is not about certificates.
    func advice(on reason: String) -> String? {
        let isShut = reason.contains("preface") || reason.contains("eofDuringHandshake")
        switch self {
        case .plain:
            return isShut
                ? "etcdAuthority: is not set, and the member may want TLS: name the authority of its certificate" : nil
        case .links:
            return nil
        case .files(let files):
            if reason.contains("CERTIFICATE_VERIFY_FAILED") || reason.contains("unableToValidateCertificate") {
                return
                    "etcdAuthority: \(files.authority): did not sign the member's certificate, or that is of another host"
            }
            let isRefused = [
                "BAD_CERTIFICATE", "CERTIFICATE_REQUIRED", "UNKNOWN_CA", "CERTIFICATE_UNKNOWN", "HANDSHAKE_FAILURE",
            ]
            .contains { reason.contains($0) }
            guard isRefused else {
                return reason.contains("WRONG_VERSION_NUMBER")
                    ? "etcdAuthority: is set, and the member does not speak TLS" : nil
            }
            guard let certificate = files.client?.certificate else {
                return "etcdCertificate: is not set, and the member asks for one: name it, with etcdKey"
            }
            return "etcdCertificate: \(certificate): is refused by the member: it must be signed by an authority that "
                + "the member trusts (its --trusted-ca-file)"
        }
    }
}

/// The PEM files by which a hub and an etcd that somebody else runs know each other; read once, at the start.
package struct EtcdFiles: Hashable, Sendable {
    package struct Client: Hashable, Sendable {
        package var certificate: String
        package var key: String

        package init(certificate: String, key: String) {
            self.certificate = certificate
            self.key = key
        }
    }

    /// Of the authority that signed the members' certificates.
    package var authority: String
    /// What this hub shows, when the members ask for it.
    package var client: Client?

    package init(authority: String, client: Client?) {
        self.authority = authority
        self.client = client
    }

    var ofTransport: HTTP2ClientTransport.Posix.TransportSecurity {
        guard let client else {
            return .tls { $0.trustRoots = .certificates([.file(path: self.authority, format: .pem)]) }
        }
        return .mTLS(
            certificateChain: [.file(path: client.certificate, format: .pem)],
            privateKey: .file(path: client.key, format: .pem)
        ) {
            $0.trustRoots = .certificates([.file(path: self.authority, format: .pem)])
        }
    }

    func check() throws(EtcdFilesFault) {
        try Self.check("etcdAuthority", self.authority, "certificate") {
            guard !(try NIOSSLCertificate.fromPEMFile($0)).isEmpty else { throw NIOSSLError.failedToLoadCertificate }
        }
        guard let client else { return }
        try Self.check("etcdCertificate", client.certificate, "certificate") {
            guard !(try NIOSSLCertificate.fromPEMFile($0)).isEmpty else { throw NIOSSLError.failedToLoadCertificate }
        }
        try Self.check("etcdKey", client.key, "private key") { _ = try NIOSSLPrivateKey(file: $0, format: .pem) }
        do {
            var configuration = TLSConfiguration.makeClientConfiguration()
            configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(client.certificate).map {
                .certificate($0)
            }
            configuration.privateKey = .privateKey(try NIOSSLPrivateKey(file: client.key, format: .pem))
            _ = try NIOSSLContext(configuration: configuration)
        } catch {
            throw EtcdFilesFault(field: "etcdKey", file: client.key, reason: "is not the key of \(client.certificate)")
        }
    }

    private static func check(
        _ field: String,
        _ file: String,
        _ what: String,
        _ read: (String) throws -> Void
    ) throws(EtcdFilesFault) {
        guard FileManager.default.fileExists(atPath: file) else {
            throw EtcdFilesFault(field: field, file: file, reason: "no such file; name a PEM file")
        }
        do {
            try read(file)
        } catch {
            throw EtcdFilesFault(field: field, file: file, reason: "holds no PEM \(what) that can be read")
        }
    }
}

/// Why a file cannot be used: the field that names it, the file, and the reason.
package struct EtcdFilesFault: Error, Hashable, CustomStringConvertible {
    package let field: String
    package let file: String
    package let reason: String

    package var description: String { "\(self.field): \(self.file): \(self.reason)" }
}
