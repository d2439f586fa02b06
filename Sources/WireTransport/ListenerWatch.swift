import NIOCore

/// On a listener: says where it listens, the moment that it does.
final class ListenerWatch: ChannelInboundHandler {
    typealias InboundIn = NIOAny

    private let onListening: (_ port: Int?) -> Void

    init(onListening: @escaping (_ port: Int?) -> Void) { self.onListening = onListening }

    func channelActive(context: ChannelHandlerContext) {
        self.onListening(context.localAddress?.port)
        context.fireChannelActive()
    }
}
