import NIOCore
import NIOHPACK
import NIOHTTP2

/// One HTTP/2 stream's way out: messages as frames.
class FrameOutput: MessageOutput {
    let context: ChannelHandlerContext
    private var hasWritten = false

    override init(_ context: ChannelHandlerContext) {
        self.context = context
        super.init(context)
    }

    override var needsFlush: Bool { self.hasWritten }

    override func write(body piece: ByteBuffer) {
        if piece.readableBytes > 0 { self.write(.data(.init(data: .byteBuffer(piece)))) }
    }

    func writeEnd(_ trailers: Fields?, _ sent: EventLoopPromise<Void>?) {
        if let trailers, !trailers.isEmpty {
            self.write(.headers(.init(headers: Self.block(trailers), endStream: true)), sent)
        } else {
            self.write(.data(.init(data: .byteBuffer(ByteBuffer()), endStream: true)), sent)
        }
    }

    func write(_ payload: HTTP2Frame.FramePayload, _ promise: EventLoopPromise<Void>? = nil) {
        self.hasWritten = true
        self.context.write(NIOAny(payload), promise: promise)
    }

    override func flush() {
        guard self.hasWritten else { return }
        self.hasWritten = false
        self.context.flush()
    }

    /// Headers without those that speak of an HTTP/1 connection, behind those that HTTP/2 begins with.
    static func block(_ fields: Fields, after first: [(String, String)] = []) -> HPACKHeaders {
        var block = HPACKHeaders()
        block.reserveCapacity(fields.lines.count + first.count)
        for (name, value) in first { block.add(name: name, value: value) }
        for line in fields.lines {
            switch line.kind {
            case .connection, .transferEncoding, .upgrade, .hopByHop: break
            case .host, .contentLength, .expect, .forwardedFor, .via, .loadReport, .loadReportFormat, .other:
                block.add(name: fields.name(of: line).lowercased(), value: fields.value(of: line))
            }
        }
        return block
    }
}
