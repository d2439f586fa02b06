import FleetModel
import Foundation
import SwiftProtobuf
import TestKit
import Testing
import WireProtocol

/// A fleet's plans, one after the other, each a random change of the one before.
private struct PlanStory {
    private var dice: SeededGenerator
    private(set) var plan: Plan

    init(seed: UInt64) throws {
        self.dice = SeededGenerator(seed: seed)
        self.plan = Plan(version: PlanVersion(epoch: 1, generation: 1), parent: nil, timeToLive: 60, pools: [])
        for _ in 0..<3 { try self.changePools() }
    }

    private mutating func chance(_ of: Double) -> Bool { Double.random(in: 0..<1, using: &self.dice) < of }

    private mutating func pick(_ below: Int) -> Int { Int.random(in: 0..<below, using: &self.dice) }

    mutating func step() throws {
        self.plan.parent = self.plan.version
        self.plan.version.generation += 1
        if self.chance(0.02) { self.plan.version.epoch += 1 }
        if self.chance(0.05) { try self.changePools() }
        for index in self.plan.pools.indices {
            var pool = self.plan.pools[index]
            // Mostly what a quiet second brings: newer frames, and a few weights that moved.
            for place in pool.clusters.indices where self.chance(0.7) {
                pool.clusters[place].frame.sequence += 1
                pool.clusters[place].waiting = self.pick(20)
            }
            if self.chance(0.1), !pool.clusters.isEmpty {
                pool.clusters[self.pick(pool.clusters.count)].state = [.active, .draining, .down][self.pick(3)]
            }
            if self.chance(0.1) { pool.cost = Double(self.pick(1_000)) / 1_000 }
            if self.chance(0.05) { pool.objectives = ["chat": .premium] }
            if self.chance(0.05) {
                try self.changeClusters(of: &pool)
            } else {
                for row in pool.rows.indices where self.chance(0.2) {
                    pool.rows[row].weights = self.weights(pool.clusters)
                }
                for lost in pool.failover.indices where self.chance(0.1) {
                    for row in pool.failover[lost].rows.indices {
                        pool.failover[lost].rows[row].weights = self.weights(pool.clusters)
                    }
                }
            }
            self.plan.pools[index] = pool
        }
    }

    private mutating func changePools() throws {
        let name = try PoolName("default/pool-\(self.pick(4))")
        if let index = self.plan.pools.firstIndex(where: { $0.pool == name }) {
            self.plan.pools.remove(at: index)
            return
        }
        var pool = PoolPlan(pool: name, clusters: [], rows: [], failover: [], cost: 0, gap: 0)
        try self.changeClusters(of: &pool)
        self.plan.pools.append(pool)
        self.plan.pools.sort { $0.pool < $1.pool }
    }

    /// Other clusters, and with them other rows.
    private mutating func changeClusters(of pool: inout PoolPlan) throws {
        pool.clusters = try (0..<7).filter { _ in self.chance(0.6) }.map { number in
            let name = try ClusterName("cluster-\(number)")
            return PlanCluster(
                name: name,
                region: try RegionName("region-\(number % 3)"),
                state: .active,
                capacity: self.chance(0.2) ? nil : 5,
                unloadedTTFT: 0.1,
                waiting: 0,
                freeSeats: 8,
                frame: FrameID(cluster: name, incarnation: 1, sequence: 1),
                price: Double(self.pick(100)) / 100
            )
        }
        pool.rows = try self.rows(pool.clusters)
        pool.failover = try pool.clusters.map { FailoverRows(lost: $0.name, rows: try self.rows(pool.clusters)) }
    }

    private mutating func rows(_ clusters: [PlanCluster]) throws -> [PlanRow] {
        var rows: [PlanRow] = []
        for region in 0..<3 {
            for band in Band.allCases where self.chance(0.9) {
                let source = try RegionName("region-\(region)")
                rows.append(PlanRow(source: source, band: band, weights: self.weights(clusters)))
            }
        }
        return rows
    }

    private mutating func weights(_ clusters: [PlanCluster]) -> ClusterShares {
        var weights = ClusterShares()
        for cluster in clusters where self.chance(0.5) { weights[cluster.name] = Double(1 + self.pick(99)) / 100 }
        return weights
    }
}

extension Plan {
    /// What a gateway needs, told once more in the model's words.
    fileprivate func seen(by scope: PlanScope) -> Plan {
        var seen = self
        seen.pools = self.pools.filter { scope.pools.isEmpty || scope.pools.contains($0.pool) }.map { pool in
            var pool = pool
            pool.rows = pool.rows.filter { $0.source == scope.region }
            let used = Set(pool.rows.flatMap { $0.weights.filter { $0.weight > 0 }.map(\.cluster) })
            pool.failover = pool.failover.compactMap { failover in
                let rows = failover.rows.filter { $0.source == scope.region }
                return used.contains(failover.lost) && !rows.isEmpty
                    ? FailoverRows(lost: failover.lost, rows: rows) : nil
            }
            return pool
        }
        return seen
    }
}

