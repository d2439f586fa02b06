import FleetModel
import Testing

@testable import FleetSimulator

@Suite struct GossipSimulationTests {
    /// Small enough for a debug build; docs/gossip.md has the large ones, measured.
    private func outcome(_ change: (inout GossipWorld) -> Void) -> GossipOutcome {
        var world = GossipWorld()
        world.agents = 60
        world.regions = 12
        world.loss = 0.05
        world.duration = 25
        world.kills = 2
        change(&world)
        var simulation = GossipSimulation(world)
        simulation.advance(to: simulation.end)
        return simulation.outcome
    }

    @Test func `with four of five links cut, and with all, a change is with every hub in time`() {
        let four = self.outcome { $0.cutDirect = 0.8 }
        #expect(four.hubLatency.count > 1_000)
        #expect(four.hubLatency.p99 < 0.6)
        #expect(four.bytesPerAgentPerSecond < 4_000)
        let all = self.outcome {
            $0.cutDirect = 1
            $0.spared = 0.2
        }
        #expect(all.hubLatency.count > 800)
        #expect(all.hubLatency.p99 < 0.8)
        for outcome in [four, all] {
            #expect(outcome.falseSuspicions == 0)
            #expect(outcome.unfinished == 0)
            #expect(outcome.undetected == 0)
            #expect(outcome.detection.max < 5)
            #expect(outcome.oldDigestsWon == 0)
        }
    }

    @Test func `half of the world comes back and agrees within three seconds`() throws {
        let outcome = self.outcome {
            $0.partition = 30
            $0.agents = 100
            $0.duration = 15
        }
        #expect(try #require(outcome.convergence) < 3)
        #expect(outcome.oldDigestsWon == 0)
    }

    @Test func `the same seed gives the same run, and another another`() {
        let first = self.outcome { $0.cutDirect = 0.8 }
        #expect(self.outcome { $0.cutDirect = 0.8 } == first)
        #expect(self.outcome { ($0.cutDirect, $0.seed) = (0.8, 2) } != first)
    }
}

@Suite struct GossipTrialTests {
    /// Relays forgotten for others that a hub named, and ages from a round trip that was measured across a pause.
    @Test(arguments: [925, 3_355, 3_880, 4_106, 4_216] as [UInt64])
    func `a seed that once broke an invariant breaks none`(seed: UInt64) {
        var trial = GossipTrial(seed: seed)
        #expect(throws: Never.self) { try trial.run() }
    }

    @Test(arguments: 0..<4) func `no seed breaks an invariant`(slice: Int) {
        for seed in UInt64(slice * 15 + 1)...UInt64(slice * 15 + 15) {
            var trial = GossipTrial(seed: seed)
            do throws(BrokenGossipLaw) {
                try trial.run()
            } catch {
                Issue.record("\(error)")
            }
        }
    }

    @Test(arguments: GossipMutant.allCases) func `what is broken on purpose is noticed`(mutant: GossipMutant) {
        var law: GossipLaw?
        var seed: UInt64 = 0
        while law == nil, seed < 60 {
            seed += 1
            var trial = GossipTrial(seed: seed, mutant: mutant)
            do throws(BrokenGossipLaw) {
                try trial.run()
            } catch {
                law = error.law
            }
        }
        #expect(law != nil, "no law noticed \(mutant) in sixty seeds")
    }

    @Test func `a seed replays to the same event`() throws {
        for seed in [3, 14, 159] as [UInt64] {
            var (first, second) = (GossipTrial(seed: seed), GossipTrial(seed: seed))
            try first.run()
            try second.run()
            #expect(first.trace == second.trace)
        }
    }

    @Test func `a broken invariant says which, when, and how to see it again`() {
        let broken = BrokenGossipLaw(law: .agreement, seed: 42, at: 12.5, detail: "hub 1 holds nothing")
        #expect(broken.description.hasPrefix("seed 42 breaks G9 (agreement) at 12500 ms: hub 1 holds nothing"))
        #expect(broken.description.contains("isobar simulate gossip-seeds --seeds 1 --first-seed 42"))
    }
}
