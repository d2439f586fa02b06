/// Why a request is not proxied at all.
struct Refusal: Error, Hashable {
    let status: Int
    let code: String
    let message: String

    var answer: ProxyAnswer { .error(status: self.status, code: self.code, message: self.message) }
}

/// A request that may be proxied: its head as the upstream is to get it, and what its headers said to us.
struct AdmittedRequest: Equatable {
    /// HTTP/1.1, origin form, without the headers that were meant for this hop only.
    var head: RequestHead
    /// The client waits for `100 Continue` before it sends the body.
    var expectsContinue: Bool
    /// A body follows, by its length or in chunks.
    var hasBody: Bool
    /// The length of the body, when it is said beforehand.
    var bodyLength: Int?
    /// The client wants the connection kept.
    var keepAlive: Bool
    /// The client speaks HTTP/1.0: no chunks, and `connection: keep-alive` must be said.
    var isOld: Bool
    /// The client wants to read what the server says of its load.
    var wantsLoadReport: Bool
    /// How often a gateway with our `via` name has passed this request on.
    var hops: Int
}

/// What an intermediary must do to headers (RFC 9110 §7.6, RFC 9112 §6): nothing here knows of connections.
enum HeaderRules {
    /// Checks a request and makes the head that is sent upstream.
    ///
    /// - Throws: ``Refusal`` for shapes by which two servers could read two different requests (RFC 9112 §6.3, §11.2),
    ///   and for `CONNECT` and `Upgrade`, which are not proxied.
    static func admit(_ head: RequestHead, client: String?, viaName: String) throws(Refusal) -> AdmittedRequest {
        let fields = head.headers
        var hosts = 0
        var expectation: String?
        var nominated: [String] = []
        var forwardedFor: String?
        var via: String?
        var offersUpgrade = false
        var wantsLoadReport = false

        for line in fields.lines {
            switch line.kind {
            case .other, .contentLength, .transferEncoding, .hopByHop, .loadReport: break
            case .loadReportFormat: wantsLoadReport = true
            case .host: hosts += 1
            case .connection: nominated += Self.nominated(by: fields.value(of: line))
            case .expect: expectation = fields.value(of: line)
            case .upgrade:
                // An offer of h2c may be passed over in silence (RFC 9110 §7.8), and some clients always make it.
                guard fields.withValue(of: line, { $0.isSame(as: "h2c") }) else { throw .notProxied("Upgrade") }
                offersUpgrade = true
            case .forwardedFor: forwardedFor = Self.joined(forwardedFor, fields.value(of: line))
            case .via: via = Self.joined(via, fields.value(of: line))
            }
        }

        let framing: BodyFraming
        do throws(MessageError) { framing = try head.framing(isAnswerToHead: false) } catch { throw Refusal(error) }
        guard head.method != "CONNECT" else { throw .notProxied("CONNECT") }
        guard hosts == 1 || (head.isOld && hosts == 0) else { throw .malformed("there must be one Host header") }
        if let expectation, !head.isOld, expectation.lowercased() != "100-continue" {
            throw Refusal(
                status: 417,
                code: "expectation_failed",
                message: "the only Expect understood is 100-continue"
            )
        }

        let uri = try Self.originForm(head.uri)
        var kept = fields.kept(room: Self.roomForOurs + (forwardedFor?.utf8.count ?? 0) + (via?.utf8.count ?? 0)) {
            switch $0.kind {
            case .host, .contentLength: true
            case .other, .loadReport, .loadReportFormat:
                nominated.isEmpty || !Self.isNominated($0, of: fields, by: nominated)
            case .transferEncoding, .connection, .expect, .upgrade, .forwardedFor, .via, .hopByHop: false
            }
        }
        if framing == .chunked { kept.add("transfer-encoding", "chunked") }
        if let client { kept.add("x-forwarded-for", Self.joined(forwardedFor, client)) }
        kept.add("via", Self.joined(via, "1.1 \(viaName)"))

        return AdmittedRequest(
            head: RequestHead(method: head.method, uri: uri, headers: kept),
            expectsContinue: expectation != nil && !head.isOld && framing != .none,
            hasBody: framing != .none,
            bodyLength: framing.length,
            // Whoever asks for another protocol may go on in it.
            keepAlive: head.isKeepAlive && !offersUpgrade,
            isOld: head.isOld,
            wantsLoadReport: wantsLoadReport,
            hops: via.map { Self.count(viaName, in: $0) } ?? 0
        )
    }

    /// What the fields of a gateway's own take, in bytes, with some room for the director's.
    private static let roomForOurs = 192

    private static func joined(_ before: String?, _ value: String) -> String {
        before.map { "\($0), \(value)" } ?? value
    }

