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

@Suite("A cluster with two agents")
struct TwinTests {
    private func frame(
        _ agent: String,
        _ incarnation: UInt64,
        _ sequence: UInt64,
        ready: Int = 3,
        running: Int = 10
    ) throws -> DigestFrame {
        DigestFrame(
            id: FrameID(cluster: try ClusterName("a"), incarnation: incarnation, sequence: sequence),
            region: try RegionName("us-east"),
            agent: try AgentName(agent),
            interval: 1,
            digests: [
                PoolDigest(
                    pool: try PoolName("llama"),
                    state: ready == 0 ? .down : .active,
                    endpointsReady: ready,
                    endpointsKnown: 3,
                    running: running
                )
            ]
        )
    }

    private func speaker(_ board: DigestBoard, now: Seconds) -> String? {
        board.views(now: now).first?.frame.id.description
    }

    @Test("is one line of the view, and neither agent refuses the other, whoever registered last")
    func noDoubleCounting() throws {
        var board = DigestBoard()
        for second in 1...20 {
            try board.receive(try self.frame("a-0", 1, UInt64(second)), now: Seconds(second))
            try board.receive(try self.frame("a-1", 2, UInt64(second)), now: Seconds(second) + 0.5)
            let views = board.views(now: Seconds(second) + 0.9)
            #expect(views.count == 1)
            #expect(views.flatMap { $0.frame.digests.map(\.running) } == [10])
        }
        // The one that has learned for longest speaks.
        #expect(self.speaker(board, now: 20.9) == "a@1.20")
        #expect(board.agents(of: try ClusterName("a"), now: 20.9).map(\.frame.agent.text) == ["a-0", "a-1"])
    }

    @Test("loses one agent and has a frame that is at most one digest period late", arguments: [0, 1] as [UInt64])
    func loss(dead: UInt64) throws {
        for seed in 0..<50 as Range<UInt64> {
            var dice = SeededGenerator(seed: seed)
            let phases = [Double.random(in: 0..<1, using: &dice), Double.random(in: 0..<1, using: &dice)]
            let death = Double.random(in: 5..<7, using: &dice)
            var board = DigestBoard()
            var oldest = 0.0
            for tick in 0..<1_200 {
                let now = Seconds(tick) / 100
                for agent in 0...1 as ClosedRange<UInt64> where agent != dead || now < death {
                    let beat = now - phases[Int(agent)]
                    guard beat >= 0, Int(beat * 100 + 0.5) % 100 == 0 else { continue }
                    try board.receive(try self.frame("a-\(agent)", agent + 1, UInt64(tick) + 1), now: now)
                }
                if now > 2 { oldest = max(oldest, board.views(now: now).first?.age ?? .infinity) }
            }
            // One period is the age of any frame just before the next; one more is what the loss may cost.
            #expect(oldest <= 2, "seed \(seed)")
            #expect(self.speaker(board, now: 12)?.hasPrefix("a@\(2 - dead).") == true, "seed \(seed)")
        }
    }

    @Test("keeps its endpoints when one agent is cut off from them, and loses them when both are")
    func blindTwin() throws {
        var board = DigestBoard()
        try board.receive(try self.frame("a-0", 1, 1), now: 0)
        try board.receive(try self.frame("a-1", 2, 1), now: 0)
        try board.receive(try self.frame("a-0", 1, 2, ready: 0), now: 0.5)
        #expect(self.speaker(board, now: 0.6) == "a@2.1")
        try board.receive(try self.frame("a-1", 2, 2, ready: 0), now: 0.9)
        #expect(board.views(now: 1).first?.frame.digests[0].state == .down)
        // An agent that died does not vouch for endpoints for ever.
        try board.receive(try self.frame("a-1", 2, 3, ready: 3), now: 1)
        for beat in 2...5 {
            try board.receive(try self.frame("a-0", 1, UInt64(beat) + 1, ready: 0), now: Seconds(beat))
        }
        #expect(board.views(now: 5.1).first?.frame.digests[0].state == .down)
    }

    @Test("an agent that comes back with a new incarnation joins, and does not take over")
    func restart() throws {
        var board = DigestBoard()
        try board.receive(try self.frame("a-0", 1, 9), now: 0)
        try board.receive(try self.frame("a-1", 2, 9), now: 0.5)
        try board.receive(try self.frame("a-0", 3, 1), now: 1)
        #expect(self.speaker(board, now: 1.1) == "a@2.9")
        #expect(throws: FrameRefusal.stale) { try board.receive(try self.frame("a-0", 1, 10), now: 1.2) }
    }

    @Test("whatever the order of the frames, the same agent speaks")
    func joins() throws {
        var frames: [DigestFrame] = []
        for agent in 0...3 as ClosedRange<UInt64> {
            for sequence in 1...4 as ClosedRange<UInt64> {
                frames.append(try self.frame("a-\(agent)", agent + 1, sequence, ready: Int(sequence + agent) % 3))
            }
        }
        var speakers: Set<String> = []
        for seed in 0..<100 as Range<UInt64> {
            var dice = SeededGenerator(seed: seed)
            var board = DigestBoard()
            for frame in frames.shuffled(using: &dice) { _ = try? board.receive(frame, now: 0) }
            speakers.insert(self.speaker(board, now: 0.5) ?? "")
        }
        #expect(speakers == ["a@2.4"])
    }

    @Test("has room for eight agents; a name left behind makes room, one that speaks does not")
    func bounded() throws {
        var board = DigestBoard()
        for agent in 0..<8 { try board.receive(try self.frame("a-\(agent)", UInt64(agent) + 1, 1), now: 0) }
        #expect(throws: FrameRefusal.full) { try board.receive(try self.frame("b", 9, 1), now: 1) }
        try board.receive(try self.frame("b", 9, 2), now: 2)
        #expect(board.agents(of: try ClusterName("a"), now: 2).count == 8)
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

    @Test("whatever comes, goes and falls silent, the answer is what the reports held would give", arguments: 1...8)
    func counted(seed: Int) throws {
        var dice = SeededGenerator(seed: UInt64(seed))
        var board = DemandBoard()
        var held: [GatewayName: (report: DemandReport, at: Seconds)] = [:]
        var answers = 0
        for step in 0..<2_000 {
            let now = Double(step) * 0.4
            let gateway = "g\(Int.random(in: 0..<5, using: &dice))"
            switch Int.random(in: 0..<10, using: &dice) {
            case 0:
                board.forget(try GatewayName(gateway))
                held[try GatewayName(gateway)] = nil
            case 1:
                board.forgetSilent(now: now)
                held = held.filter { now - $0.value.at <= DemandBoard.reportLifetime }
            default:
                let regions = ["r0", "r1", "r2"]
                let unreachable = Set(regions.filter { _ in Double.random(in: 0..<1, using: &dice) < 0.7 })
                let region = regions[Int.random(in: 0..<3, using: &dice)]
                let report = try self.report(gateway, region, rate: 1, unreachable: unreachable)
                let isTaken = board.receive(report, now: now)
                #expect(isTaken)
                held[report.gateway] = (report, now)
            }
            let reports = held.values.map(\.report)
            let named = reports.reduce(into: Set<RegionName>()) { $0.formUnion($1.unreachable) }
            let unreachable = named.filter { region in
                reports.allSatisfy { $0.region != region && $0.unreachable.contains(region) }
            }
            #expect(board.unreachable == unreachable)
            answers += unreachable.count
        }
        #expect(answers > 0)
    }
}
