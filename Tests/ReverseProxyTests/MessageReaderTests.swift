import NIOCore
import TestKit
import Testing

@testable import ReverseProxy

/// A message as it comes out of a reader, put together again.
struct Read: Hashable {
    var firstLine = ""
    var headers: [String] = []
    var body = ""
    var trailers: [String]?
    var isWhole = false
    var isLast = false
}

extension MessageReader {
    /// Everything that comes out of bytes that come in pieces of so many, and the error at the end, if any.
    static func read(
        _ bytes: [UInt8],
        in size: Int,
        limit: Int = 64 << 10,
        answersHead: Bool = false,
        closing: Bool = false
    ) -> (messages: [Read], error: MessageError?) {
        var reader = Self(limit: limit)
        reader.isAnswerToHead = answersHead
        var messages: [Read] = []
        func take(_ part: Part) {
            switch part {
            case .head(let head):
                var read = Read()
                if let head = head as? RequestHead {
                    read.firstLine = "\(head.method) \(head.uri) \(head.isOld)"
                    read.isLast = !head.isKeepAlive
                }
                if let head = head as? ResponseHead { read.firstLine = "\(head.status) \(head.reason) \(head.isOld)" }
                read.headers = head.headers.lines.map {
                    "\(head.headers.name(of: $0))=\(head.headers.value(of: $0))"
                }
                messages.append(read)
            case .body(let bytes): messages[messages.count - 1].body += String(buffer: bytes)
            case .end(let trailers):
                messages[messages.count - 1].trailers = trailers.map { fields in
                    fields.lines.map { "\(fields.name(of: $0))=\(fields.value(of: $0))" }
                }
                messages[messages.count - 1].isWhole = true
            }
        }
        do throws(MessageError) {
            var start = 0
            while start < bytes.count {
                let end = min(bytes.count, start + size)
                reader.take(ByteBuffer(bytes: bytes[start..<end]))
                while let part = try reader.next() { take(part) }
                start = end
            }
            if closing, let part = try reader.finish() { take(part) }
        } catch {
            return (messages, error)
        }
        return (messages, nil)
    }
}

@Suite struct MessageReaderTests {
    typealias Requests = MessageReader<RequestHead>
    typealias Responses = MessageReader<ResponseHead>

    func request(_ text: String, in size: Int = .max / 2) -> (messages: [Read], error: MessageError?) {
        Requests.read(Array(text.utf8), in: size)
    }

    static let good =
        "\r\nPOST /v1/chat?x=1 HTTP/1.1\r\nHost: test\r\nX-Empty:\r\nX-Blanks: \t a  b\t \r\ncontent-length: 5\r\n\r\nhello"
        + "GET /next HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        + "PUT * HTTP/1.1\r\nhost: test\r\nTransfer-Encoding: Chunked\r\n\r\n"
        + "3\r\nabc\r\nA;ext=\"q\"\r\n0123456789\r\n000\r\nX-Sum: 1\r\nhost: x\r\n\r\n"
        + "DELETE /last HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n"

    static let expected = [
        Read(
            firstLine: "POST /v1/chat?x=1 false",
            headers: ["Host=test", "X-Empty=", "X-Blanks=a  b", "content-length=5"],
            body: "hello",
            isWhole: true
        ),
        Read(firstLine: "GET /next true", headers: ["Connection=keep-alive"], isWhole: true),
        Read(
            firstLine: "PUT * false",
            headers: ["host=test", "Transfer-Encoding=Chunked"],
            body: "abc0123456789",
            trailers: ["X-Sum=1"],
            isWhole: true
        ),
        Read(firstLine: "DELETE /last false", headers: ["host=test", "content-length=0"], isWhole: true),
    ]

    @Test(arguments: 1...Self.good.utf8.count)
    func `requests that come one behind the other read alike however they are cut`(size: Int) {
        let (messages, error) = self.request(Self.good, in: size)
        #expect(error == nil)
        #expect(messages == Self.expected)
    }

