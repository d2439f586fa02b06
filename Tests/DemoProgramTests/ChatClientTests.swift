import AsyncHTTPClient
import FleetModel
import NIOHTTP1
import NIOPosix
import Testing

@testable import DemoProgram

@Suite struct ChatClientTests {
    private let east = RegionName(unchecked: "us-east")
    private let west = RegionName(unchecked: "europe-west")

    /// Where a gateway has gone.
    private let dead: DeadAddress

    init() throws { self.dead = try DeadAddress() }

    /// Sends one request from europe-west, whose next nearest gateway is that of us-east.
    private func send(
        west: EndpointAddress,
        east: EndpointAddress,
        requests: Int = 1
    ) async throws -> (
        records: [Record], anycast: Anycast
    ) {
        let http = HTTPClient(
            eventLoopGroupProvider: .shared(MultiThreadedEventLoopGroup.singleton),
            configuration: ChatClient.configuration()
        )
        let state = LoadState(seed: 1)
        let client = ChatClient(
            http: http,
            geography: .standard,
            addresses: [self.west: [self.west: west, self.east: east]],
            state: state,
            clock: LoadClock()
        )
        for number in 0..<requests {
            let arrival = Arrival(
                number: UInt64(number),
                time: 0,
                source: self.west,
                promptTokens: 3,
                outputTokens: 7,
                blocks: []
            )
            await client.perform(arrival, isLate: false)
        }
        try await http.shutdown()
        return (state.ledger { $0.records }, state.anycast { $0 })
    }

    @Test func aStreamIsAnsweredByTheNearestGateway() async throws {
        let gateway = FakeGateway([.stream(cluster: "europe-west-a")])
        let far = FakeGateway([.stream(cluster: "us-east-a")])
        try await gateway.serve { near in
            try await far.serve { far in
                let record = try #require(try await send(west: near, east: far).records.first)
                #expect(record.outcome == .answered && record.retries == 0 && record.cluster == "europe-west-a")
                #expect(try #require(record.ttft) > 0)
            }
        }
        #expect(far.requests.isEmpty)
        let body = try #require(gateway.requests.first)
        #expect(
            body.hasPrefix(#"{"model":"llama","stream":true,"max_tokens":7,"messages":[{"role":"user","content":""#)
        )
    }

    @Test func whenTheGatewayIsGoneTheNextNearestAnswersAndLaterRequestsNeedNoRetry() async throws {
        let far = FakeGateway([.stream(cluster: "us-east-a")])
        try await far.serve { far in
            let seen = try await send(west: self.dead.address, east: far, requests: 2)
            #expect(seen.records.map(\.retries) == [1, 0])
            #expect(seen.records.allSatisfy { $0.outcome == .answered && $0.cluster == "us-east-a" })
            // The time to the first token counts from the first attempt.
            #expect(try #require(seen.records[0].ttft) >= 0.375)
            #expect(seen.anycast.withdrawn == [self.west])
        }
    }

    @Test func aConnectionThatClosesWithoutAByteIsTriedAtAnotherGateway() async throws {
        let far = FakeGateway([.stream(cluster: "us-east-a")])
        try await FakeGateway([.closed]).serve { near in
            try await far.serve { far in
                let seen = try await send(west: near, east: far)
                #expect(seen.records.first?.outcome == .answered && seen.records.first?.retries == 1)
                #expect(seen.anycast.withdrawn.isEmpty)
            }
        }
    }

    @Test func aStreamThatIsCutIsNotSentAgain() async throws {
        let near = FakeGateway([.cutAfterFirstToken])
        let record = try await near.serve { near in
            try await send(west: near, east: self.dead.address).records.first
        }
        #expect(record?.outcome == .interrupted && record?.retries == 0 && record?.ttft != nil)
        #expect(near.requests.count == 1)
    }

    @Test func anOverloadedGatewayIsTriedAgainWhenItAsksFor() async throws {
        let near = FakeGateway([.status(.tooManyRequests, retryAfter: "0.05"), .stream(cluster: "europe-west-a")])
        let record = try await near.serve { near in
            try await send(west: near, east: self.dead.address).records.first
        }
        #expect(record?.outcome == .answered && record?.retries == 1)
        #expect(near.requests.count == 2)
    }

    @Test func aRefusedRequestFailsAtOnce() async throws {
        let near = FakeGateway([.status(.badRequest, retryAfter: nil)])
        let record = try await near.serve { near in
            try await send(west: near, east: self.dead.address).records.first
        }
        #expect(record?.outcome == .failed && record?.retries == 0)
    }

    @Test func aRunEndsWithItsDurationAndItsAnswers() async throws {
        let gateway = FakeGateway([.stream(cluster: "us-east-a")])
        try await gateway.serve { address in
            let http = HTTPClient(
                eventLoopGroupProvider: .shared(MultiThreadedEventLoopGroup.singleton),
                configuration: ChatClient.configuration()
            )
            let regions = Geography.standard.regions
            let all = Dictionary(uniqueKeysWithValues: regions.map { ($0.name, address) })
            let state = LoadState(seed: 1)
            let client = ChatClient(
                http: http,
                geography: .standard,
                addresses: all.mapValues { _ in all },
                state: state,
                clock: LoadClock()
            )
            let workload = Workload(.synthetic, rate: 100, regions: regions, bursts: [], seed: 4)
            await LoadGenerator(client: client).run(workload, duration: 0.5)
            try await http.shutdown()
            let ledger = state.ledger { $0 }
            #expect(ledger.sent > 20 && ledger.inFlight == 0 && ledger.failed == 0)
        }
    }

    @Test func aRunThatIsCancelledLeavesItsRequestsUnfinished() async throws {
        try await FakeGateway([.silence]).serve { address in
            let http = HTTPClient(
                eventLoopGroupProvider: .shared(MultiThreadedEventLoopGroup.singleton),
                configuration: ChatClient.configuration()
            )
            let regions = Geography.standard.regions
            let all = Dictionary(uniqueKeysWithValues: regions.map { ($0.name, address) })
            let state = LoadState(seed: 1)
            let client = ChatClient(
                http: http,
                geography: .standard,
                addresses: all.mapValues { _ in all },
                state: state,
                clock: LoadClock()
            )
            let workload = Workload(.synthetic, rate: 200, regions: regions, bursts: [], seed: 4)
            await withDiscardingTaskGroup { group in
                group.addTask { await LoadGenerator(client: client).run(workload, duration: nil) }
                while state.ledger({ $0.sent }) < 5 { await Task.yield() }
                group.cancelAll()
            }
            try await http.shutdown()
            let ledger = state.ledger { $0 }
            #expect(ledger.inFlight == 0 && ledger.failed == 0 && ledger.interrupted == 0 && ledger.retried == 0)
            #expect(ledger.records.allSatisfy { $0.outcome == .unfinished })
        }
    }
}
