package import FleetModel
package import GRPCCore
package import GRPCNIOTransportHTTP2Posix
import NIOCore
import ServiceLifecycle
import Synchronization

/// One long-lived connection to one address; it reconnects by itself.
///
/// One client an address, since a client of several addresses would stay with the first for ever.
package struct WireClient: Service {
    package typealias Transport = HTTP2ClientTransport.Posix

    package let address: EndpointAddress
    package let client: GRPCClient<Transport>
    private let lastPeer = LastPeer()

    /// Who the other end is, as its newest certificate says; `nil` on a plain text link, and before the first handshake.
    package var peer: Identity? { self.lastPeer.identity.withLock { $0 } }

    /// - Parameters:
    ///   - address: The other end.
    ///   - field: The configuration's field that the address comes from, for messages.
    ///   - role: What the other end must be.
    ///   - credentials: Mutual TLS with these; plain text, to loopback only, when `nil`.
    /// - Throws: ``WireRefusal`` for an address off loopback without credentials.
    package init(
        to address: EndpointAddress,
        field: String,
        role: Role,
        credentials: LinkCredentials? = nil
    ) throws {
        if credentials == nil { try WireRefusal.check(address, field: field) }
        let lastPeer = self.lastPeer
        self.address = address
        self.client = GRPCClient(
            transport: try HTTP2ClientTransport.Posix(
                target: .dns(host: address.host, port: address.port),
                transportSecurity: credentials == nil ? .plaintext : .customSecure,
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
                    guard let credentials else { return }
                    config.channelDebuggingCallbacks.onCreateTCPConnection = { channel in
                        channel.eventLoop.makeCompletedFuture {
                            try credentials.secure(channel, to: role, at: address) { identity in
                                lastPeer.identity.withLock { $0 = identity }
                            }
                        }
                    }
                }
            )
        )
    }

    /// Keeps the connection for as long as `body` runs.
    package func whileConnected(_ body: @escaping @Sendable () async -> Void) async {
        await withTaskGroup(of: Void.self) { group in
            // It ends when it is cancelled, below; an error would come back with every call.
            group.addTask { try? await self.client.keepConnections() }
            group.addTask { await body() }
            await group.next()
            group.cancelAll()
        }
    }

    /// Keeps the connection until a graceful shutdown.
    package func run() async throws {
        try await withGracefulShutdownHandler {
            try await self.client.keepConnections()
        } onGracefulShutdown: {
            self.client.beginGracefulShutdown()
        }
    }
}

private final class LastPeer: Sendable {
    let identity = Mutex<Identity?>(nil)
}
