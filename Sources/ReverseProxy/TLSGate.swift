import NIOCore
import NIOTLS

/// Behind TLS to an upstream: a connection counts as made when its handshake is over.
final class TLSGate: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = NIOAny

    private let opened: EventLoopPromise<Void>
    private let wanted: String?
    private var isOver = false

    /// - Parameters:
    ///   - opened: Told of the handshake's end, or of why there was none.
    ///   - wanted: What ALPN has to come to; anything when `nil`.
    init(opened: EventLoopPromise<Void>, wanted: String?) {
        self.opened = opened
        self.wanted = wanted
    }

    func channelActive(context: ChannelHandlerContext) {
        // Nothing is read unasked, the handshake neither.
        context.read()
        context.fireChannelActive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted(let negotiated) = event as? TLSUserEvent {
            let isWanted = self.wanted == nil || self.wanted == negotiated
            self.finish(isWanted ? .success(()) : .failure(ProxyFailure.handshakeFailed))
        }
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
