import NIOCore
import NIOHPACK
import NIOHTTP2

/// Reads one HTTP/2 stream as a request of HTTP/1.1, so that both kinds of clients run through one exchange.
///
/// A request that comes in binary may hold what a line of text must not: what could split or shift the message that is
/// written upstream is refused here (RFC 9113 §10.3). The body's length is made explicit, by the client's own
/// `content-length`, which the HTTP/2 layer checks against the frames, or in chunks.
final class StreamReader: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    /// Nothing: it says that there is something to take.
    typealias InboundOut = ByteBuffer

    private let client: ClientConnection
    private var isHeadRead = false

    /// - Parameter client: The next handler, which serves the stream.
    init(client: ClientConnection) { self.client = client }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .headers(let block):
            if block.endStream { self.client.stream?.isRequestWhole = true }
            if self.isHeadRead {
                self.client.arrive(.end(Self.trailers(block.headers)))
            } else {
                self.isHeadRead = true
                do throws(Refusal) {
                    self.client.arrive(.head(try Self.head(block.headers, isWhole: block.endStream)))
                } catch {
                    return self.client.arrive(error)
                }
                if block.endStream { self.client.arrive(.end(nil)) }
            }
        case .data(let data):
            if case .byteBuffer(let bytes) = data.data, bytes.readableBytes > 0 { self.client.arrive(.body(bytes)) }
            if data.endStream {
                self.client.stream?.isRequestWhole = true
                self.client.arrive(.end(nil))
            }
        // Resets arrive as errors; the rest does not concern a request.
        default: return
        }
        context.fireChannelRead(self.wrapInboundOut(ByteBuffer()))
    }

    /// The request's head as HTTP/1.1 writes it.
    ///
    /// - Throws: ``Refusal`` for a head that could not be written without becoming another request.
    static func head(_ block: HPACKHeaders, isWhole: Bool) throws(Refusal) -> RequestHead {
        var (method, path, authority): (String?, String?, String?)
        var (host, cookie): (String?, String?)
        var fields = Fields()
        for (name, value, _) in block {
            guard value.utf8.allSatisfy(\.isFieldText) else { throw .malformed("a header has a control character") }
            switch name {
            case ":method": method = value
            case ":path": path = value
            case ":authority": authority = value
            // Several are one in HTTP/1.1 (RFC 9113 §8.2.3).
            case "cookie": cookie = cookie.map { "\($0); \(value)" } ?? value
            case "host": host = value
            case _ where name.hasPrefix(":"): break
            default:
                guard !name.isEmpty, name.utf8.allSatisfy(\.isToken) else {
                    throw .malformed("a header's name is not a token")
                }
                fields.add(name, value.withoutBlanks)
            }
        }
        guard let method, !method.isEmpty, method.utf8.allSatisfy(\.isToken) else {
            throw .malformed("there must be a method")
        }
        guard let path, path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }),
            path.utf8.first == UInt8(ascii: "/") || path == "*" || method == "CONNECT"
        else { throw .malformed("the path must begin with a slash") }
        guard let name = authority ?? host, authority == nil || host == nil || authority == host else {
            throw .malformed("there must be one authority")
        }
        fields.add("host", name.withoutBlanks)
        if let cookie { fields.add("cookie", cookie.withoutBlanks) }
        if !fields.contains(.contentLength) {
            if !isWhole {
                fields.add("transfer-encoding", "chunked")
            } else if ["POST", "PUT", "PATCH"].contains(method) {
                fields.add("content-length", "0")
            }
        }
        return RequestHead(method: method, uri: path, headers: fields)
    }

    /// Trailers, without what would frame or address a message.
    private static func trailers(_ block: HPACKHeaders) -> Fields {
        var trailers = Fields()
        for (name, value, _) in block where KnownHeader(name) == .other {
            let isPlain = name.utf8.allSatisfy(\.isToken) && value.utf8.allSatisfy(\.isFieldText)
            if isPlain, !name.isEmpty { trailers.add(name, value.withoutBlanks) }
        }
        return trailers
    }
}

@available(*, unavailable)
extension StreamReader: Sendable {}

extension String {
    /// Without blanks and tabs at either end.
    var withoutBlanks: String {
        func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
        guard let first = self.utf8.first, let last = self.utf8.last, isBlank(first) || isBlank(last) else {
            return self
        }
        var text = self.utf8.drop(while: isBlank)
        while text.last.map(isBlank) ?? false { text.removeLast() }
        return String(Substring(text))
    }
}
