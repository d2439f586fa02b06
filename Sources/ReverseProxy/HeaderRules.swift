import NIOHTTP1

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
    var head: HTTPRequestHead
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
    /// How often a gateway with our `via` name has passed this request on.
    var hops: Int
}

/// What an intermediary must do to headers (RFC 9110 §7.6, RFC 9112 §6): nothing here knows of connections.
enum HeaderRules {
    /// Checks a request and makes the head that is sent upstream.
    ///
    /// - Throws: ``Refusal`` for shapes by which two servers could read two different requests (RFC 9112 §6.3, §11.2),
    ///   and for `CONNECT` and `Upgrade`, which are not proxied.
    static func admit(_ head: HTTPRequestHead, client: String?, viaName: String) throws(Refusal) -> AdmittedRequest {
        var lengths = 0
        var length: Int?
        var hosts = 0
        var coding: String?
        var codings = 0
        var expectation: String?
        var nominated: [Substring] = []
        var forwardedFor: String?
        var via: String?
        var offersUpgrade = false
        var kept: [(String, String)] = []
        kept.reserveCapacity(head.headers.count + 4)

        for (name, value) in head.headers {
            switch KnownHeader(name) {
            case .other: kept.append((name, value))
            case .host:
                hosts += 1
                kept.append((name, value))
            case .contentLength:
                lengths += 1
                length = Int(value)
                kept.append((name, value))
            case .transferEncoding:
                codings += 1
                coding = value
            case .connection: nominated += Self.nominated(by: value)
            case .expect: expectation = value
            case .upgrade:
                // An offer of h2c may be passed over in silence (RFC 9110 §7.8), and some clients always make it.
                // The parser stops after such a request, so the connection cannot be kept.
                guard value.lowercased() == "h2c" else { throw .notProxied("Upgrade") }
                offersUpgrade = true
            case .forwardedFor: forwardedFor = forwardedFor.map { "\($0), \(value)" } ?? value
            case .via: via = via.map { "\($0), \(value)" } ?? value
            case .hopByHop: break
            }
        }

        let isOld = head.version.minor == 0
        guard head.version.major == 1 else { throw .malformed("the version is not HTTP/1") }
        guard head.method != .CONNECT else { throw .notProxied("CONNECT") }
        guard hosts == 1 || (isOld && hosts == 0) else { throw .malformed("there must be one Host header") }
        guard lengths <= 1 else { throw .malformed("there are two Content-Length headers") }
        if let coding {
            guard lengths == 0 else { throw .malformed("it has both Content-Length and Transfer-Encoding") }
            guard !isOld, codings == 1, coding.lowercased() == "chunked" else {
                throw .malformed("the only Transfer-Encoding understood is chunked, over HTTP/1.1")
            }
            kept.append(("transfer-encoding", "chunked"))
        }
        if let expectation, !isOld, expectation.lowercased() != "100-continue" {
            throw Refusal(
                status: 417,
                code: "expectation_failed",
                message: "the only Expect understood is 100-continue"
            )
        }
        if !nominated.isEmpty { kept.removeAll { name, _ in Self.mayBeNominated(name, by: nominated) } }
        if let client { kept.append(("x-forwarded-for", forwardedFor.map { "\($0), \(client)" } ?? client)) }
        kept.append(("via", via.map { "\($0), 1.1 \(viaName)" } ?? "1.1 \(viaName)"))

        return AdmittedRequest(
            head: HTTPRequestHead(
                version: .http1_1,
                method: head.method,
                uri: try Self.originForm(head.uri),
                headers: HTTPHeaders(kept)
            ),
            expectsContinue: expectation != nil && !isOld && (lengths > 0 || coding != nil),
            hasBody: coding != nil || head.headers.first(name: "content-length").map { $0 != "0" } ?? false,
            bodyLength: length,
            keepAlive: head.isKeepAlive && !offersUpgrade,
            isOld: isOld,
            hops: via.map { Self.count(viaName, in: $0) } ?? 0
        )
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
        _ head: HTTPResponseHead,
        to request: AdmittedRequest,
        adding added: [ProxyHeader],
        keepAlive: Bool
    ) -> (head: HTTPResponseHead, endsWithConnection: Bool) {
        var kept: [(String, String)] = []
        kept.reserveCapacity(head.headers.count + added.count + 2)
        var isChunked = false
        var hasLength = false
        var nominated: [Substring] = []
        for (name, value) in head.headers {
            switch KnownHeader(name) {
            case .contentLength:
                if !hasLength { kept.append((name, value)) }
                hasLength = true
            case .transferEncoding: isChunked = true
            case .connection: nominated += Self.nominated(by: value)
            case .upgrade, .hopByHop: break
            case .other, .host, .expect, .forwardedFor, .via: kept.append((name, value))
            }
        }
        if !nominated.isEmpty { kept.removeAll { name, _ in Self.mayBeNominated(name, by: nominated) } }
        let code = head.status.code
        let hasBody = request.head.method != .HEAD && code != 204 && code != 304
        if hasLength, isChunked || code == 204 {
            kept.removeAll { name, _ in KnownHeader(name) == .contentLength }
            hasLength = false
        }
        let endsWithConnection = hasBody && !hasLength && request.isOld
        if hasBody, !hasLength, !request.isOld { kept.append(("transfer-encoding", "chunked")) }
        if !keepAlive || endsWithConnection {
            kept.append(("connection", "close"))
        } else if request.isOld {
            kept.append(("connection", "keep-alive"))
        }
        var headers = HTTPHeaders(kept)
        headers.set(added)
        return (
            HTTPResponseHead(version: request.isOld ? .http1_0 : .http1_1, status: head.status, headers: headers),
            endsWithConnection
        )
    }

