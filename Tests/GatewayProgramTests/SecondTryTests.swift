import FleetModel
import Foundation
import Logging
import Observability
import RequestRouting
import TestKit
import Testing

@testable import GatewayProgram
@testable import ReverseProxy

/// A gateway with two engines in its region, asked as the proxy asks it.
private struct Director {
    static let engines = [
        EndpointAddress(host: "10.0.0.1", port: 8_000), EndpointAddress(host: "10.0.0.2", port: 8_000),
    ]

    let gateway: Gateway

    init(_ pool: String, _ rest: String = "") throws {
        let folder = try TemporaryFolder()
        let file = "gateway: gw\nregion: us-east\nlisten: 127.0.0.1:0\n\(rest)\npools: [{name: llama\(pool)}]\n"
        try Data(file.utf8).write(to: URL(fileURLWithPath: folder.file("gateway.yaml")))
        self.gateway = Gateway(
            configuration: try GatewayConfiguration(file: folder.file("gateway.yaml")),
            plan: nil,
            clock: MonotonicClock(),
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        )
        let now = self.gateway.clock.now
        self.gateway.observe(
            SampleBatch(
                cluster: try ClusterName("us-east-a"),
                region: try RegionName("us-east"),
                pool: try PoolName("llama"),
                // Of the future, so that a machine that stalls does not take them for old.
                samples: Self.engines.map {
                    let load = EndpointLoad(running: 1, waiting: 0, kvUse: nil)
                    return EndpointSample(endpoint: $0, load: load, takenAt: now + 3_600)
                }
            )
        )
    }

    func request(_ id: UInt64, _ headers: Fields = [:]) -> ProxiedRequest {
        ProxiedRequest(id: id, method: "POST", uri: "/v1/completions", client: nil, hops: 0, headers: headers)
    }

    /// Where a first try goes, and for how long.
    func first(_ request: ProxiedRequest) throws -> (ProxyTarget, TryLimits) {
        guard case .forward(let target, _, _, _, _, let limits) = self.gateway.direct(request, failed: []) else {
            throw NoTarget()
        }
        return (target, limits)
    }

    func second(_ request: ProxiedRequest, besides target: ProxyTarget) -> ProxyTarget? {
        guard case .forward(let other, _, _, _, _, _) = self.gateway.hedge(request, besides: target) else { return nil }
        return other
    }

    func tell(_ request: ProxiedRequest, _ number: Int, _ target: ProxyTarget, _ event: ProxyOutcome.Event) {
        self.gateway.observe(ProxyOutcome(request: request.id, number: number, target: target, event: event))
    }

    func end(_ request: ProxiedRequest) {
        self.gateway.ended(request, ProxySummary(status: 200, bytes: 1, requestBytes: 1, duration: 0.1))
    }

    /// Serves requests whose answers begin after so many seconds.
    func serve(_ count: UInt64, after seconds: Seconds) throws {
        for id in 1...count {
            let request = self.request(1_000 + id)
            let (target, _) = try self.first(request)
            self.tell(request, 1, target, .sent)
            self.tell(request, 1, target, .firstByte(status: 200, head: seconds, after: seconds))
            self.tell(request, 1, target, .completed(status: 200, bytes: 1, duration: seconds))
            self.end(request)
        }
    }

    struct NoTarget: Error {}
}

