import NIOCore
import NIOHPACK
import NIOHTTP2

/// One HTTP/2 stream's way out: answers as frames.
final class StreamOutput: MessageOutput {
    private let context: ChannelHandlerContext
    /// The client has ended its side: the stream ends with the answer.
    var isRequestWhole = false
    private var isAnswerSent = false
    private var isFinished = false
    private var hasWritten = false

    override init(_ context: ChannelHandlerContext) {
        self.context = context
        super.init(context)
    }

    override func write(_ head: ResponseHead) {
        self.write(.headers(.init(headers: Self.block(head.headers, status: head.status))))
    }

    override func write(body piece: ByteBuffer) {
        if piece.readableBytes > 0 { self.write(.data(.init(data: .byteBuffer(piece)))) }
    }

    override func writeEnd(_ trailers: Fields?) {
        let sent = self.context.eventLoop.makePromise(of: Void.self)
        sent.futureResult.assumeIsolated().whenSuccess {
            self.isAnswerSent = true
            if self.isFinished { self.leave() }
        }
        if let trailers, !trailers.isEmpty {
            self.write(.headers(.init(headers: Self.block(trailers, status: nil), endStream: true)), sent)
        } else {
            self.write(.data(.init(data: .byteBuffer(ByteBuffer()), endStream: true)), sent)
        }
    }

    private func write(_ payload: HTTP2Frame.FramePayload, _ promise: EventLoopPromise<Void>? = nil) {
        self.hasWritten = true
        self.context.write(NIOAny(payload), promise: promise)
    }

    override func flush() {
        guard self.hasWritten else { return }
        self.hasWritten = false
        self.context.flush()
    }

    /// Headers without those that speak of an HTTP/1 connection.
    static func block(_ fields: Fields, status: Int?) -> HPACKHeaders {
        var block = HPACKHeaders()
        block.reserveCapacity(fields.lines.count + 1)
        if let status { block.add(name: ":status", value: String(status)) }
        for line in fields.lines {
            switch line.kind {
            case .connection, .transferEncoding, .upgrade, .hopByHop: break
            case .host, .contentLength, .expect, .forwardedFor, .via, .loadReport, .loadReportFormat, .other:
                block.add(name: fields.name(of: line).lowercased(), value: fields.value(of: line))
            }
        }
        return block
    }

    // MARK: The end

    /// The answer is all written: what is left of the request is not wanted, and once the answer is sent the client is
    /// told so (RFC 9113 §8.1).
    func finish() {
        self.isFinished = true
        if self.isAnswerSent { self.leave() }
    }

    private func leave() {
        guard !self.isRequestWhole, self.context.channel.isActive else { return }
        self.isRequestWhole = true
        self.write(.rstStream(.noError))
        self.flush()
    }

    /// The answer is not whole and never will be.
    func abort() {
        self.write(.rstStream(.internalError))
        self.flush()
    }
}
