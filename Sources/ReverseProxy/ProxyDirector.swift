package import FleetModel
import NIOCore

/// Decides where requests go.
///
/// Every verb is called on an event loop: it must neither block nor suspend, and may be called from
/// several loops at once.
package protocol ProxyDirector: Sendable {
    /// Chooses the first or next target of a request; `failed` are the targets already tried for it, in order.
    ///
    /// A `.forward` opens a try; exactly one outcome whose ``ProxyOutcome/Event/isTerminal`` is true
    /// closes it, before the next call for the same request.
    func direct(_ request: ProxiedRequest, failed: [ProxyTarget]) -> ProxyDecision

    /// Learns what became of a try.
    func observe(_ outcome: ProxyOutcome)

    /// Whether the beginning of the request's body is to be there before ``direct(_:failed:)`` is asked.
    func wantsBody(_ request: ProxiedRequest) -> Bool

    /// The request is over, whether it was answered, refused or left by its client: called once for each request for
    /// which ``direct(_:failed:)`` or ``wantsBody(_:)`` was.
    func ended(_ request: ProxiedRequest, _ summary: ProxySummary)

    /// Whether an answer of 502 or 503, of which nothing has been passed on, is to be tried elsewhere.
    func shouldRetry(_ request: ProxiedRequest, status: Int) -> Bool

    /// Chooses a second target for a request whose first has not begun to answer; both are executed until one does.
    ///
    /// A `.forward` opens a try like any other, and is closed like any other; anything else means that there is none.
    func hedge(_ request: ProxiedRequest, besides target: ProxyTarget) -> ProxyDecision

    /// Whether new connections to a target are of HTTP/2: by ALPN behind TLS, by prior knowledge without.
    func speaksHTTP2(to target: EndpointAddress) -> Bool

    /// The TLS of new connections to a target; plain text when `nil`.
    func tls(to target: EndpointAddress) -> TLSInstaller?
}

extension ProxyDirector {
    /// An upstream that answers 502 or 503 has not begun the work: try another.
    package func shouldRetry(_ request: ProxiedRequest, status: Int) -> Bool { true }

    package func hedge(_ request: ProxiedRequest, besides target: ProxyTarget) -> ProxyDecision { .wait(0) }

    package func speaksHTTP2(to target: EndpointAddress) -> Bool { false }

    package func tls(to target: EndpointAddress) -> TLSInstaller? { nil }

    package func wantsBody(_ request: ProxiedRequest) -> Bool { false }

    package func ended(_ request: ProxiedRequest, _ summary: ProxySummary) {}
}

/// How a request ended for its client.
package struct ProxySummary: Hashable, Sendable {
    /// The status that the client got; `nil` when it got none.
    package var status: Int?
    /// Bytes of the answer's body.
    package var bytes: Int
    /// Bytes of the request's body that were read.
    package var requestBytes: Int
    /// From the request's head to the end of the answer, in seconds.
    package var duration: Seconds

    package init(status: Int?, bytes: Int, requestBytes: Int, duration: Seconds) {
        self.status = status
        self.bytes = bytes
        self.requestBytes = requestBytes
        self.duration = duration
    }
}

/// Where a try goes.
package struct ProxyTarget: Hashable, Sendable, CustomStringConvertible {
    package var address: EndpointAddress

    package init(address: EndpointAddress) { self.address = address }

    package var description: String { self.address.description }
}

/// A header that the director adds; no value of it can split a message.
///
/// What may not stand in a name is left out, control characters in the value become spaces, and names that frame the
/// message or speak for the connection are passed over.
package struct ProxyHeader: Hashable, Sendable {
    package let name: String
    package let value: String

    package init(_ name: String, _ value: String) {
        self.name =
            name.hasOnly(\.isTokenByte) ? name : String(decoding: name.utf8.filter(\.isTokenByte), as: UTF8.self)
        self.value =
            value.hasOnly { !$0.isControl }
            ? value : String(decoding: value.utf8.map { $0.isControl ? UInt8(ascii: " ") : $0 }, as: UTF8.self)
    }
}

extension String {
    /// Whether all of its bytes are such; looked at where they stand.
    fileprivate func hasOnly(_ isSuch: (UInt8) -> Bool) -> Bool {
        self.utf8.withContiguousStorageIfAvailable { $0.allSatisfy(isSuch) } ?? self.utf8.allSatisfy(isSuch)
    }
}

extension UInt8 {
    fileprivate var isControl: Bool { self < 0x20 || self == 0x7F }