@Suite("Tries beside and after a first")
struct SecondTryTests {
    @Test("a pool with a hedge has a second try at the other endpoint, after its percentile, and counts it once")
    func hedge() throws {
        let director = try Director(", hedge: {percentile: 90}")
        #expect(try director.first(director.request(1)).1.hedgeAfter == nil)
        director.end(director.request(1))
        try director.serve(64, after: 0.2)
        let request = director.request(2)
        let (target, limits) = try director.first(request)
        #expect(limits.hedgeAfter == 0.2)
        director.tell(request, 1, target, .sent)
        let other = try #require(director.second(request, besides: target))
        #expect(other != target && director.gateway.status().in_flight == 2)
        // There is one second try, not a third.
        #expect(director.second(request, besides: target) == nil)
        director.tell(request, 2, other, .sent)
        director.tell(request, 1, target, .cancelled(bytes: 0, duration: 0.3))
        director.tell(request, 2, other, .firstByte(status: 200, head: 0.1, after: 0.1))
        director.tell(request, 2, other, .completed(status: 200, bytes: 1, duration: 0.2))
        director.end(request)
        #expect(director.gateway.status().in_flight == 0)
        let page = director.gateway.metrics(ProxyCounters())
        #expect(page.contains("isobar_gateway_hedges_total 1.0\n"))
        #expect(page.contains("isobar_gateway_hedges_won_total 1.0\n"))
    }

    @Test("of two tries the first may win as well, and a client that leaves ends both")
    func otherEnds() throws {
        let director = try Director(", hedge: {budgetPercent: 50}")
        try director.serve(64, after: 0.2)
        let won = director.request(1)
        let (target, _) = try director.first(won)
        let other = try #require(director.second(won, besides: target))
        director.tell(won, 2, other, .cancelled(bytes: 0, duration: 0.1))
        director.tell(won, 1, target, .firstByte(status: 200, head: 0.3, after: 0.3))
        director.tell(won, 1, target, .completed(status: 200, bytes: 1, duration: 0.4))
        director.end(won)
        let left = director.request(2)
        let (first, _) = try director.first(left)
        #expect(director.second(left, besides: first) != nil)
        director.end(left)
        #expect(director.gateway.status().in_flight == 0)
    }

    @Test("a pool without a hedge, and a request past the budget, have no second try")
    func noHedge() throws {
        let plain = try Director("")
        try plain.serve(64, after: 0.2)
        let request = plain.request(1)
        let (target, limits) = try plain.first(request)
        #expect(limits == TryLimits() && plain.second(request, besides: target) == nil)
        plain.end(request)

        let bounded = try Director(", hedge: {budgetPercent: 1}")
        try bounded.serve(64, after: 0.2)
        var granted = 0
        for id in 1...50 {
            let request = bounded.request(UInt64(id))
            let (target, _) = try bounded.first(request)
            if bounded.second(request, besides: target) != nil { granted += 1 }
            bounded.end(request)
        }
        #expect(granted == 2)
    }

    @Test("what is left of a request's deadline bounds its tries, and is said upstream in the header's own form")
    func deadline() throws {
        let director = try Director("")
        let request = director.request(1, ["grpc-timeout": "20S"])
        guard case .forward(_, _, let headers, _, _, let limits) = director.gateway.direct(request, failed: []) else {
            Issue.record("not forwarded")
            return
        }
        #expect(limits.deadline.map { $0 > 1 && $0 <= 20 } ?? false)
        #expect(headers.contains { $0.name == "grpc-timeout" && $0.value.hasSuffix("m") })
        #expect(headers.contains { $0.name == "traceparent" })
        director.end(request)
    }

    @Test("when too many tries have failed, the next one is refused instead of tried again")
    func retryBudget() throws {
        let director = try Director("", "retryPercent: 0")
        var refused: ProxyAnswer?
        for id in 1...200 where refused == nil {
            var request = director.request(UInt64(id))
            let (target, _) = try director.first(request)
            director.tell(request, 1, target, .failed(.connectionClosed, duration: 0))
            request.asked = 1
            if case .answer(let answer) = director.gateway.direct(request, failed: [target]) { refused = answer }
            director.end(request)
        }
        #expect(refused?.status == 503)
        #expect(refused?.body.contains("rejected-retry-budget") ?? false)
        #expect(refused?.headers.contains { $0.name == "retry-after" } ?? false)
        #expect(director.gateway.status().in_flight == 0)
    }
}
