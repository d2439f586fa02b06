package import FleetModel
package import GRPCCore
package import GRPCNIOTransportHTTP2Posix
import ServiceLifecycle

/// One long-lived connection to one address; it reconnects by itself.
///
/// One client an address, since a client of several addresses would stay with the first for ever.
package struct WireClient: Service {
    package typealias Transport = HTTP2ClientTransport.Posix

    package let address: EndpointAddress
    package let client: GRPCClient<Transport>

    /// - Parameters:
    ///   - address: The other end.
    ///   - field: The configuration's field that the address comes from, for messages.
    /// - Throws: ``WireRefusal`` for an address off loopback, where plain text is not allowed.
    package init(to address: EndpointAddress, field: String) throws {
        try WireRefusal.check(address, field: field)
        self.address = address
        self.client = GRPCClient(
            transport: try HTTP2ClientTransport.Posix(
                target: .dns(host: address.host, port: address.port),
                transportSecurity: .plaintext,
                config: .defaults { config in
                    config.backoff = .init(
                        initial: .milliseconds(50),
                        max: .seconds(1),
                        multiplier: 1.6,
                        jitter: 0.2
                    )
                    // A peer that vanished without a word is noticed within these.
                    config.connection.keepalive = .init(
                        time: .seconds(10),
                        timeout: .seconds(3),
                        allowWithoutCalls: true
                    )
                }
            )
        )
    }

    /// Keeps the connection until a graceful shutdown.
    package func run() async throws {
        try await withGracefulShutdownHandler {
            try await self.client.runConnections()
        } onGracefulShutdown: {
            self.client.beginGracefulShutdown()
        }
    }
}
