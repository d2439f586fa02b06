import FleetModel
import NIOCore
import TestKit
import Testing

@testable import ReverseProxy

@Suite struct ExchangeTests {
    let start = NIODeadline.uptimeNanoseconds(1_000_000_000)
    let a = ProxyTarget(address: EndpointAddress(host: "10.0.0.1", port: 8000))
    let b = ProxyTarget(address: EndpointAddress(host: "10.0.0.2", port: 8000))

    func exchange(
        _ method: String = "POST",
        isOld: Bool = false,
        headers: Fields = ["content-length": "4"],
        tries: Int = 3,
        targets: Int = 8,
        replay: Int = 8,
        discard: Int = 8
    ) throws -> Exchange {
        var headers = headers
        headers.add("host", "test")
        let head = RequestHead(method: method, uri: "/", isOld: isOld, headers: headers)
        let admitted = try HeaderRules.admit(head, client: nil, viaName: "isobar")
        return Exchange(
            admitted,
            id: 7,
            limits: .init(tries: tries, targets: targets, replay: replay, discard: discard)
        )
    }

    func later(_ seconds: Seconds) -> NIODeadline { self.start + .seconds(seconds) }

    func outcome(_ number: Int, _ target: ProxyTarget, _ event: ProxyOutcome.Event) -> Exchange.Action {
        .report(ProxyOutcome(request: 7, number: number, target: target, event: event))
    }

    let body = ByteBuffer(string: "1234")

    /// Sent whole to `a`, which is connected.
    func sent(_ exchange: inout Exchange, reused: Bool = false) {
        _ = exchange.directed(.forward(self.a), now: self.start)
        _ = exchange.requestBody(self.body)
        _ = exchange.requestEnded(nil)
        _ = exchange.connected(reused: reused, now: self.start)
    }

