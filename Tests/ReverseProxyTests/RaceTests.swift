import FleetModel
import NIOCore
import Testing

@testable import ReverseProxy

/// Sends requests to its first target, with limits, and a second try to its second.
private final class RacingDirector: ProxyDirector {
    let targets: [ProxyTarget]
    let limits: TryLimits
    let outcomes = Watched<[ProxyOutcome]>([])

    init(_ targets: [EndpointAddress], _ limits: TryLimits) {
        self.targets = targets.map(ProxyTarget.init)
        self.limits = limits
    }

    func direct(_ request: ProxiedRequest, failed: [ProxyTarget]) -> ProxyDecision {
        guard let target = self.targets.first(where: { !failed.contains($0) }) else {
            return .answer(.error(status: 503, code: "no_endpoint", message: "nobody is left"))
        }
        return .forward(target, responseHeaders: [ProxyHeader("x-target", "first")], limits: self.limits)
    }

    func hedge(_ request: ProxiedRequest, besides target: ProxyTarget) -> ProxyDecision {
        guard let other = self.targets.first(where: { $0 != target }) else { return .wait(0) }
        return .forward(other, responseHeaders: [ProxyHeader("x-target", "second")])
    }

    func observe(_ outcome: ProxyOutcome) { self.outcomes.update { $0.append(outcome) } }

    /// What became of each try, by its number.
    var ends: [Int: ProxyOutcome.Event] {
        let ends = self.outcomes.value.filter(\.event.isTerminal).map { ($0.number, $0.event) }
        return Dictionary(ends, uniquingKeysWith: { first, _ in first })
    }
}

@Suite("Deadlines and second tries", .timeLimit(.minutes(3)))
struct RaceTests {
    private func with(
        _ limits: TryLimits,
        _ body: (ProxyWorld, RacingDirector, Upstream, Upstream) async throws -> Void
    ) async throws {
        let (first, second) = (try await Upstream.start(), try await Upstream.start())
        let director = RacingDirector([first.address, second.address], limits)
        try await ProxyWorld.with([], director: director) { world in
            try await body(world, director, first, second)
        }
        let outcomes = director.outcomes.value
        for (request, outcomes) in Dictionary(grouping: outcomes, by: \.request) {
            for (number, outcomes) in Dictionary(grouping: outcomes, by: \.number) {
                let ends = outcomes.count(where: \.event.isTerminal)
                #expect(ends == 1, "request \(request), try \(number): \(outcomes.map(\.event))")
            }
        }
        try await first.stop()
        try await second.stop()
    }

    private static let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

    // MARK: Deadlines

    @Test("a deadline that passes before the first byte is answered with 504, though the head had come")
    func deadline() async throws {
        try await self.with(TryLimits(deadline: 0.3)) { world, director, first, _ in
            let client = try await world.client()
            client.send(.get())
            let peer = try await first.connection(0)
            try await peer.receive("\r\n\r\n")
            peer.send(Self.head)
            let answer = try await client.receive("deadline_exceeded")
            #expect(answer.hasPrefix("HTTP/1.1 504 ") && !answer.contains("200 OK"))
            try await peer.receiveClose()
            // The client's own haste is nothing against the upstream.
            if case .cancelled? = director.ends[1] {} else { Issue.record("\(director.ends)") }
            let counters = try await world.countersAtRest()
            #expect(counters.deadlines == 1 && counters.cancellations == 0)
            client.close()
        }
    }

    @Test("an answer that has begun in time takes as long as it likes")
    func begunInTime() throws {
        var exchange = try Self.exchange(TryLimits(deadline: 1, hedgeAfter: 2), isWhole: true)
        #expect(exchange.dueAt == .uptimeNanoseconds(1_000_000_000))
        _ = exchange.responseHead(ResponseHead(status: 200, reason: "OK"), now: .uptimeNanoseconds(1))
        #expect(exchange.holdsHead && exchange.dueAt != nil)
        #expect(exchange.releaseHead().count == 1)
        #expect(exchange.dueAt == nil && exchange.timeUp(now: .uptimeNanoseconds(9_000_000_000)) == [])
    }

    // MARK: Second tries

    @Test("a first try that is quick enough has no second")
    func quick() async throws {
        try await self.with(TryLimits(hedgeAfter: 60)) { world, director, first, second in
            let client = try await world.client()
            client.send(.post(body: "hi"))
            let peer = try await first.connection(0)
            try await peer.receive("\r\n\r\nhi")
            peer.send(.ok)
            try await client.receive("\r\n\r\nok")
            #expect(second.connections == 0)
            client.close()
        }
    }