    @Test func `requests that are cut in two read alike wherever the cut is`() throws {
        let bytes = Array(Self.good.utf8)
        for cut in 0...bytes.count {
            var reader = Requests(limit: 64 << 10)
            var ends = 0
            for piece in [bytes[..<cut], bytes[cut...]] {
                reader.take(ByteBuffer(bytes: piece))
                while let part = try reader.next() { if case .end = part { ends += 1 } }
            }
            #expect(ends == 4, "cut at \(cut)")
            #expect(reader.isEmpty && !reader.isInMessage)
        }
    }

    @Test(arguments: [
        // Two lengths, two framings, or a length that is no number: RFC 9112 §6.3, §11.2.
        "content-length: 4\r\ncontent-length: 4\r\n", "content-length: 4\r\nContent-Length: 5\r\n",
        "content-length: 4, 4\r\n", "content-length: +4\r\n", "content-length: -4\r\n", "content-length: 0x4\r\n",
        "content-length: 4 4\r\n", "content-length:\r\n", "content-length: 99999999999999999999\r\n",
        "content-length: 4\r\ntransfer-encoding: chunked\r\n", "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "transfer-encoding: gzip, chunked\r\n", "transfer-encoding: chunked, chunked\r\n",
        "transfer-encoding: identity\r\n", "transfer-encoding: xchunked\r\n", "transfer-encoding:\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", "transfer-encoding: \u{B}chunked\r\n",
        // Blanks before the colon, lines that go on, line breaks that are none, control characters: §2.2, §5.1, §5.2.
        "content-length : 4\r\n", "x-a : 1\r\n", "x-a\t: 1\r\n", " x-a: 1\r\n", "x-a: 1\r\n b\r\n", "x-a: 1\r\n\tb\r\n",
        "x-a: 1\n", "x-a: 1\nx-b: 2\r\n", "x-a: 1\rx-b: 2\r\n", "x-a: 1\r\r\n", "x-a: \0\r\n", "x-a: \u{1F}\r\n",
        "x-a: \u{7F}\r\n", "x\0a: 1\r\n", "x(a): 1\r\n", "x-ä: 1\r\n", ": 1\r\n", "x-a\r\n", "\"x\": 1\r\n",
    ])
    func `a head that two servers could read in two ways is refused`(lines: String) {
        for size in [1, 7, 10_000] {
            let (messages, error) = self.request("POST / HTTP/1.1\r\nhost: test\r\n\(lines)\r\nabcd", in: size)
            #expect(messages.isEmpty)
            guard case .malformed = error else {
                Issue.record("\(lines.debugDescription) gave \(error.debugDescription)")
                continue
            }
        }
    }

    @Test(arguments: [
        "GET / HTTP/1.2", "GET / HTTP/2.0", "GET / HTTP/1", "GET / http/1.1", "GET  / HTTP/1.1", "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ", " GET / HTTP/1.1", "GET /", "GET", "G(T / HTTP/1.1", "GET /a b HTTP/1.1",
        "GET /\tb HTTP/1.1", "GET /\0 HTTP/1.1", "GET /\u{7F} HTTP/1.1", "GET /ä HTTP/1.1", "GET\t/ HTTP/1.1",
        "GET / HTTP/1.1\r", "GET\r / HTTP/1.1",
    ])
    func `a first line that is none is refused`(line: String) {
        let (messages, error) = self.request("\(line)\r\nhost: test\r\n\r\n")
        #expect(messages.isEmpty)
        guard case .malformed = error else { Issue.record("\(error.debugDescription)"); return }
    }