    /// RFC 9110 §5.6.2, without its rarer signs.
    fileprivate var isTokenByte: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
            true
        default: false
        }
    }
}

/// What the director may know of a request.
package struct ProxiedRequest: Hashable, Sendable {
    /// Unique within one ``ProxyServer``.
    package let id: UInt64
    /// As in `POST`.
    package let method: String
    /// Path and query, as in `/v1/chat/completions`.
    package let uri: String
    /// The client's IP address, as this proxy sees it; `nil` for a socket without one.
    package let client: String?
    /// How many gateways of this fleet the request has passed before, by its `via` header.
    package let hops: Int
    /// How often the director was asked about it before.
    package internal(set) var asked = 0
    let headers: Fields
    /// The beginning of the body, when the director wanted it: at most ``ProxySettings/peekLimit`` bytes.
    var peeked: [ByteBuffer] = []

    /// Calls the body with the bytes of the beginning of the request's body, piece by piece.
    package func forEachPeeked(_ body: (UnsafeRawBufferPointer) -> Void) {
        for bytes in self.peeked { bytes.withUnsafeReadableBytes(body) }
    }

    /// The first value of a header, by a name of any case.
    package subscript(header name: String) -> String? { self.headers.first(name: name) }

    /// Whether the first value of a header has a word in it, which is in lower case; `nil` without the header.
    package func header(_ name: String, mentions word: StaticString) -> Bool? {
        self.headers.line(name).map { line in self.headers.withValue(of: line) { $0.mentions(word) } }
    }

    package static func == (lhs: Self, rhs: Self) -> Bool { lhs.id == rhs.id }

    package func hash(into hasher: inout Hasher) { hasher.combine(self.id) }
}

/// What to do with a request.
package enum ProxyDecision: Hashable, Sendable {
    /// Pass it on: `requestHeaders` replace those of the same name on the way up,
    /// `responseHeaders` those on the way down.
    ///
    /// With `uri`, an end of the request's own that begins with a slash, that goes upstream instead. With `edit`, a
    /// part of the beginning of the body that the director has seen is replaced.
    case forward(
        ProxyTarget,
        uri: String? = nil,
        requestHeaders: [ProxyHeader] = [],
        responseHeaders: [ProxyHeader] = [],
        edit: BodyEdit? = nil,
        limits: TryLimits = TryLimits()
    )
    /// Answer it here.
    case answer(ProxyAnswer)
    /// Ask again after so many seconds, or as soon as ``ProxyWaker/wake(_:)`` names the request.
    case wait(Seconds)
}

/// How long a try may go without a byte of its answer's body; times in seconds from its start.
///
/// With either of them the head of the answer is kept back until then, as it cannot be taken back once it is sent.
package struct TryLimits: Hashable, Sendable {
    /// Then the client is answered with 504 and the try is given up.
    package var deadline: Seconds?
    /// Then ``ProxyDirector/hedge(_:besides:)`` is asked.
    package var hedgeAfter: Seconds?

    package init(deadline: Seconds? = nil, hedgeAfter: Seconds? = nil) {
        self.deadline = deadline
        self.hedgeAfter = hedgeAfter
    }

    var holdsHead: Bool { self.deadline != nil || self.hedgeAfter != nil }
}

/// One replacement in the beginning of a request's body.
package struct BodyEdit: Hashable, Sendable {
    /// Offsets from the beginning of the body, within what was peeked.
    package var range: Range<Int>
    package var replacement: String

    package init(range: Range<Int>, replacement: String) {
        self.range = range
        self.replacement = replacement
    }

    /// How much longer the body gets.
    var growth: Int { self.replacement.utf8.count - self.range.count }

    /// The body with the replacement; pieces that it does not touch stay as they are.
    func applied(to body: [ByteBuffer]) -> [ByteBuffer] {
        var edited: [ByteBuffer] = []
        var (offset, isDone) = (0, false)
        for bytes in body {
            let piece = offset..<offset + bytes.readableBytes
            offset = piece.upperBound
            guard piece.overlaps(self.range) else { edited.append(bytes); continue }
            func part(_ range: Range<Int>) -> ByteBuffer? {
                bytes.getSlice(at: bytes.readerIndex + range.lowerBound - piece.lowerBound, length: range.count)
            }
            if piece.lowerBound < self.range.lowerBound, let head = part(piece.lowerBound..<self.range.lowerBound) {
                edited.append(head)
            }
            if !isDone { edited.append(ByteBuffer(string: self.replacement)) }
            isDone = true
            if piece.upperBound > self.range.upperBound, let tail = part(self.range.upperBound..<piece.upperBound) {
                edited.append(tail)
            }
        }
        return edited
    }
}