    @Test("the second try answers first: the client gets its answer, and the first is closed at once")
    func secondWins() async throws {
        try await self.with(TryLimits(hedgeAfter: 0.2)) { world, director, first, second in
            let client = try await world.client()
            client.send(.post(body: "hi"))
            let slow = try await first.connection(0)
            try await slow.receive("\r\n\r\nhi")
            // A head is no answer: vLLM sends it before it has computed a token.
            slow.send(Self.head)
            let quick = try await second.connection(0)
            try await quick.receive("\r\n\r\nhi")
            quick.send(.ok)
            let answer = try await client.receive("\r\n\r\nok")
            #expect(answer.contains("x-target: second"))
            try await slow.receiveClose()
            if case .cancelled? = director.ends[1] {} else { Issue.record("\(director.ends)") }
            if case .completed(200, 2, _)? = director.ends[2] {} else { Issue.record("\(director.ends)") }
            // Both connections serve on: the client's, and the winner's.
            client.send(.get("/next"))
            try await first.connection(1).serve()
            try await client.receive("\r\n\r\nok", times: 2)
            #expect(try await world.countersAtRest().cancellations == 0)
            client.close()
        }
    }

    @Test("the first try answers after all: the second is closed at once")
    func firstWins() async throws {
        try await self.with(TryLimits(hedgeAfter: 0.2)) { world, director, first, second in
            let client = try await world.client()
            client.send(.post(body: "hi"))
            let slow = try await first.connection(0)
            let other = try await second.connection(0)
            try await other.receive("\r\n\r\nhi")
            other.send(Self.head)
            slow.send(.ok)
            #expect(try await client.receive("\r\n\r\nok").contains("x-target: first"))
            try await other.receiveClose()
            if case .cancelled? = director.ends[2] {} else { Issue.record("\(director.ends)") }
            client.close()
        }
    }

    @Test("a second try that fails changes nothing for the first")
    func secondFails() async throws {
        try await self.with(TryLimits(hedgeAfter: 0.2)) { world, director, first, second in
            let client = try await world.client()
            client.send(.post(body: "hi"))
            let slow = try await first.connection(0)
            let other = try await second.connection(0)
            try await other.receive("\r\n\r\nhi")
            other.send("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")
            try await other.receiveClose()
            slow.send(.ok)
            #expect(try await client.receive("\r\n\r\nok").contains("x-target: first"))
            #expect(director.ends[2].map { if case .failed(.status(500), _) = $0 { true } else { false } } ?? false)
            client.close()
        }
    }

    @Test("a first try that dies is forgotten when the second has begun")
    func firstDies() async throws {
        try await self.with(TryLimits(hedgeAfter: 0.2)) { world, director, first, second in
            let client = try await world.client()
            client.send(.post(body: "hi"))
            let slow = try await first.connection(0)
            let other = try await second.connection(0)
            try await other.receive("\r\n\r\nhi")
            // What the head says of the server's load tells that it has been read.
            other.send(Self.head.replacing("\r\n\r\n", with: "\r\nendpoint-load-metrics: TEXT a=1\r\n\r\n"))
            try await director.outcomes.wait {
                $0.contains { $0.number == 2 && $0.event == .loadReport("TEXT a=1") }
            }
            slow.close()
            other.send("1\r\nb\r\n0\r\n\r\n")
            #expect(try await client.receive("0\r\n\r\n").contains("x-target: second"))
            client.close()
        }
    }

    @Test("a client that goes away ends both tries")
    func clientGone() async throws {
        try await self.with(TryLimits(hedgeAfter: 0.2)) { world, director, first, second in
            let client = try await world.client()
            client.send(.post(body: "hi"))
            let (one, other) = (try await first.connection(0), try await second.connection(0))
            try await other.receive("\r\n\r\nhi")
            client.close()
            try await one.receiveClose()
            try await other.receiveClose()
            #expect(try await world.countersAtRest().cancellations == 1)
        }
    }

    @Test("a request whose body is still coming is not tried twice")
    func unfinished() throws {
        for isWhole in [false, true] {
            var exchange = try Self.exchange(TryLimits(hedgeAfter: 1), isWhole: isWhole)
            let actions = exchange.timeUp(now: .uptimeNanoseconds(1_000_000_000))
            #expect(actions == (isWhole ? [.hedge(besides: Self.target)] : []))
            // Once is enough.
            #expect(exchange.dueAt == nil)
        }
    }

    private static let target = ProxyTarget(address: EndpointAddress(host: "10.0.0.1", port: 80))

    /// A request that is on its way since the time 0.
    private static func exchange(_ limits: TryLimits, isWhole: Bool) throws -> Exchange {
        let head = RequestHead(method: "POST", uri: "/", headers: ["host": "a", "content-length": "2"])
        let admitted = try HeaderRules.admit(head, client: nil, viaName: "isobar")
        var exchange = Exchange(admitted, id: 1, limits: .init(tries: 3, replay: 1 << 20, discard: 1 << 20))
        _ = exchange.begin()
        _ = exchange.directed(.forward(Self.target, limits: limits), now: .uptimeNanoseconds(0))
        _ = exchange.requestBody(ByteBuffer(string: isWhole ? "ab" : "a"))
        if isWhole { _ = exchange.requestEnded(nil) }
        _ = exchange.connected(reused: false, now: .uptimeNanoseconds(0))
        return exchange
    }
}