    @Test(arguments: [
        "\r\n", "g\r\n", "-1\r\n", "+1\r\n", "0x1\r\n", " 1\r\na\r\n", "1 \r\na\r\n", "1\na\r\n", "1\rX\na\r\n",
        "1\r\nab\r\n", "1\r\na\n\r", "1\r\na\rx", "1;\u{1}\r\na\r\n", "1;a\rb\r\na\r\n", "1;a\nb\r\na\r\n",
        "1111111111111111\r\n", "FFFFFFFFFFFFFFFF\r\n", "1\r\na\r\n0\r\n x: 1\r\n\r\n", "1\r\na\r\n0\r\nx : 1\r\n\r\n",
        "1\r\na\r\n0\r\ncontent-length: 3\r\n\r\n", "1\r\na\r\n0\r\ntransfer-encoding: chunked\r\n\r\n",
    ])
    func `a chunk whose end two servers could see in two places is refused`(chunks: String) {
        for size in [1, 10_000] {
            let (messages, error) = self.request(
                "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n\(chunks)",
                in: size
            )
            #expect(messages.first?.isWhole == false)
            guard case .malformed = error else { Issue.record("\(error.debugDescription)"); continue }
        }
    }

    @Test func `nothing comes out after an error`() throws {
        var reader = Requests(limit: 1_000)
        reader.take(ByteBuffer(string: "nonsense\r\n\r\n"))
        #expect(throws: MessageError.self) { try reader.next() }
        reader.take(ByteBuffer(string: "GET / HTTP/1.1\r\nhost: test\r\n\r\n"))
        #expect(try reader.next() == nil)
        #expect(reader.isEmpty)
    }

    @Test(arguments: [1, 1_000_000])
    func `heads, trailers, chunk extensions and the number of fields are bounded`(size: Int) {
        func error(_ text: String) -> MessageError? { Requests.read(Array(text.utf8), in: size, limit: 1_000).error }
        let (long, many) = (String(repeating: "x", count: 1_000), String(repeating: "a:\r\n", count: 300))
        #expect(error("GET /\(long) HTTP/1.1\r\n\r\n") == .tooLong)
        #expect(error("GET /\(long)") == .tooLong)
        #expect(error("GET / HTTP/1.1\r\nx: \(long)") == .tooLong)
        #expect(error("GET / HTTP/1.1\r\n\(many)\r\n") == .tooLong)
        #expect(Requests.read(Array("GET / HTTP/1.1\r\n\(many)\r\n".utf8), in: size).error == .tooLong)
        let chunked = "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n"
        #expect(error(chunked + "0\r\nx: \(long)") == .tooLong)
        guard case .malformed = error(chunked + "1;" + String(repeating: long, count: 5)) else {
            Issue.record("extensions without an end were read")
            return
        }
    }

    @Test func `a body comes out as it comes in and nothing of it is kept`() throws {
        var reader = Requests(limit: 1_000)
        reader.take(ByteBuffer(string: "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 6\r\n\r\nabc"))
        guard case .head = try reader.next(), case .body(let first) = try reader.next() else {
            Issue.record("no body")
            return
        }
        #expect(String(buffer: first) == "abc" && reader.isEmpty)
        #expect(try reader.next() == nil)
        reader.take(ByteBuffer(string: "def"))
        guard case .body(let second) = try reader.next(), case .end(nil) = try reader.next() else {
            Issue.record("no end")
            return
        }
        #expect(String(buffer: second) == "def")
    }

    // MARK: Answers