    @Test func `the body waits for the connection and then goes out with the head`() throws {
        var exchange = try self.exchange()
        #expect(exchange.begin() == [.direct(failed: [])])
        #expect(exchange.directed(.forward(self.a), now: self.start) == [.connect(self.a, fresh: false)])
        #expect(exchange.requestBody(self.body) == .held)
        let actions = exchange.connected(reused: false, now: self.start)
        #expect(
            actions == [
                .send(exchange.request.head, [self.body], end: nil), self.outcome(1, self.a, .sent),
            ]
        )
        #expect(exchange.requestBody(self.body) == .forward)
        #expect(exchange.requestEnded(nil) == .forward)
    }

    @Test func `a whole exchange ends with one outcome and a connection to keep`() throws {
        var exchange = try self.exchange()
        self.sent(&exchange)
        let head = ResponseHead(status: 200, reason: "OK", headers: ["content-length": "4"])
        let begun = exchange.responseHead(head, now: self.later(1))
        #expect(begun.count == 1)
        #expect(exchange.responseBody(4) == true)
        #expect(
            exchange.responseEnded(nil, now: self.later(2)) == [
                .endResponse(nil), .releaseUpstream,
                self.outcome(1, self.a, .completed(status: 200, bytes: 4, duration: 2)), .next,
            ]
        )
        #expect(exchange.clientGone(now: self.later(3)) == [])
    }

    @Test func `what the server says of its load beside its answer is reported`() throws {
        var exchange = try self.exchange()
        self.sent(&exchange)
        let head = ResponseHead(
            status: 200,
            reason: "OK",
            headers: ["endpoint-load-metrics": "TEXT a=1", "content-length": "4"]
        )
        let begun = exchange.responseHead(head, now: self.later(1))
        #expect(begun.last == self.outcome(1, self.a, .loadReport("TEXT a=1")))
    }

    @Test func `a failed connection leads to the next target, and the last failure to 502`() throws {
        var exchange = try self.exchange(tries: 2)
        _ = exchange.directed(.forward(self.a), now: self.start)
        #expect(
            exchange.upstreamFailed(.connectionRefused, now: self.later(1)) == [
                .closeUpstream, self.outcome(1, self.a, .failed(.connectionRefused, duration: 1)),
                .direct(failed: [self.a]),
            ]
        )
        // Whoever refuses the connection has not been tried: of two tries both are left.
        _ = exchange.directed(.forward(self.b), now: self.later(1))
        #expect(
            exchange.upstreamFailed(.responseTimeout, now: self.later(2)).last == .direct(failed: [self.a, self.b])
        )
        _ = exchange.directed(.forward(self.a), now: self.later(2))
        let actions = exchange.upstreamFailed(.connectionRefused, now: self.later(3))
        #expect(actions[1] == self.outcome(3, self.a, .failed(.connectionRefused, duration: 1)))
        guard case .answer(let head, _) = actions[2] else {
            Issue.record("\(actions)")
            return
        }
        #expect(head.status == 502)
        // The body has not come yet: it is read and dropped, and the connection stays.
        #expect(exchange.stage == .discarding)
        #expect(exchange.requestBody(self.body) == .dropped)
        _ = exchange.requestEnded(nil)
        #expect(exchange.stage == .over)
    }

    @Test(arguments: [ProxyFailure.connectionRefused, .connectTimeout, .handshakeFailed])
    func `a cluster that takes no connection costs no tries, and not more than eight targets`(
        failure: ProxyFailure
    ) throws {
        var exchange = try self.exchange(tries: 1)
        var actions: [Exchange.Action] = exchange.begin()
        for port in 1...8 {
            guard case .direct = actions.last else { Issue.record("\(actions)"); return }
            let target = ProxyTarget(address: EndpointAddress(host: "10.0.0.1", port: port))
            _ = exchange.directed(.forward(target), now: self.start)
            actions = exchange.upstreamFailed(failure, now: self.later(1))
        }
        guard case .answer(let head, _) = actions[2] else { Issue.record("\(actions)"); return }
        #expect(head.status == 502)
    }

    @Test(arguments: [(status: 503, targets: 8), (502, 2)])
    func `a target that says 503 has done nothing and costs no try; one that says 502 may have`(
        status: Int,
        targets: Int
    ) throws {
        var exchange = try self.exchange(tries: 2)
        for port in 1...targets {
            let target = ProxyTarget(address: EndpointAddress(host: "10.0.0.1", port: port))
            if port == 1 { _ = exchange.begin() }
            _ = exchange.directed(.forward(target), now: self.start)
            _ = exchange.connected(reused: false, now: self.start)
            #expect(exchange.mayRetry(status: status) == (port < targets), "target \(port)")
            _ = exchange.retry(status: status, now: self.later(1))
        }
    }

    @Test func `a kept connection that was closed is replaced once without a mark on the target`() throws {
        var exchange = try self.exchange()
        self.sent(&exchange, reused: true)
        #expect(
            exchange.upstreamFailed(.connectionClosed, now: self.later(1)) == [
                .closeUpstream, .connect(self.a, fresh: true),
            ]
        )
        #expect(
            exchange.connected(reused: false, now: self.later(1)).first
                == .send(exchange.request.head, [self.body], end: .init(trailers: nil))
        )
        #expect(
            exchange.upstreamFailed(.connectionClosed, now: self.later(2)).last == .direct(failed: [self.a])
        )
    }

    @Test func `a body larger than the buffer is not tried again once it was sent`() throws {
        var exchange = try self.exchange(replay: 6)
        _ = exchange.directed(.forward(self.a), now: self.start)
        #expect(exchange.wantsRequest)
        _ = exchange.requestBody(self.body)
        _ = exchange.requestBody(self.body)
        #expect(!exchange.wantsRequest, "nothing more is read while it can only be held")
        _ = exchange.upstreamFailed(.connectionRefused, now: self.start)
        _ = exchange.directed(.forward(self.b), now: self.start)
        #expect(
            exchange.connected(reused: false, now: self.start).first
                == .send(exchange.request.head, [self.body, self.body], end: nil),
            "nothing was sent before"
        )
        #expect(exchange.wantsRequest)
        let actions = exchange.upstreamFailed(.connectionClosed, now: self.later(1))
        #expect(!actions.contains { if case .direct = $0 { true } else { false } })
    }

    @Test func `an answer of 502 is exchanged for another try while nothing was passed on`() throws {
        var exchange = try self.exchange(tries: 2)
        self.sent(&exchange)
        #expect(exchange.mayRetry(status: 502))
        #expect(!exchange.mayRetry(status: 500))
        #expect(
            exchange.retry(status: 502, now: self.later(1)) == [
                .closeUpstream, self.outcome(1, self.a, .failed(.status(502), duration: 1)),
                .direct(failed: [self.a]),
            ]
        )
        _ = exchange.directed(.forward(self.b), now: self.later(1))
        _ = exchange.connected(reused: false, now: self.later(1))
        #expect(!exchange.mayRetry(status: 502), "the last try's answer is passed on")
    }

    @Test func `an early answer leaves the rest of the body to be dropped, up to a limit`() throws {
        var exchange = try self.exchange()
        _ = exchange.directed(.forward(self.a), now: self.start)
        _ = exchange.connected(reused: false, now: self.start)
        _ = exchange.responseHead(
            ResponseHead(status: 413, reason: "Payload Too Large"),
            now: self.later(1)
        )
        #expect(exchange.requestBody(self.body) == .forward, "the upstream may still want it")
        let ending = exchange.responseEnded(nil, now: self.later(2))
        #expect(ending.contains(.closeUpstream))
        #expect(!ending.contains(.releaseUpstream))
        #expect(!ending.contains(.next))
        #expect(exchange.requestBody(self.body) == .dropped)
        #expect(exchange.requestBody(self.body) == .dropped)
        #expect(exchange.requestBody(self.body) == .close)
    }

    @Test func `an upstream that dies in its answer cuts the client's`() throws {
        var exchange = try self.exchange()
        self.sent(&exchange)
        _ = exchange.responseHead(ResponseHead(status: 200, reason: "OK"), now: self.start)
        _ = exchange.responseBody(3)
        #expect(
            exchange.upstreamFailed(.connectionClosed, now: self.later(1)) == [
                .closeUpstream, self.outcome(1, self.a, .cut(.connectionClosed, bytes: 3, duration: 1)),
                .cut(reset: false),
            ]
        )
    }

    @Test func `an answer without a length to HTTP 1.0 ends with the connection, and a cut resets it`() throws {
        var exchange = try self.exchange(isOld: true)
        self.sent(&exchange)
        let begun = exchange.responseHead(ResponseHead(status: 200, reason: "OK"), now: self.start)
        guard case .respond(let head) = begun[0] else {
            Issue.record("\(begun)")
            return
        }
        #expect(head.isOld)
        #expect(head.headers["connection"] == ["close"])
        #expect(!head.headers.contains(.transferEncoding))
        #expect(exchange.upstreamFailed(.connectionClosed, now: self.later(1)).last == .cut(reset: true))
    }

    @Test(arguments: [Exchange.Stage.connecting, .waiting, .answering])
    func `a client that goes away takes the upstream connection with it`(stage: Exchange.Stage) throws {
        var exchange = try self.exchange()
        _ = exchange.directed(.forward(self.a), now: self.start)
        if stage != .connecting { _ = exchange.connected(reused: false, now: self.start) }
        if stage == .answering {
            _ = exchange.responseHead(ResponseHead(status: 200, reason: "OK"), now: self.start)
        }
        #expect(exchange.stage == stage)
        #expect(
            exchange.clientGone(now: self.later(1)) == [
                .closeUpstream, self.outcome(1, self.a, .cancelled(bytes: 0, duration: 1)),
            ]
        )
        #expect(exchange.clientGone(now: self.later(2)) == [])
    }

    @Test func `a client that waits to continue is told so once a target is chosen`() throws {
        var exchange = try self.exchange(headers: ["content-length": "4", "expect": "100-continue"])
        #expect(!exchange.request.head.headers.contains(.expect))
        #expect(
            exchange.directed(.forward(self.a), now: self.start) == [.sendContinue, .connect(self.a, fresh: false)]
        )
        _ = exchange.upstreamFailed(.connectionRefused, now: self.start)
        #expect(exchange.directed(.forward(self.b), now: self.start) == [.connect(self.b, fresh: false)])
    }

    @Test func `a client that waits to continue and is answered instead cannot keep its connection`() throws {
        var exchange = try self.exchange(headers: ["content-length": "4", "expect": "100-continue"])
        let actions = exchange.directed(.answer(ProxyAnswer(status: 429)), now: self.start)
        #expect(actions.last == .close)
        guard case .answer(let head, _) = actions[0] else {
            Issue.record("\(actions)")
            return
        }
        #expect(head.headers["connection"] == ["close"])
    }

    @Test func `a shutdown lets the exchange end and then closes`() throws {
        var exchange = try self.exchange()
        self.sent(&exchange)
        exchange.drain()
        let begun = exchange.responseHead(ResponseHead(status: 200, reason: "OK"), now: self.start)
        guard case .respond(let head) = begun[0] else {
            Issue.record("\(begun)")
            return
        }
        #expect(head.headers["connection"] == ["close"])
        #expect(exchange.responseEnded(nil, now: self.start).last == .close)
    }

    @Test func `any order of events closes every forward exactly once`() throws {
        for seed in 0..<2_000 {
            var dice = SeededGenerator(seed: UInt64(seed))
            var exchange = try self.exchange(headers: ["transfer-encoding": "chunked"])
            var open = 0
            var forwards = 0
            func count(_ actions: [Exchange.Action]) {
                for case .report(let outcome) in actions where outcome.event.isTerminal { open -= 1 }
                #expect(open >= 0, "seed \(seed)")
            }
            for _ in 0..<40 {
                switch Int.random(in: 0..<10, using: &dice) {
                case 0 where exchange.stage == .choosing:
                    open += 1
                    forwards += 1
                    count(exchange.directed(.forward(self.a), now: self.start))
                case 1: count(exchange.connected(reused: Bool.random(using: &dice), now: self.start))
                case 2: count(exchange.upstreamFailed(.connectionClosed, now: self.start))
                case 3: count(exchange.responseHead(ResponseHead(status: 200, reason: "OK"), now: self.start))
                case 4: _ = exchange.responseBody(1)
                case 5: count(exchange.responseEnded(nil, now: self.start))
                case 6: _ = exchange.requestBody(self.body)
                case 7 where !exchange.isRequestWhole: _ = exchange.requestEnded(nil)
                case 8 where exchange.mayRetry(status: 503): count(exchange.retry(status: 503, now: self.start))
                default: break
                }
                #expect(open <= 1, "seed \(seed)")
            }
            count(exchange.clientGone(now: self.start))
            #expect(open == 0, "seed \(seed): \(forwards) forwards")
        }
    }
}
