import NIOCore

/// Tells when a client goes away, also in the midst of an answer.
///
/// A client that closes its sending side counts as gone, as it does for vLLM's server.
final class DisconnectHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = NIOAny

    private let onDisconnect: @Sendable (ConnectionID) -> Void

    init(onDisconnect: @escaping @Sendable (ConnectionID) -> Void) {
        self.onDisconnect = onDisconnect
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        context.fireUserInboundEventTriggered(event)
        if let event = event as? ChannelEvent, event == .inputClosed { context.close(promise: nil) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.onDisconnect(ConnectionID(context.channel))
        context.fireChannelInactive()
    }
}
