import FleetModel
import Testing

@testable import WeightSolver

struct OptimumTests {
    private var sharp: SolverPolicy {
        var policy = SolverPolicy().unlimited
        policy.epsilon = ByBand(all: 0.002)
        policy.failover = .none
        return policy
    }

    @Test func `with room everywhere every region serves itself`() throws {
        let answer = Fleets.solve(try Fleets.three(policy: sharp))
        for (region, cluster) in [("us-east", "east"), ("us-west", "west"), ("eu-west", "europe")] {
            #expect(answer.weight(.premium, region, cluster) > 0.999)
        }
        #expect(answer.gap < 1e-4)
        #expect(answer.overflow == ByBand(all: 0))
    }

    @Test func `a region with more than it can carry shares it, and equal neighbours get equal parts`() throws {
        let answer = Fleets.solve(try Fleets.three(premium: [60, 10, 10], policy: sharp))
        let (west, europe) = (answer.weight(.premium, "us-east", "west"), answer.weight(.premium, "us-east", "europe"))
        #expect(west > 0.1)
        #expect(abs(west - europe) < 1e-3)
        #expect(answer.loads.allSatisfy { $0 < 36 })
    }

    @Test(arguments: [(3, 3), (5, 8), (10, 20), (20, 50), (40, 100)])
    func `the certificate is small for random fleets at any load`(size: (Int, Int)) throws {
        for (step, load) in [0.4, 0.6, 0.75, 0.85, 0.9, 0.95].enumerated() {
            let problem = try Fleets.random(
                sources: size.0,
                clusters: size.1,
                load: load,
                seed: UInt64(size.0 * 100 + step),
                policy: sharp
            )
            let answer = Fleets.solve(problem)
            #expect(answer.residual <= DualNewton.tolerance)
            // The gap bounds the excess from above; the entropy's own bound is ε ln C.
            #expect(answer.gap <= 0.002 * Math.log(Double(size.1)) + 0.001 * answer.cost)
            for source in problem.sources.indices {
                let sum = answer.tables.premium.row(source).reduce(0) { $0 + $1.weight }
                #expect(abs(sum - 1) < 1e-12)
            }
        }
    }

    @Test func `a warm solve takes a few steps and finds what a cold one finds`() throws {
        for (sources, clusters) in [(5, 8), (20, 50), (40, 100)] {
            var problem = try Fleets.random(
                sources: sources,
                clusters: clusters,
                load: 0.85,
                seed: UInt64(sources),
                policy: sharp
            )
            var solver = Solver()
            var memory = SolverMemory()
            _ = solver.solve(problem, memory: &memory)
            for r in problem.sources.indices { problem.sources[r].demand.premium *= r % 2 == 0 ? 1.05 : 0.95 }
            let warm = solver.solve(problem, memory: &memory)
            let cold = Fleets.solve(problem)
            #expect(warm.iterations <= 8)
            #expect(abs(warm.cost - cold.cost) < 1e-3 * cold.cost)
        }
    }

    @Test func `the same problem has the same answer, to the last bit`() throws {
        let problem = try Fleets.random(sources: 7, clusters: 11, load: 0.9, seed: 3, policy: SolverPolicy())
        let first = Fleets.solve(problem)
        let second = Fleets.solve(problem)
        #expect(first.tables == second.tables)
        #expect(first.cost == second.cost)
        #expect(first.failover.map(\.tables) == second.failover.map(\.tables))
    }

    @Test func `what a solver has solved before does not show in its answers`() throws {
        var used = Solver()
        for (sources, clusters) in [(3, 3), (9, 7), (9, 6), (9, 5), (40, 60), (9, 6)] {
            let problem = try Fleets.random(
                sources: sources,
                clusters: clusters,
                load: 0.8,
                seed: UInt64(clusters),
                policy: SolverPolicy()
            )
            var memory = SolverMemory()
            let answer = used.solve(problem, memory: &memory)
            let fresh = Fleets.solve(problem)
            #expect(answer.tables == fresh.tables)
            #expect(answer.failover.map(\.tables) == fresh.failover.map(\.tables))
        }
    }
}
