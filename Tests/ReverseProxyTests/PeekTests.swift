import FleetModel
import NIOCore
import TestKit
import Testing

@testable import ReverseProxy

@Suite("Looking into the beginning of a body")
struct PeekTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)
    private let target = ProxyTarget(address: EndpointAddress(host: "10.0.0.1", port: 8000))

    private func later(_ seconds: Seconds) -> NIODeadline { self.start + .seconds(seconds) }

    private func exchange(_ headers: Fields, peek: Int = 8) throws -> Exchange {
        var headers = headers
        headers.add("host", "test")
        let head = RequestHead(method: "POST", uri: "/", headers: headers)
        let admitted = try HeaderRules.admit(head, client: nil, viaName: "isobar")
        return Exchange(admitted, id: 7, limits: .init(tries: 3, replay: 64, discard: 8, peek: peek))
    }

    @Test("the director is asked when enough of the body is there, or all of it")
    func enough() throws {
        var exchange = try self.exchange(["content-length": "20"])
        #expect(exchange.begin(peeking: true).isEmpty && exchange.stage == .peeking && exchange.wantsRequest)
        #expect(exchange.requestBody(ByteBuffer(string: "12345")) == .held)
        #expect(exchange.peeked() == nil)
        #expect(exchange.requestBody(ByteBuffer(string: "67890")) == .held)
        #expect(!exchange.wantsRequest, "no more is read than what the choice needs")
        #expect(exchange.peeked() == [ByteBuffer(string: "12345"), ByteBuffer(string: "678")])

        var short = try self.exchange(["content-length": "2"])
        _ = short.begin(peeking: true)
        _ = short.requestBody(ByteBuffer(string: "{}"))
        _ = short.requestEnded(nil)
        #expect(short.peeked() == [ByteBuffer(string: "{}")] && short.peeked() == nil)
    }

    @Test("a client that waits for 100 Continue is told to go on first, and one without a body is asked nothing")
    func expectations() throws {
        var exchange = try self.exchange(["content-length": "20", "expect": "100-continue"])
        #expect(exchange.begin(peeking: true) == [.sendContinue])
        _ = exchange.requestBody(ByteBuffer(string: "12345678"))
        _ = exchange.peeked()
        #expect(exchange.directed(.forward(self.target), now: self.start) == [.connect(self.target, fresh: false)])
        var empty = try self.exchange(["content-length": "0"])
        #expect(empty.begin(peeking: true) == [.direct(failed: [])])
    }

    @Test("a part of the body is replaced on its way, with the length that follows from it", arguments: 1...20)
    func edits(size: Int) throws {
        let body = #"{"model":"a","n":1}"#
        var exchange = try self.exchange(["content-length": "\(body.utf8.count)"], peek: 64)
        _ = exchange.begin(peeking: true)
        var rest = body[...]
        while !rest.isEmpty {
            _ = exchange.requestBody(ByteBuffer(substring: rest.prefix(size)))
            rest = rest.dropFirst(size)
        }
        _ = exchange.requestEnded(nil)
        _ = exchange.peeked()
        let edit = BodyEdit(range: 9..<12, replacement: #""another""#)
        _ = exchange.directed(.forward(self.target, edit: edit), now: self.start)
        guard case .send(let head, let pieces, _)? = exchange.connected(reused: false, now: self.start).first else {
            Issue.record("nothing is sent")
            return
        }
        let sent = pieces.map { String(buffer: $0) }.joined()
        #expect(sent == #"{"model":"another","n":1}"#)
        #expect(head.headers["content-length"] == ["\(sent.utf8.count)"])
    }

    @Test("a request that waits is asked about again, and leaves without a trace when its client goes")
    func waiting() throws {
        var exchange = try self.exchange(["content-length": "2"])
        _ = exchange.begin()
        #expect(exchange.directed(.wait(3), now: self.start) == [.wait(3)])
        #expect(exchange.requestBody(ByteBuffer(string: "{}")) == .held && exchange.requestEnded(nil) == .held)
        #expect(exchange.resume() == [.direct(failed: [])] && exchange.resume().isEmpty)
        _ = exchange.directed(.wait(3), now: self.start)
        #expect(exchange.clientGone(now: self.start).isEmpty && exchange.stage == .over)
    }

    @Test("the first byte is the body's, not the head's")
    func firstByte() throws {
        var exchange = try self.exchange(["content-length": "0"])
        _ = exchange.directed(.forward(self.target), now: self.start)
        _ = exchange.requestEnded(nil)
        _ = exchange.connected(reused: false, now: self.start)
        _ = exchange.responseHead(
            ResponseHead(status: 200, reason: "OK"),
            now: self.later(1)
        )
        #expect(exchange.firstByte(now: self.later(2))?.event == .firstByte(status: 200, head: 1, after: 2))
        _ = exchange.responseBody(3)
        #expect(exchange.firstByte(now: self.later(3)) == nil)
    }
}
