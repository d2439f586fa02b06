import NIOCore
import NIOHTTP2
import WireProtocol

/// Behind the HTTP/2 handler of a server's connection: gives it the messages of direct calls.
///
/// A stream's own channel would hand over each message alone and flush the whole connection for it. Frames that are
/// written here go the same way from the HTTP/2 handler on, which keeps their order and the windows of the peer; only
/// how many bytes of a call are on their way is for the call to count.
final class DirectConnectionHandler: ChannelOutboundHandler, DirectConnection {
    typealias OutboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    /// Bytes that go out at once.
    static let flushBytes = 32 << 10

    private var context: ChannelHandlerContext?
    private var isGathering = false
    private var unflushed = 0

    /// Puts a handler in its place; on the channel's event loop, when its HTTP/2 handler is there.
    ///
    /// - Throws: When there is no HTTP/2 handler.
    static func install(in channel: any Channel) throws {
        let http2 = try channel.pipeline.syncOperations.handler(type: NIOHTTP2Handler.self)
        try channel.pipeline.syncOperations.addHandler(DirectConnectionHandler(), position: .after(http2))
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    /// Sends a message on one stream; `promise` hears when it has gone to the network, or never will.
    func write(_ framed: ByteBuffer, to stream: HTTP2StreamID, promise: EventLoopPromise<Void>) {
        guard let context = self.context else { return promise.fail(ChannelError.ioOnClosedChannel) }
        let frame = HTTP2Frame(streamID: stream, payload: .data(.init(data: .byteBuffer(framed))))
        context.write(self.wrapOutboundOut(frame), promise: promise)
        self.unflushed += framed.readableBytes
        if !self.isGathering || self.unflushed >= Self.flushBytes { self.flush() }
    }

    func gathering(_ body: () -> Void) {
        self.isGathering = true
        body()
        self.isGathering = false
        if self.unflushed > 0 { self.flush() }
    }

    private func flush() {
        self.unflushed = 0
        self.context?.flush()
    }
}
