package import Exposition
package import FleetModel
import Foundation
package import Logging
package import NIOCore
import NIOSSL
import ServiceLifecycle
import X509

/// Where the certificate of a listener for clients is: PEM files.
package struct ListenerFiles: Hashable, Sendable {
    /// The chain, the listener's own certificate first.
    package var certificate: String
    package var key: String
    /// Whose certificates clients must show; nobody's when `nil`.
    package var clientAuthority: String?

    package init(certificate: String, key: String, clientAuthority: String? = nil) {
        self.certificate = certificate
        self.key = key
        self.clientAuthority = clientAuthority
    }
}

/// What a listener shows to clients: TLS 1.2 or 1.3 with the suites that HTTP/2 allows, HTTP/2 or HTTP/1.1 by ALPN.
///
/// An ordinary certificate, as browsers and SDKs check it: it needs no identity of the fleet. The files are looked at
/// every 2 s, and new ones serve the handshakes that follow.
package final class ListenerCredentials: Service {
    private struct Loaded: Sendable {
        let context: NIOSSLContext
        let expires: Date
    }

    /// Forward secrecy and authenticated encryption only (RFC 9113 §9.2.2).
    static let suites = "ECDHE+AESGCM:ECDHE+CHACHA20"

    private let files: WatchedFiles<Loaded>

    /// - Throws: ``LinkFilesFault`` when the files cannot be used.
    package init(files: ListenerFiles, logger: Logger) throws(LinkFilesFault) {
        self.files = try WatchedFiles("clients", logger: logger) { () throws(LinkFilesFault) in
            let fix = "name PEM files in `listenTLS`"
            let bytes = [
                try PEMFiles.read(files.certificate, fix: fix), try PEMFiles.read(files.key, fix: fix),
            ]
            let chain = try PEMFiles.certificates(bytes[0], file: files.certificate)
            let key = try PEMFiles.key(bytes[1], file: files.key, of: chain.leaf, in: files.certificate)
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: chain.sources,
                privateKey: .privateKey(key)
            )
            configuration.minimumTLSVersion = .tlsv12
            configuration.cipherSuites = Self.suites
            configuration.applicationProtocols = ["h2", "http/1.1"]
            var authority: [UInt8] = []
            if let file = files.clientAuthority {
                authority = try PEMFiles.read(file, fix: fix)
                configuration.trustRoots = .certificates(
                    try PEMFiles.certificates(authority, file: file).certificates
                )
                configuration.certificateVerification = .noHostnameVerification
            }
            do {
                let context = try NIOSSLContext(configuration: configuration)
                return .init(
                    value: Loaded(context: context, expires: chain.leaf.notValidAfter),
                    bytes: bytes + [authority]
                )
            } catch {
                throw LinkFilesFault(file: files.certificate, reason: "cannot be used for TLS: \(error)")
            }
        }
    }

    /// What is left of the certificate's life, in seconds; negative when it has expired.
    package var expiresIn: Seconds { self.files.value.expires.timeIntervalSinceNow }

    /// Looks at the files until a graceful shutdown.
    package func run() async throws { try await self.files.run() }

    /// Takes the files as they are now, if they have changed.
    package func look() { self.files.look() }

    /// Puts the TLS of one accepted connection at the front of its channel.
    package func install(in channel: any Channel) throws {
        try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: self.files.value.context))
    }

    /// Writes what became of the files.
    package func write(to page: inout ExpositionWriter) {
        func counter(_ name: String, _ help: String, _ value: UInt64) {
            page.single("isobar_gateway_\(name)_total", .counter, help: help, Double(value))
        }
        counter("certificate_reloads", "Times that a changed certificate for clients was taken.", self.files.reloads)
        counter(
            "certificate_reload_failures",
            "Looks at certificate files for clients that could not be used.",
            self.files.failures
        )
        page.single(
            "isobar_gateway_certificate_expiry_seconds",
            .gauge,
            help: "Until the certificate for clients expires.",
            self.expiresIn
        )
    }
}
