/// What a request begins with.
struct RequestHead: Hashable, Sendable {
    /// A token, as in `POST`.
    var method: String
    /// The target as it was sent: path and query as a rule.
    var uri: String
    /// HTTP/1.0, not 1.1.
    var isOld = false
    var headers = Fields()
}

/// What an answer begins with.
struct ResponseHead: Hashable, Sendable {
    var status: Int
    var reason: String
    /// HTTP/1.0, not 1.1.
    var isOld = false
    var headers = Fields()
}

/// Why bytes are no HTTP/1 message; the words go into an answer to the client.
enum MessageError: Error, Hashable {
    /// The head, or the trailers, are longer than allowed.
    case tooLong
    /// They say something that HTTP/1 does not allow, or that two servers could read in two ways.
    case malformed(String)
    /// The connection ended in the middle.
    case cut
}

/// How the end of a body is found (RFC 9112 §6.3).
enum BodyFraming: Hashable {
    case none
    case length(Int)
    case chunked
    /// The connection's end is the body's. Answers only.
    case untilClose

    /// The body's length, when it is said beforehand.
    var length: Int? {
        switch self {
        case .none: 0
        case .length(let length): length
        case .chunked, .untilClose: nil
        }
    }
}

/// The first line and the fields of either kind of message.
protocol MessageHead {
    var headers: Fields { get set }

    /// Reads the first line, without its line break.
    init(firstLine: UnsafeRawBufferPointer) throws(MessageError)

    /// An answer before the answer, such as `103 Early Hints`.
    var isInterim: Bool { get }

    /// How the body that follows ends; `isAnswerToHead` matters to answers only.
    func framing(isAnswerToHead: Bool) throws(MessageError) -> BodyFraming
}

extension MessageHead {
    /// The one length that the fields give, as digits and nothing else.
    fileprivate func length() throws(MessageError) -> Int? {
        var length: Int?
        for line in self.headers.lines where line.kind == .contentLength {
            guard length == nil else { throw .malformed("there are two Content-Length headers") }
            length = self.headers.withValue(of: line, Digits.number)
            if length == nil { throw .malformed("the Content-Length is no number") }
        }
        return length
    }

    /// Whether `Connection` has this word, which is in lower case.
    func connectionSays(_ word: StaticString) -> Bool {
        self.headers.lines.contains { line in
            line.kind == .connection && self.headers.withValue(of: line) { $0.hasListed(word) }
        }
    }
}

extension RequestHead: MessageHead {
    /// `method SP target SP HTTP/1.x` with one blank each (RFC 9112 §3).
    init(firstLine line: UnsafeRawBufferPointer) throws(MessageError) {
        guard let first = line.firstIndex(of: UInt8(ascii: " ")), first > 0, first <= Self.longestMethod,
            line[..<first].allSatisfy(\.isToken)
        else { throw .malformed("the first line has no method") }
        let rest = line[(first + 1)...]
        guard let second = rest.firstIndex(of: UInt8(ascii: " ")), second > rest.startIndex,
            rest[..<second].allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else { throw .malformed("the first line has no target") }
        self.isOld = try Version.isOld(rest[(second + 1)...])
        self.method = String(decoding: line[..<first], as: UTF8.self)
        self.uri = String(decoding: rest[..<second], as: UTF8.self)
    }

    private static let longestMethod = 32

    var isInterim: Bool { false }

    /// A request ends with its head unless it says otherwise; whoever says two things is refused.
    func framing(isAnswerToHead: Bool) throws(MessageError) -> BodyFraming {
        let length = try self.length()
        var isChunked = false
        for line in self.headers.lines where line.kind == .transferEncoding {
            guard length == nil else { throw .malformed("it has both Content-Length and Transfer-Encoding") }
            let isOnly = !isChunked && !self.isOld && self.headers.withValue(of: line) { $0.isSame(as: "chunked") }
            guard isOnly else {
                throw .malformed("the only Transfer-Encoding understood is chunked, over HTTP/1.1")
            }
            isChunked = true
        }
        if isChunked { return .chunked }
        return length.map { $0 == 0 ? .none : .length($0) } ?? .none
    }

    /// Whether the client wants the connection kept (RFC 9112 §9.3).
    var isKeepAlive: Bool {
        self.isOld ? self.connectionSays("keep-alive") && !self.connectionSays("close") : !self.connectionSays("close")
    }
}

extension ResponseHead: MessageHead {
    /// `HTTP/1.x SP status SP reason`; the last blank may be missing with the reason (RFC 9112 §4).
    init(firstLine line: UnsafeRawBufferPointer) throws(MessageError) {
        guard line.count >= 12, line[8] == UInt8(ascii: " "),
            let status = Digits.number(UnsafeRawBufferPointer(rebasing: line[9..<12])), (100...999).contains(status),
            line.count == 12 || line[12] == UInt8(ascii: " ")
        else { throw .malformed("the first line has no status") }
        let reason = line.dropFirst(13)
        guard reason.allSatisfy(\.isFieldText) else { throw .malformed("the reason has a control character") }
        self.isOld = try Version.isOld(line[..<8])
        self.status = status
        self.reason = String(decoding: reason, as: UTF8.self)
    }

