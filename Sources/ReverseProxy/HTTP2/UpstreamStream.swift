import NIOCore
import NIOHPACK
import NIOHTTP2

/// A request on a stream to an upstream.
final class RequestOutput: FrameOutput {
    /// `https` behind TLS.
    private let scheme: String

    init(_ context: ChannelHandlerContext, scheme: String) {
        self.scheme = scheme
        super.init(context)
    }

    override func write(_ head: RequestHead) {
        let host = head.headers.first(.host)
        var first = [(":method", head.method), (":scheme", self.scheme), (":path", head.uri)]
        if let host { first.append((":authority", host)) }
        let fields = head.headers.kept(room: 0) { $0.kind != .host }
        self.write(.headers(.init(headers: Self.block(fields, after: first))))
    }

    override func writeEnd(_ trailers: Fields?) { self.writeEnd(trailers, nil) }
}

/// Reads the answer on a stream from an upstream, as the parts that HTTP/1 would have brought.
final class AnswerReader: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    /// Nothing: it says that there is something to take.
    typealias InboundOut = ByteBuffer

    private let connection: UpstreamConnection
    private var isHeadRead = false

    /// - Parameter connection: The next handler.
    init(connection: UpstreamConnection) { self.connection = connection }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .headers(let block):
            if self.isHeadRead {
                self.connection.arrive(.end(Self.fields(block.headers)))
            } else {
                let status = block.headers.first(name: ":status").flatMap { Int($0) } ?? 0
                // Nobody asked for these, as in HTTP/1.
                if (100..<200).contains(status), status != 101 { return }
                self.isHeadRead = true
                let fields = Self.fields(block.headers)
                self.connection.arrive(.head(ResponseHead(status: status, reason: "", headers: fields)))
                if block.endStream { self.connection.arrive(.end(nil)) }
            }
        case .data(let data):
            if case .byteBuffer(let bytes) = data.data, bytes.readableBytes > 0 {
                self.connection.arrive(.body(bytes))
            }
            if data.endStream { self.connection.arrive(.end(nil)) }
        default: return
        }
        context.fireChannelRead(self.wrapInboundOut(ByteBuffer()))
    }

    /// Fields that may be passed on as lines of text; what may not is left out.
    private static func fields(_ block: HPACKHeaders) -> Fields {
        var fields = Fields()
        for (name, value, _) in block where !name.hasPrefix(":") && !name.isEmpty {
            guard name.utf8.allSatisfy(\.isToken), value.utf8.allSatisfy(\.isFieldText) else { continue }
            fields.add(name, value.withoutBlanks)
        }
        return fields
    }
}

@available(*, unavailable)
extension AnswerReader: Sendable {}
