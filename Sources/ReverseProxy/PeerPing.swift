package import FleetModel
package import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// Asks one other gateway whether it is there, over a connection that is kept between questions: so what it takes is
/// a round trip, without a handshake.
package final class PeerPing: Sendable {
    private let address: EndpointAddress
    private let path: String
    private let tls: TLSInstaller?
    private let group: any EventLoopGroup
    private let held = Mutex<(any Channel)?>(nil)

    /// - Parameters:
    ///   - address: The other gateway.
    ///   - path: What it answers without an upstream.
    ///   - tls: TLS to it; plain text when `nil`.
    ///   - group: The event loops for the connection.
    package init(address: EndpointAddress, path: String, tls: TLSInstaller?, group: any EventLoopGroup) {
        self.address = address
        self.path = path
        self.tls = tls
        self.group = group
    }

    /// Asks once; one question at a time.
    ///
    /// - Returns: Whether it had to connect first, so that the time is more than a round trip.
    /// - Throws: When there was no answer within `deadline` seconds.
    package func ask(deadline: Seconds) async throws -> Bool {
        if let kept = self.held.withLock({ $0.take() }), kept.isActive {
            do {
                try await self.ask(kept, deadline: deadline)
                return false
            } catch let silence as PeerSilent {
                throw silence
            } catch {
                // It was closed meanwhile, which says nothing of the other gateway.
            }
        }
        try await self.ask(try await self.connect(deadline: deadline), deadline: deadline)
        return true
    }

    private func ask(_ channel: any Channel, deadline: Seconds) async throws {
        let answered = channel.eventLoop.makePromise(of: Void.self)
        let limit = channel.eventLoop.scheduleTask(in: .seconds(deadline)) { answered.fail(PeerSilent()) }
        channel.triggerUserOutboundEvent(PingHandler.Question(promise: answered), promise: nil)
        defer { limit.cancel() }
        do {
            try await answered.futureResult.get()
            self.held.withLock { $0 = channel }
        } catch {
            channel.close(promise: nil)
            throw error
        }
    }

    /// Lets go of the connection.
    package func close() { self.held.withLock { $0.take() }?.close(promise: nil) }

    private func connect(deadline: Seconds) async throws -> any Channel {
        let (tls, address, path) = (self.tls, self.address, self.path)
        let bootstrap = ClientBootstrap(group: self.group)
            .connectTimeout(.seconds(deadline))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try tls?(channel)
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    try channel.pipeline.syncOperations.addHandler(PingHandler(host: address.description, path: path))
                }
            }
        return try await bootstrap.connect(host: address.host, port: address.port).get()
    }
}

/// The other gateway did not answer in time.
package struct PeerSilent: Error {}

private final class PingHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundIn = HTTPClientRequestPart
    typealias OutboundOut = HTTPClientRequestPart

    struct Question: Sendable {
        let promise: EventLoopPromise<Void>
    }

    private let host: String
    private let path: String
    private var pending: EventLoopPromise<Void>?

    init(host: String, path: String) {
        self.host = host
        self.path = path
    }

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        guard let question = event as? Question else {
            return context.triggerUserOutboundEvent(event, promise: promise)
        }
        self.pending = question.promise
        guard context.channel.isActive else { return self.fail(ChannelError.eof) }
        let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: self.path, headers: ["host": self.host])
        context.write(self.wrapOutboundOut(.head(head)), promise: nil)
        context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .end = self.unwrapInboundIn(data) { self.pending.take()?.succeed() }
    }

    func channelInactive(context: ChannelHandlerContext) { self.fail(ChannelError.eof) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.fail(error)
        context.close(promise: nil)
    }

    private func fail(_ error: any Error) { self.pending.take()?.fail(error) }
}
