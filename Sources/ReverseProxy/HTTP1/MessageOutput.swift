import NIOCore

/// One connection's way out, on which what is written is gathered into one piece of memory until it is flushed.
///
/// So an answer is one write of one buffer, and the buffer serves the next answer.
/// Writing to a channel may come back to whoever writes, so nothing here is held while the channel is called.
class MessageOutput {
    /// Memory beyond this is not kept for the next message, as thousands of idle streams would keep it.
    private static let keptCapacity = 8_192

    private let context: ChannelHandlerContext
    private var gathered = ByteBuffer()
    private var isChunked = false
    private var hasGathered = false

    init(_ context: ChannelHandlerContext) { self.context = context }

    /// Whether something was written that is not on its way.
    var needsFlush: Bool { self.hasGathered }

    func write(_ head: RequestHead) {
        self.isChunked = head.headers.contains(.transferEncoding)
        MessageWriter.write(head, to: &self.gathered)
        self.hasGathered = true
    }

    func write(_ head: ResponseHead) {
        self.isChunked = head.headers.contains(.transferEncoding)
        MessageWriter.write(head, to: &self.gathered)
        self.hasGathered = true
    }

    /// Writes a piece of a body as the last head wants it framed.
    func write(body piece: ByteBuffer) {
        let count = piece.readableBytes
        // A chunk of nothing would be the last.
        guard count > 0 else { return }
        self.hasGathered = true
        if self.isChunked { MessageWriter.writeChunkSize(count, to: &self.gathered) }
        if count <= MessageWriter.copyLimit {
            piece.withUnsafeReadableBytes { _ = self.gathered.writeBytes($0) }
        } else {
            self.pass()
            self.context.write(NIOAny(piece), promise: nil)
        }
        if self.isChunked { self.gathered.writeStaticString("\r\n") }
    }

    func write(body text: String) {
        guard !text.isEmpty else { return }
        self.write(body: ByteBuffer(string: text))
    }

    /// Writes the end of a body.
    func writeEnd(_ trailers: Fields?) {
        guard self.isChunked else { return }
        MessageWriter.writeLastChunk(trailers, to: &self.gathered)
        self.hasGathered = true
    }

    func flush() {
        guard self.hasGathered else { return }
        self.hasGathered = false
        let bytes = self.pass()
        self.context.flush()
        // As a rule it was all sent, and the memory is ours alone again.
        guard var bytes, bytes.capacity <= Self.keptCapacity, self.gathered.capacity == 0 else { return }
        bytes.clear()
        self.gathered = bytes
    }

    /// Hands what was gathered to the channel.
    @discardableResult
    private func pass() -> ByteBuffer? {
        guard self.gathered.readableBytes > 0 else { return nil }
        let bytes = self.gathered
        self.gathered = ByteBuffer()
        self.context.write(NIOAny(bytes), promise: nil)
        return bytes
    }
}
