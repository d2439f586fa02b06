package import FleetModel
import Foundation
package import Logging
package import NIOCore
import NIOSSL
import ServiceLifecycle

/// How a gateway checks the model servers that it calls over TLS.
package final class UpstreamTrust: Service {
    private let files: WatchedFiles<NIOSSLContext>
    private let serverName: String?

    /// - Parameters:
    ///   - authority: A PEM file with the authorities that are trusted; those of the system when `nil`.
    ///   - serverName: The name that certificates must have; when `nil` the host or the IP address that was called. One
    ///     that is for the IP address that was called always fits.
    ///   - usesHTTP2: Whether connections are of HTTP/2.
    ///   - logger: Told when the file was reloaded or could not be.
    /// - Throws: ``LinkFilesFault`` when the file cannot be used.
    package init(
        authority: String?,
        serverName: String?,
        usesHTTP2: Bool = false,
        logger: Logger
    ) throws(LinkFilesFault) {
        self.serverName = serverName
        self.files = try WatchedFiles("endpoints", logger: logger) { () throws(LinkFilesFault) in
            var configuration = TLSConfiguration.makeClientConfiguration()
            configuration.minimumTLSVersion = .tlsv12
            configuration.cipherSuites = ListenerCredentials.suites
            configuration.applicationProtocols = [usesHTTP2 ? "h2" : "http/1.1"]
            var bytes: [UInt8] = []
            if let authority {
                bytes = try PEMFiles.read(authority, fix: "name a PEM file in `endpointTLS`")
                configuration.trustRoots = .certificates(
                    try PEMFiles.certificates(bytes, file: authority).certificates
                )
            }
            do {
                return .init(value: try NIOSSLContext(configuration: configuration), bytes: [bytes])
            } catch {
                throw LinkFilesFault(file: authority ?? "endpointTLS", reason: "cannot be used for TLS: \(error)")
            }
        }
    }

    /// Looks at the file until a graceful shutdown.
    package func run() async throws { try await self.files.run() }

    /// Takes the file as it is now, if it has changed.
    package func look() { self.files.look() }

    /// Puts the TLS of one connection to an address at the front of its channel.
    package func install(in channel: any Channel, to address: EndpointAddress) throws {
        let name = self.serverName ?? address.host
        // An IP address is checked against the certificate's, and is no name to be asked for (RFC 6066 §3).
        let isAddress = (try? SocketAddress(ipAddress: name, port: 0)) != nil
        try channel.pipeline.syncOperations.addHandler(
            try NIOSSLClientHandler(context: self.files.value, serverHostname: isAddress ? nil : name)
        )
    }
}