    /// Names that `Connection` says are for this hop, besides its own two words.
    private static func nominated(by value: String) -> [Substring] {
        if value.isSame(as: "keep-alive") || value.isSame(as: "close") { return [] }
        return value.split(separator: ",").map { $0.drop { $0 == " " } }.filter { !$0.isEmpty }
    }

    /// A client may nominate its own headers; it may not take away what frames or addresses the message.
    private static func mayBeNominated(_ name: String, by nominated: [Substring]) -> Bool {
        switch KnownHeader(name) {
        case .host, .contentLength, .transferEncoding: false
        default: nominated.contains { $0.lowercased() == name.lowercased() }
        }
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

    static func notProxied(_ what: String) -> Refusal {
        Refusal(status: 501, code: "not_proxied", message: "This gateway does not proxy \(what).")
    }
}

/// The headers that an intermediary treats in a way of their own, told apart by length before any byte is compared.
enum KnownHeader {
    case host, contentLength, transferEncoding, connection, expect, upgrade, forwardedFor, via, hopByHop, other

    init(_ name: String) {
        self =
            switch name.utf8.count {
            case 2 where name.isSame(as: "te"): .hopByHop
            case 3 where name.isSame(as: "via"): .via
            case 4 where name.isSame(as: "host"): .host
            case 6 where name.isSame(as: "expect"): .expect
            case 7 where name.isSame(as: "upgrade"): .upgrade
            case 10 where name.isSame(as: "connection"): .connection
            case 10 where name.isSame(as: "keep-alive"): .hopByHop
            case 14 where name.isSame(as: "content-length"): .contentLength
            case 15 where name.isSame(as: "x-forwarded-for"): .forwardedFor
            case 16 where name.isSame(as: "proxy-connection"): .hopByHop
            case 17 where name.isSame(as: "transfer-encoding"): .transferEncoding
            case 18 where name.isSame(as: "proxy-authenticate"): .hopByHop
            case 19 where name.isSame(as: "proxy-authorization"): .hopByHop
            default: .other
            }
    }
}

extension HTTPHeaders {
    /// Sets a director's headers, but for those that frame the message or speak for the connection.
    mutating func set(_ headers: [ProxyHeader]) {
        for header in headers where !header.name.isEmpty {
            switch KnownHeader(header.name) {
            case .contentLength, .transferEncoding, .connection, .upgrade, .hopByHop: break
            case .host, .expect, .forwardedFor, .via, .other:
                self.replaceOrAdd(name: header.name, value: header.value)
            }
        }
    }
}

extension String {
    /// Compares with a lower-case ASCII word, ignoring case.
    func isSame(as word: StaticString) -> Bool {
        var text = self
        return text.withUTF8 { bytes in
            bytes.count == word.utf8CodeUnitCount
                && word.withUTF8Buffer { word in zip(bytes, word).allSatisfy { $0 | 0x20 == $1 || $0 == $1 } }
        }
    }
}