    @Test(arguments: [1, 2, 3, 1_000])
    func `answers end by length, by chunks, by their kind or with the connection`(size: Int) {
        func read(_ text: String, answersHead: Bool = false) -> (messages: [Read], error: MessageError?) {
            Responses.read(Array(text.utf8), in: size, answersHead: answersHead, closing: true)
        }
        #expect(
            read(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 \r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
            )
            .messages == [
                Read(firstLine: "200 OK false", headers: ["content-length=2"], body: "ok", isWhole: true)
            ]
        )
        #expect(read("HTTP/1.1 200\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").messages[0].body == "ok")
        for status in ["204 No Content", "304 Not Modified"] {
            let (messages, error) = read("HTTP/1.1 \(status)\r\ncontent-length: 5\r\n\r\n")
            #expect(messages.first?.isWhole == true && error == nil)
        }
        #expect(read("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", answersHead: true).messages[0].isWhole)
        let closed = read("HTTP/1.0 200 OK\r\n\r\nuntil the end")
        #expect(closed.messages == [Read(firstLine: "200 OK true", body: "until the end", isWhole: true)])
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", "HTTP/1.1 200 OK\r\ncontent-le", "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n",
    ])
    func `an answer that is cut is not whole`(text: String) {
        let (messages, error) = Responses.read(Array(text.utf8), in: 5, closing: true)
        #expect(messages.allSatisfy { !$0.isWhole })
        #expect(error == .cut)
    }

    @Test(arguments: [
        "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 099 OK", "HTTP/1.1  200 OK", "HTTP/1.1 200OK", "HTTP/2 200 OK",
        "HTTP/1.1 +20 OK", "ICY 200 OK", "HTTP/1.1 200 \0", "HTTP/1.1 200 OK\r\nx: 1\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked",
        "HTTP/1.1 200 OK\r\nx: 1\r\n y",
    ])
    func `an answer that two readers could read in two ways is none`(head: String) {
        let (messages, error) = Responses.read(Array("\(head)\r\n\r\nabc".utf8), in: 1_000)
        #expect(messages.isEmpty)
        guard case .malformed = error else { Issue.record("\(error.debugDescription)"); return }
    }

    // MARK: Keeping the connection

    @Test(arguments: [
        ("HTTP/1.1", "", true), ("HTTP/1.1", "Connection: Close\r\n", false),
        ("HTTP/1.1", "connection: x, close\r\n", false), ("HTTP/1.1", "connection: closed\r\n", true),
        ("HTTP/1.0", "", false), ("HTTP/1.0", "connection: keep-alive\r\n", true),
        ("HTTP/1.0", "connection: keep-alive, close\r\n", false),
    ])
    func `a connection is kept by version and word`(version: String, field: String, expected: Bool) throws {
        var reader = Requests(limit: 1_000)
        reader.take(ByteBuffer(string: "GET / \(version)\r\n\(field)\r\n"))
        guard case .head(let head) = try reader.next() else { Issue.record("no head"); return }
        #expect(head.isKeepAlive == expected)
    }

    // MARK: Writing

    @Test func `what is written reads alike`() throws {
        let head = RequestHead(method: "POST", uri: "/a?b", headers: ["Host": "test", "transfer-encoding": "chunked"])
        var bytes = ByteBuffer()
        MessageWriter.write(head, to: &bytes)
        let sizes = [1, 9, 10, 15, 16, 255, 256, 4_095, 4_096, 70_000]
        for size in sizes {
            MessageWriter.writeChunkSize(size, to: &bytes)
            bytes.writeString(String(repeating: "x", count: size) + "\r\n")
        }
        MessageWriter.writeLastChunk(["x-sum": "1"], to: &bytes)
        let (messages, error) = Requests.read(Array(buffer: bytes), in: 1_000)
        #expect(error == nil)
        #expect(messages.count == 1 && messages[0].isWhole && messages[0].trailers == ["x-sum=1"])
        #expect(messages[0].body.utf8.count == sizes.reduce(0, +))
        #expect(messages[0].headers == ["Host=test", "transfer-encoding=chunked"])
    }

    @Test func `fields are set, kept and found whatever their case`() {
        var fields: Fields = ["Host": "test", "X-A": "1", "x-b": "2", "x-a": "3"]
        #expect(fields["X-a"] == ["1", "3"] && fields.first(name: "X-B") == "2" && fields.first(name: "x-c") == nil)
        fields.set("x-A", "4")
        #expect(fields == ["Host": "test", "x-b": "2", "x-A": "4"])
        #expect(fields.kept(room: 0) { $0.kind == .host } == ["Host": "test"])
        #expect(fields.kept(room: 0) { _ in false }.isEmpty)
        for name in ["te", "VIA", "Host", "eXpect", "upgrade", "keep-alive", "Content-Length", "transfer-encodinG"] {
            #expect(KnownHeader(name) != .other)
        }
        for name in ["", "tf", "content_length", "content-lengthx", "x-forwarded-far", "\u{8}ost"] {
            #expect(KnownHeader(name) == .other)
        }
    }
}
