import FleetModel
import TestKit
import Testing

@testable import GossipCore

private func frame(_ cluster: String, _ incarnation: UInt64, _ sequence: UInt64) throws -> DigestFrame {
    DigestFrame(
        id: FrameID(cluster: try ClusterName(cluster), incarnation: incarnation, sequence: sequence),
        region: try RegionName("us-east"),
        agent: try AgentName("a-0"),
        interval: 1,
        digests: []
    )
}

@Suite("The board of digests")
struct DigestBoardTests {
    @Test("whatever the order, the copies and the losses, the newest frame of each cluster stays")
    func joins() throws {
        for seed in 0..<200 as Range<UInt64> {
            var dice = SeededGenerator(seed: seed)
            var frames: [DigestFrame] = []
            for cluster in ["a", "b", "c"] {
                for incarnation in 1...3 as ClosedRange<UInt64> {
                    for sequence in 1...4 as ClosedRange<UInt64> {
                        frames.append(try frame(cluster, incarnation, sequence))
                    }
                }
            }
            frames.append(contentsOf: frames.prefix(9))
            frames.shuffle(using: &dice)
            var board = DigestBoard()
            for (second, frame) in frames.enumerated() {
                _ = try? board.receive(frame, now: Seconds(second))
            }
            let ids = board.views(now: 100).map(\.frame.id.description)
            #expect(ids == ["a@3.4", "b@3.4", "c@3.4"], "seed \(seed)")
        }
    }

    @Test("an old frame and a copy are refused and change nothing")
    func refusesThePast() throws {
        var board = DigestBoard()
        try board.receive(try frame("a", 2, 7), now: 10)
        #expect(throws: FrameRefusal.stale) { try board.receive(try frame("a", 2, 7), now: 11) }
        #expect(throws: FrameRefusal.stale) { try board.receive(try frame("a", 1, 99), now: 12) }
        #expect(board.views(now: 13) == [DigestView(frame: try frame("a", 2, 7), age: 3)])
    }

    @Test("age counts from when the frame was made, wherever it lay")
    func carriedAge() throws {
        var board = DigestBoard()
        try board.receive(try frame("a", 1, 1), carriedAge: 0.5, now: 10)
        #expect(board.views(now: 11).map(\.age) == [1.5])
        #expect(board.forgetSilent(now: 600).isEmpty)
        #expect(board.forgetSilent(now: 620).map(\.text) == ["a"])
    }
}

@Suite("The board of demand")
struct DemandBoardTests {
    private func report(
        _ gateway: String,
        _ region: String,
        rate: Double,
        unreachable: Set<String> = []
    ) throws -> DemandReport {
        DemandReport(
            gateway: try GatewayName(gateway),
            region: try RegionName(region),
            demand: [BandDemand(pool: try PoolName("llama"), band: .standard, rate: rate)],
            roundTrips: [:],
            unreachable: Set(try unreachable.map { try RegionName($0) })
        )
    }

    @Test("the gateways of a region add up, and a silent one is forgotten")
    func sums() throws {
        var board = DemandBoard()
        let east = try RegionName("us-east")
        #expect(board.receive(try self.report("g1", "us-east", rate: 3), now: 0))
        #expect(board.receive(try self.report("g2", "us-east", rate: 4), now: 4))
        #expect(board.demand(of: try PoolName("llama")) == [east: [.standard: 7]])
        board.forgetSilent(now: 6)
        #expect(board.demand(of: try PoolName("llama")) == [east: [.standard: 4]])
    }

    @Test("a region is unreachable when every other region says so, and it says nothing itself")
    func unreachable() throws {
        var board = DemandBoard()
        let asia = try RegionName("asia-east")
        _ = board.receive(try self.report("g1", "us-east", rate: 0, unreachable: ["asia-east"]), now: 0)
        #expect(board.unreachable == [asia])
        _ = board.receive(try self.report("g2", "europe-west", rate: 0), now: 0)
        #expect(board.unreachable.isEmpty)
        _ = board.receive(try self.report("g2", "europe-west", rate: 0, unreachable: ["asia-east"]), now: 0)
        #expect(board.unreachable == [asia])
        _ = board.receive(try self.report("g3", "asia-east", rate: 0), now: 0)
        #expect(board.unreachable.isEmpty)
    }
}