    /// What changes the protocol is an answer, for the exchange to refuse.
    var isInterim: Bool { self.status < 200 && self.status != 101 }

    func framing(isAnswerToHead: Bool) throws(MessageError) -> BodyFraming {
        if isAnswerToHead || self.status < 200 || self.status == 204 || self.status == 304 { return .none }
        var codings = 0
        var isChunked = false
        for line in self.headers.lines where line.kind == .transferEncoding {
            codings += 1
            isChunked = self.headers.withValue(of: line) { $0.isSame(as: "chunked") }
        }
        let length = try self.length()
        guard codings > 0 else { return length.map { $0 == 0 ? .none : .length($0) } ?? .untilClose }
        // Another coding than chunked would have to be passed on; both at once is how answers are smuggled.
        guard codings == 1, isChunked, length == nil, !self.isOld else {
            throw .malformed("the only Transfer-Encoding understood is chunked")
        }
        return .chunked
    }

    /// Whether the upstream will keep the connection, if the body has an end of its own.
    var isKeepAlive: Bool {
        self.isOld ? self.connectionSays("keep-alive") && !self.connectionSays("close") : !self.connectionSays("close")
    }
}

private enum Version {
    static func isOld(_ bytes: Slice<UnsafeRawBufferPointer>) throws(MessageError) -> Bool {
        let text = UnsafeRawBufferPointer(rebasing: bytes)
        guard text.count == 8, text.starts(with: "HTTP/1.".utf8), text[7] == 0x30 || text[7] == 0x31 else {
            throw .malformed("the version is not 1.0 or 1.1")
        }
        return text[7] == 0x30
    }
}

enum Digits {
    /// A number of decimal digits and nothing else; `nil` when it is none or too great.
    static func number(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard !bytes.isEmpty, bytes.count <= 18 else { return nil }
        var number = 0
        for byte in bytes {
            guard byte >= 0x30, byte <= 0x39 else { return nil }
            number = number * 10 + Int(byte - 0x30)
        }
        return number
    }

    /// The value of a hexadecimal digit.
    static func hexadecimal(_ byte: UInt8) -> Int? {
        switch byte {
        case 0x30...0x39: Int(byte - 0x30)
        case 0x41...0x46: Int(byte - 0x41 + 10)
        case 0x61...0x66: Int(byte - 0x61 + 10)
        default: nil
        }
    }
}

extension UnsafeRawBufferPointer {
    /// Whether these bytes are a word that is given in lower case.
    func isSame(as word: StaticString) -> Bool {
        self.count == word.utf8CodeUnitCount
            && word.withUTF8Buffer { word in
                for index in 0..<word.count where self[index].asciiLowercased != word[index] { return false }
                return true
            }
    }

    /// Whether a word stands in a list with commas.
    func hasListed(_ word: StaticString) -> Bool {
        if self.isSame(as: word) { return true }
        guard self.count > word.utf8CodeUnitCount else { return false }
        return self.split(separator: UInt8(ascii: ",")).contains {
            UnsafeRawBufferPointer(rebasing: $0).withoutBlanks.isSame(as: word)
        }
    }

    /// Whether a word that is given in lower case stands anywhere in these bytes.
    func mentions(_ word: StaticString) -> Bool {
        let count = word.utf8CodeUnitCount
        guard self.count >= count else { return false }
        return (0...(self.count - count)).contains {
            UnsafeRawBufferPointer(rebasing: self[$0..<$0 + count]).isSame(as: word)
        }
    }

    /// Without blanks and tabs at either end.
    var withoutBlanks: UnsafeRawBufferPointer {
        var (start, end) = (0, self.count)
        while start < end, self[start] == 0x20 || self[start] == 0x09 { start += 1 }
        while end > start, self[end - 1] == 0x20 || self[end - 1] == 0x09 { end -= 1 }
        return UnsafeRawBufferPointer(rebasing: self[start..<end])
    }
}

extension UInt8 {
    /// A character of a token (RFC 9110 §5.6.2).
    var isToken: Bool {
        // Bit b of word w says whether the character 64·w + b is one.
        let (low, high): (UInt64, UInt64) = (0x03FF_6CFA_0000_0000, 0x57FF_FFFF_C7FF_FFFE)
        return self < 64 ? low >> self & 1 == 1 : self < 128 && high >> (self - 64) & 1 == 1
    }

    /// What a field's value may hold: visible characters, blanks, tabs and bytes above ASCII (RFC 9110 §5.5).
    var isFieldText: Bool { self >= 0x20 && self != 0x7F || self == 0x09 }
}
