import NIOCore

/// Behind TLS on a server's connection: makes one buffer of those that are flushed together, so that they share a record.
///
/// TLS seals each buffer that it is given in a record of its own, with a header, a tag and a call of the cipher; HTTP/2
/// gives it two for each message, of which one has nine bytes. What is written here waits for the flush, as it would in
/// TLS.
final class RecordGathering: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// What a record holds at the most (RFC 8446, section 5.1).
    static let recordBytes = 1 << 14

    private var gathered = ByteBuffer()
    private var promises: [EventLoopPromise<Void>] = []

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        var bytes = self.unwrapOutboundIn(data)
        if self.gathered.readableBytes + bytes.readableBytes > Self.recordBytes { self.pass(context) }
        if self.gathered.readableBytes == 0 { self.gathered = bytes } else { self.gathered.writeBuffer(&bytes) }
        if let promise { self.promises.append(promise) }
    }

    func flush(context: ChannelHandlerContext) {
        self.pass(context)
        context.flush()
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        self.pass(context)
        context.close(mode: mode, promise: promise)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        for promise in self.promises { promise.fail(ChannelError.ioOnClosedChannel) }
        self.promises = []
        self.gathered = ByteBuffer()
    }

    /// Hands over what has been gathered.
    private func pass(_ context: ChannelHandlerContext) {
        // An empty write has a promise too.
        guard self.gathered.readableBytes > 0 || !self.promises.isEmpty else { return }
        let (bytes, promises) = (self.gathered, self.promises)
        self.gathered = ByteBuffer()
        self.promises = []
        guard promises.count > 1 else {
            return context.write(self.wrapOutboundOut(bytes), promise: promises.first)
        }
        let all = context.eventLoop.makePromise(of: Void.self)
        all.futureResult.whenComplete { result in for promise in promises { promise.completeWith(result) } }
        context.write(self.wrapOutboundOut(bytes), promise: all)
    }
}