@Suite("A gateway's slice of a plan, and its deltas")
struct PlanDeltaTests {
    @Test("over thousands of random changes, deltas make the slice of the whole plan, to the byte", arguments: 1...4)
    func story(seed: Int) throws {
        var story = try PlanStory(seed: UInt64(seed))
        let scopes = [
            PlanScope(region: try RegionName("region-0")),
            PlanScope(region: try RegionName("region-1"), pools: [try PoolName("default/pool-1")]),
            PlanScope(
                region: try RegionName("region-2"),
                pools: [try PoolName("default/pool-0"), try PoolName("default/pool-3")]
            ),
            PlanScope(region: try RegionName("nowhere")),
        ]
        var held = scopes.map { Isobar_V1_Plan(story.plan).slice(for: $0) }
        var (deltaBytes, bodyBytes, partial) = (0, 0, 0)
        for _ in 0..<500 {
            try story.step()
            for (index, scope) in scopes.enumerated() {
                let next = Isobar_V1_Plan(story.plan).slice(for: scope)
                #expect(try next.model() == story.plan.seen(by: scope))
                let sent: [UInt8] = try Isobar_V1_PlanDelta(from: (held[index], Data()), to: (next, Data()))
                    .serializedBytes()
                let delta = try Isobar_V1_PlanDelta(serializedBytes: sent)
                held[index] = try delta.applied(to: held[index])
                let (made, meant): ([UInt8], [UInt8]) = (try held[index].serializedBytes(), try next.serializedBytes())
                #expect(made == meant)
                deltaBytes += sent.count
                bodyBytes += meant.count
                partial += delta.pools.count { !$0.isWhole }
            }
        }
        #expect(partial > 1_000, "\(partial) changes")
        #expect(deltaBytes < bodyBytes / 2, "\(deltaBytes) of \(bodyBytes) bytes")
    }

    @Test("a delta to another slice than the one held never traps", arguments: 1...4)
    func otherBase(seed: Int) throws {
        var story = try PlanStory(seed: UInt64(seed))
        let scope = PlanScope(region: try RegionName("region-0"))
        var slices = [Isobar_V1_Plan(story.plan).slice(for: scope)]
        for _ in 0..<200 {
            try story.step()
            slices.append(Isobar_V1_Plan(story.plan).slice(for: scope))
        }
        var dice = SeededGenerator(seed: UInt64(seed))
        var refused = 0
        for index in 1..<slices.count {
            let delta = Isobar_V1_PlanDelta(from: (slices[index - 1], Data()), to: (slices[index], Data()))
            let base = slices[Int.random(in: slices.indices, using: &dice)]
            do throws(WireError) {
                _ = try delta.applied(to: base)
            } catch {
                refused += 1
            }
        }
        #expect(refused > 0)
    }

    @Test("a quiet second's delta is a fraction of the slice")
    func small() throws {
        var plan = try Fixtures.plan()
        let scope = PlanScope(region: try RegionName("us-east"))
        let before = Isobar_V1_Plan(plan).slice(for: scope)
        plan.version.generation += 1
        plan.pools[0].clusters[0].frame.sequence += 1
        let delta = Isobar_V1_PlanDelta(from: (before, Data()), to: (Isobar_V1_Plan(plan).slice(for: scope), Data()))
        #expect(delta.pools.map(\.clusterPlaces) == [[0]] && delta.pools[0].pool.rows.isEmpty)
        #expect(delta.pools[0].pool.clusters[0].name.isEmpty)
    }

    @Test("a plan says the same in whatever order its clusters are, and nothing of one that it does not name")
    func ordered() throws {
        var plan = try Fixtures.plan()
        let message = Isobar_V1_Plan(plan)
        plan.pools[0].clusters.reverse()
        #expect(Isobar_V1_Plan(plan) == message)
        plan.pools[0].rows[1].weights[try ClusterName("nowhere")] = 0.5
        #expect(Isobar_V1_Plan(plan) == message)
    }

    @Test("rows of few clusters name them, and places that are not there are refused")
    func sparseRows() throws {
        var message = Isobar_V1_Plan(try Fixtures.plan())
        #expect(message.pools[0].rows[1].places == [0] && message.pools[0].rows[1].weights == [1])
        #expect(message.pools[0].rows[0].places.isEmpty && message.pools[0].rows[0].weights == [0.2, 0.8])
        message.pools[0].rows[1].places = [7]
        let error = #expect(throws: WireError.self) { try message.model() }
        #expect(error?.field == "rows.places")
        message.pools[0].rows[1].places = [0, 1]
        #expect(throws: WireError.self) { try message.model() }
    }
}
