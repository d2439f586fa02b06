import NIOCore
import NIOTLS

/// Behind TLS to an upstream: a connection counts as made when its handshake is over.
final class TLSGate: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = NIOAny

    private let opened: EventLoopPromise<Void>
    private var isOver = false

    /// - Parameter opened: Told of the handshake's end, or of why there was none.
    init(opened: EventLoopPromise<Void>) { self.opened = opened }

    func channelActive(context: ChannelHandlerContext) {
        // Nothing is read unasked, the handshake neither.
        context.read()
        context.fireChannelActive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted = event as? TLSUserEvent { self.finish(.success(())) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.finish(.failure(ProxyFailure.handshakeFailed))
        context.fireErrorCaught(error)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.finish(.failure(ProxyFailure.handshakeFailed))
        context.fireChannelInactive()
    }

    private func finish(_ result: Result<Void, any Error>) {
        guard !self.isOver else { return }
        self.isOver = true
        self.opened.completeWith(result)
    }
}

@available(*, unavailable)
extension TLSGate: Sendable {}