/// A whole answer that the proxy gives itself.
package struct ProxyAnswer: Hashable, Sendable {
    /// 200 to 599.
    package var status: Int
    package var headers: [ProxyHeader]
    package var body: String

    package init(status: Int, headers: [ProxyHeader] = [], body: String = "") {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// An answer whose body is an error object as OpenAI's API writes it.
    ///
    /// - Parameters:
    ///   - status: The HTTP status.
    ///   - code: A word from a closed list, such as `upstream_unreachable`.
    ///   - message: What happened and what to do, for a person.
    ///   - headers: Further headers, such as `retry-after`.
    /// - Returns: The answer, with a content type.
    package static func error(status: Int, code: String, message: String, headers: [ProxyHeader] = []) -> Self {
        let kind = status >= 500 ? "server_error" : "invalid_request_error"
        let body = #"{"error":{"message":"\#(message.jsonEscaped)","type":"\#(kind)","code":"\#(code.jsonEscaped)"}}"#
        return Self(status: status, headers: [ProxyHeader("content-type", "application/json")] + headers, body: body)
    }

    /// A text as a JSON string, with its quotes.
    package static func jsonString(_ text: String) -> String { "\"\(text.jsonEscaped)\"" }
}

extension String {
    fileprivate var jsonEscaped: String {
        var escaped = ""
        for scalar in self.unicodeScalars {
            switch scalar {
            case "\"": escaped += "\\\""
            case "\\": escaped += "\\\\"
            case _ where scalar.value < 0x20: escaped += " "
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}

/// What became of one try of one request.
package struct ProxyOutcome: Hashable, Sendable {
    package enum Event: Hashable, Sendable {
        /// The target is connected and the request's head is on its way.
        case sent
        /// The answer's head has an `endpoint-load-metrics`, with this content.
        case loadReport(String)
        /// The first byte of the answer's body has arrived, so many seconds after the try began, and its head at `head`:
        /// vLLM sends it before it has computed a token.
        case firstByte(status: Int, head: Seconds, after: Seconds)
        /// The answer has been passed on whole; `bytes` counts its body.
        case completed(status: Int, bytes: Int, duration: Seconds)
        /// The try failed before anything was passed on; the request may go elsewhere.
        case failed(ProxyFailure, duration: Seconds)
        /// The upstream died in the middle of its answer; the client saw the cut.
        case cut(ProxyFailure, bytes: Int, duration: Seconds)
        /// The client went away, or did not send or read in time, or the server shut down.
        case cancelled(bytes: Int, duration: Seconds)

        /// Whether the try is over.
        package var isTerminal: Bool {
            switch self {
            case .sent, .loadReport, .firstByte: false
            case .completed, .failed, .cut, .cancelled: true
            }
        }
    }

    /// The ``ProxiedRequest/id``.
    package var request: UInt64
    /// Counts the tries of the request, from 1.
    package var number: Int
    package var target: ProxyTarget
    package var event: Event

    package init(request: UInt64, number: Int, target: ProxyTarget, event: Event) {
        self.request = request
        self.number = number
        self.target = target
        self.event = event
    }
}

/// Why a try failed: a closed list, fit for a metric's label.
package enum ProxyFailure: Error, Hashable, CustomStringConvertible {
    /// Refused, unreachable or not resolved.
    case connectionRefused
    case connectTimeout
    /// Closed or reset by the upstream.
    case connectionClosed
    /// The address was reached, and no TLS came about: it is plain text, or its certificate is not one to trust.
    case handshakeFailed
    /// No head of an answer within ``ProxySettings/responseTimeout``.
    case responseTimeout
    /// What came was not HTTP/1.
    case malformedResponse
    /// 502 or 503, which the director wanted to be tried elsewhere.
    case status(Int)

    /// Whether the upstream was asked nothing, or says that it has done nothing: then nothing was lost on it but time.
    package var tookNothing: Bool {
        switch self {
        case .connectionRefused, .connectTimeout, .handshakeFailed, .status(503): true
        case .connectionClosed, .responseTimeout, .malformedResponse, .status: false
        }
    }

    package var description: String {
        switch self {
        case .connectionRefused: "connection_refused"
        case .connectTimeout: "connect_timeout"
        case .connectionClosed: "connection_closed"
        case .handshakeFailed: "handshake_failed"
        case .responseTimeout: "response_timeout"
        case .malformedResponse: "malformed_response"
        case .status(let status): "status_\(status)"
        }
    }
}