    /// The head that the client gets.
    ///
    /// - Parameters:
    ///   - head: As the upstream sent it.
    ///   - request: What it answers.
    ///   - added: The director's headers: they replace those of the same name.
    ///   - keepAlive: Whether the client's connection will be kept.
    /// - Returns: The head, and whether the body ends with the connection.
    static func respond(
        _ head: ResponseHead,
        to request: AdmittedRequest,
        adding added: [ProxyHeader],
        keepAlive: Bool
    ) -> (head: ResponseHead, endsWithConnection: Bool) {
        let fields = head.headers
        var nominated: [String] = []
        for line in fields.lines where line.kind == .connection {
            nominated += Self.nominated(by: fields.value(of: line))
        }
        let hasBody = request.head.method != "HEAD" && head.status != 204 && head.status != 304
        let isChunked = fields.contains(.transferEncoding)
        var hasLength = false
        var kept = fields.kept(room: Self.roomForOurs) {
            switch $0.kind {
            case .contentLength:
                guard !hasLength, !isChunked, head.status != 204 else { return false }
                hasLength = true
                return true
            case .transferEncoding, .connection, .upgrade, .hopByHop: return false
            case .host: return true
            // How full a server is, is nobody's business who did not ask.
            case .loadReport where !request.wantsLoadReport: return false
            case .other, .expect, .forwardedFor, .via, .loadReport, .loadReportFormat:
                return nominated.isEmpty || !Self.isNominated($0, of: fields, by: nominated)
            }
        }
        let endsWithConnection = hasBody && !hasLength && request.isOld
        if hasBody, !hasLength, !request.isOld { kept.add("transfer-encoding", "chunked") }
        if !keepAlive || endsWithConnection {
            kept.add("connection", "close")
        } else if request.isOld {
            kept.add("connection", "keep-alive")
        }
        kept.set(added)
        return (
            ResponseHead(status: head.status, reason: head.reason, isOld: request.isOld, headers: kept),
            endsWithConnection
        )
    }

    /// Names that `Connection` says are for this hop, besides its own two words.
    private static func nominated(by value: String) -> [String] {
        switch value.lowercased() {
        case "keep-alive", "close": []
        case let words: words.split(separator: ",").map { String(Self.withoutBlanks($0)) }.filter { !$0.isEmpty }
        }
    }

    private static func withoutBlanks(_ word: Substring) -> Substring {
        var word = word.drop { $0 == " " || $0 == "\t" }
        while word.last == " " || word.last == "\t" { word.removeLast() }
        return word
    }

    /// Whether one of the nominated names is the line's.
    private static func isNominated(_ line: Fields.Line, of fields: Fields, by nominated: [String]) -> Bool {
        nominated.contains { fields.isNamed(line, $0) }
    }

    /// Path and query of a request target; an absolute form loses its scheme and authority (RFC 9112 §3.2.2).
    private static func originForm(_ uri: String) throws(Refusal) -> String {
        if uri.utf8.first == UInt8(ascii: "/") || uri == "*" { return uri }
        guard let scheme = uri.firstRange(of: "://") else { throw .malformed("the target must begin with a slash") }
        let rest = uri[scheme.upperBound...]
        guard let slash = rest.firstIndex(where: { $0 == "/" || $0 == "?" }) else { return "/" }
        return rest[slash] == "/" ? String(rest[slash...]) : "/" + rest[slash...]
    }

    private static func count(_ viaName: String, in via: String) -> Int {
        via.split(separator: ",").count { $0.split(separator: " ").dropFirst().first.map { $0 == viaName } ?? false }
    }
}

extension Refusal {
    init(_ error: MessageError) {
        self =
            switch error {
            case .malformed(let why): .malformed(why)
            case .tooLong:
                Refusal(status: 431, code: "headers_too_large", message: "The headers of the request are too large.")
            case .cut: .malformed("it is not whole")
            }
    }

    static func malformed(_ why: String) -> Refusal {
        Refusal(status: 400, code: "malformed_request", message: "The request was refused: \(why).")
    }

    static func bodyTooLarge(limit: Int) -> Refusal {
        Refusal(
            status: 413,
            code: "body_too_large",
            message: "The request's body is longer than the \(limit) bytes that this gateway takes."
        )
    }

    static func loop(hops: Int) -> Refusal {
        Refusal(
            status: 508,
            code: "loop_detected",
            message: "The request has passed \(hops) gateways, so it goes round in a circle; look at their peers."
        )
    }

    static func notProxied(_ what: String) -> Refusal {
        Refusal(status: 501, code: "not_proxied", message: "This gateway does not proxy \(what).")
    }
}

extension Fields {
    /// Sets a director's headers, but for those that frame the message or speak for the connection.
    mutating func set(_ headers: [ProxyHeader]) {
        for header in headers where !header.name.isEmpty {
            switch KnownHeader(header.name) {
            case .contentLength, .transferEncoding, .connection, .upgrade, .hopByHop: break
            case .host, .expect, .forwardedFor, .via, .loadReport, .loadReportFormat, .other:
                self.set(header.name, header.value)
            }
        }
    }
}
