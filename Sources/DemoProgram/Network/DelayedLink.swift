import FleetModel
import NIOCore
import NIOPosix

/// A wide-area link on loopback: a TCP relay that adds the time light takes.
///
/// It waits half a round trip in each direction, and one round trip more before the first bytes of a new connection
/// (the handshake). It keeps order, passes on half-closes and resets after the delay, and bounds what it holds.
/// A connection to a target that refuses is reset after the round trip in which a client would have learned it.
struct DelayedLink: Sendable {
    /// Where clients of the link connect.
    let address: EndpointAddress
    private let listener: any Channel

    /// Opens a link to `target`; `roundTrip` in seconds.
    ///
    /// - Throws: When no port can be bound on loopback.
    static func open(
        to target: EndpointAddress,
        roundTrip: Seconds,
        on group: any EventLoopGroup
    ) async throws -> DelayedLink {
        let listener = try await ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 512)
            .childChannelOption(.autoRead, value: false)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try Self.relay(channel, to: target, roundTrip: roundTrip)
                }
            }
            .bind(host: "127.0.0.1", port: 0)
            .get()
        return DelayedLink(
            address: EndpointAddress(host: "127.0.0.1", port: listener.localAddress?.port ?? 0),
            listener: listener
        )
    }

    /// Takes no more connections; those that are open go on.
    func close() async throws { try await self.listener.close() }

    private static func relay(_ accepted: any Channel, to target: EndpointAddress, roundTrip: Seconds) throws {
        let opened = Seconds.now
        // The client may send after a round trip; the server sees the connection, and may speak, half a one earlier.
        let near = RelayHandler(oneWay: roundTrip / 2, openAt: opened + roundTrip)
        try accepted.pipeline.syncOperations.addHandler(near)
        let nearBound = NIOLoopBound(near, eventLoop: accepted.eventLoop)
        ClientBootstrap(group: accepted.eventLoop)
            .connectTimeout(.seconds(10))
            .channelOption(.autoRead, value: false)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .connect(host: target.host, port: target.port)
            .assumeIsolated()
            .whenComplete { result in
                let near = nearBound.value
                switch result {
                case .failure:
                    near.refuse(at: opened + roundTrip)
                case .success(let channel):
                    let far = RelayHandler(oneWay: roundTrip / 2, openAt: opened + roundTrip / 2)
                    do {
                        try channel.pipeline.syncOperations.addHandler(far)
                        RelayHandler.join(near, far)
                    } catch {
                        near.refuse(at: opened + roundTrip)
                        channel.close(promise: nil)
                    }
                }
            }
    }
}
