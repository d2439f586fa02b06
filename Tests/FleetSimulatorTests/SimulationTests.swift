import EngineModel
import FleetModel
import RequestRouting
import Testing

@testable import FleetSimulator

/// Two regions, 80 ms apart: a fast one and a slow one.
enum SmallWorld {
    static let east = RegionName(unchecked: "east")
    static let west = RegionName(unchecked: "west")

    static func make() throws -> FleetWorld {
        FleetWorld(
            regions: [WorldRegion(name: self.east), WorldRegion(name: self.west, demand: 2)],
            clusters: [
                WorldCluster(
                    name: ClusterName(unchecked: "east-a"),
                    region: self.east,
                    profile: try EngineProfile(named: "8b-h100"),
                    engines: 2
                ),
                WorldCluster(
                    name: ClusterName(unchecked: "west-a"),
                    region: self.west,
                    profile: try EngineProfile(named: "8b-l40s"),
                    engines: 3
                ),
            ],
            bands: [WorldBand(band: .standard, share: 1, objective: 1)],
            roundTrips: [[0, 0.08], [0.08, 0]]
        )
    }

    /// Measured once: it takes longer than a run.
    static let capacity = Result { TrueCapacity.measure(try Self.make(), requests: Self.requests, counted: 400) }

    static let requests = (0..<97).map { number in
        TrafficRequest(
            promptTokens: 200 + 37 * (number % 23),
            outputTokens: 20 + 11 * (number % 13),
            blocks: [UInt64(number % 31)]
        )
    }

    static func comparison(
        _ policies: [SimulationPolicy],
        load: Double,
        events: [String] = []
    ) throws -> FleetComparison {
        FleetComparison(
            world: try self.make(),
            requests: self.requests,
            policies: policies,
            load: load,
            measured: 500,
            warmup: 15,
            events: try events.map { try TimedEvent($0) },
            seed: 7,
            capacity: try Self.capacity.get()
        )
    }

    static func outcome(_ comparison: FleetComparison, _ policy: SimulationPolicy) -> FleetSimulation {
        var run = comparison.run(policy)
        while !run.isDone { run.advance(to: run.now + 10) }
        return run
    }
}

@Suite struct SimulationTests {
    @Test(arguments: SimulationPolicy.allCases)
    func `every request ends once, by any policy, and the same seed gives the same records`(
        policy: SimulationPolicy
    ) throws {
        let comparison = try SmallWorld.comparison([policy], load: 0.7)
        let first = SmallWorld.outcome(comparison, policy)
        let second = SmallWorld.outcome(comparison, policy)
        #expect(first.records.count == first.sent)
        #expect(first.openFlights == 0)
        #expect(first.gateways.allSatisfy { $0.router.inFlight == 0 })
        #expect(first.gateways.allSatisfy { $0.inFlight.allSatisfy { $0 == 0 } })
        #expect(first.outcome.rejected == 0)
        #expect("\(first.records)" == "\(second.records)")
        #expect(first.sent == second.sent)
    }

    @Test func `a run in small steps is the run in one`() throws {
        let comparison = try SmallWorld.comparison([.ours], load: 0.8)
        let whole = SmallWorld.outcome(comparison, .ours)
        var stepped = comparison.run(.ours)
        while !stepped.isDone { stepped.advance(to: stepped.now + 0.37) }
        #expect("\(whole.records)" == "\(stepped.records)")
    }

    @Test func `another seed gives another run`() throws {
        let comparison = try SmallWorld.comparison([.ours], load: 0.7)
        let other = FleetComparison(
            world: comparison.world,
            requests: comparison.requests,
            policies: [.ours],
            load: 0.7,
            measured: 500,
            warmup: 15,
            events: [],
            seed: 8,
            capacity: comparison.capacity
        )
        #expect(SmallWorld.outcome(comparison, .ours).outcome.ttft != SmallWorld.outcome(other, .ours).outcome.ttft)
    }

    @Test(arguments: [0.4, 0.8, 1.1])
    func `no policy beats the bound`(load: Double) throws {
        let policies: [SimulationPolicy] = [.ours, .nearest, .waterfall80, .leastInFlight, .clairvoyant]
        let comparison = try SmallWorld.comparison(policies, load: load)
        let outcomes = comparison.policies.map { SmallWorld.outcome(comparison, $0).outcome }
        let bound = comparison.bound(outcomes: outcomes)
        #expect(bound > 0)
        for outcome in outcomes { #expect(outcome.ttft.mean >= bound) }
    }

    @Test(arguments: SimulationPolicy.allCases.filter { ![.clairvoyant, .oursFrozen].contains($0) })
    func `the loss of a region is survived, and its requests end elsewhere`(policy: SimulationPolicy) throws {
        let comparison = try SmallWorld.comparison([policy], load: 0.3, events: ["18s fail west", "30s restore west"])
        let run = SmallWorld.outcome(comparison, policy)
        #expect(run.records.count == run.sent)
        #expect(run.openFlights == 0)
        // Requests that had begun are cut; of the others, a few find no second way in time.
        let unanswered = run.outcome.rejected
        #expect(Double(unanswered) < 0.05 * Double(run.sent), "\(unanswered) of \(run.sent)")
        let late = run.records.filter { $0.at > 24 && $0.at < 30 }
        #expect(late.allSatisfy { $0.ttft != nil && $0.cluster == 0 })
    }

    @Test func `a drained cluster gets nothing new and finishes what it has`() throws {
        let comparison = try SmallWorld.comparison([.ours], load: 0.3, events: ["18s drain east-a"])
        let run = SmallWorld.outcome(comparison, .ours)
        #expect(run.outcome.rejected == 0)
        #expect(run.outcome.cut == 0)
        // A local gateway goes on using a draining cluster until the plan without it has come.
        #expect(run.records.filter { $0.at > 21 }.allSatisfy { $0.cluster == 1 })
    }

    @Test func `a burst sends as many more requests as it says`() throws {
        let plain = SmallWorld.outcome(try SmallWorld.comparison([.nearest], load: 0.2), .nearest)
        let burst = SmallWorld.outcome(
            try SmallWorld.comparison([.nearest], load: 0.2, events: ["17s burst west 3 20s"]),
            .nearest
        )
        func sent(_ run: FleetSimulation, from source: Int) -> Int {
            run.records.count { $0.source == source && $0.at > 19 && $0.at < 37 }
        }
        #expect(sent(burst, from: 0) == sent(plain, from: 0))
        #expect(abs(Double(sent(burst, from: 1)) / Double(sent(plain, from: 1)) - 3) < 0.35)
    }

    @Test func `an event that names what is not there says what is`() throws {
        var run = try SmallWorld.comparison([.ours], load: 0.5).run(.ours)
        let error = #expect(throws: FleetEventError.self) { try run.happen(FleetEvent("drain north-a")) }
        #expect(error?.description == "\"north-a\" is not in the world; use one of east-a, west-a")
        #expect(throws: FleetEventError.self) { try TimedEvent("30 fail west") }
        #expect(throws: FleetEventError.self) { try FleetEvent("burst west 2") }
    }

    @Test func `events of one instant happen in the order in which they were planned`() {
        var queue = EventQueue<Int>()
        for number in 0..<100 { queue.add(number, at: Double(number % 3)) }
        var order: [Int] = []
        while let (event, _) = queue.next() { order.append(event) }
        #expect(order == (0..<3).flatMap { rest in (0..<100).filter { $0 % 3 == rest } })
    }
}
