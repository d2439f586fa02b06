import FleetModel
import Testing

@testable import WeightSolver

@Suite("Questions")
struct QuestionTests {
    private static func rows(_ answer: SolverAnswer) -> [PlanRow] { answer.rows + answer.failoverRows.flatMap(\.rows) }

    @Test("a question that was kept is answered with the same weights to the last bit, tick after tick")
    func replay() throws {
        var problem = try Fleets.random(sources: 6, clusters: 8, load: 0.8, seed: 7, policy: SolverPolicy())
        var solver = Solver()
        var memory = SolverMemory()
        for tick in 0..<4 {
            problem.clusters[tick].state = tick == 2 ? .draining : .active
            problem.sources[tick].demand[.premium] *= 1.5
            let kept = SolverQuestion(problem: problem, memory: memory).bytes
            let answer = solver.solve(problem, memory: &memory)
            let again = try SolverQuestion(bytes: kept).answer()
            #expect(Self.rows(again) == Self.rows(answer))
            #expect(again.prices == answer.prices && again.cost == answer.cost && again.gap == answer.gap)
            #expect(try SolverQuestion(bytes: kept).bytes == kept)
        }
        // What is remembered counts: without it the first step is not limited.
        let cold = SolverQuestion(problem: problem, memory: SolverMemory()).answer()
        problem.sources[0].demand[.premium] *= 4
        let warm = SolverQuestion(problem: problem, memory: memory).answer()
        #expect(Self.rows(cold) != Self.rows(warm))
    }

    @Test("every setting and every rule comes back")
    func everything() throws {
        var problem = try Fleets.three()
        let east = problem.sources[0].region
        problem.links = SolverLinks(roundTrips: [east: [east: .infinity]], egress: [east: [east: 0.25]])
        problem.residency = [east: [east], problem.sources[1].region: []]
        problem.outputTokens = 128
        problem.clusters[0].capacity = nil
        problem.clusters[1].kvUse = .nan
        problem.policy.stepLimit = nil
        problem.policy.failover = .only([problem.clusters[0].name])
        // Each number is another one, so that two that change places are noticed.
        problem.policy.floorBudget = 0.01
        problem.policy.deadBand = 0.02
        problem.policy.batchCap = 0.03
        problem.policy.overflowPrice = 0.04
        problem.policy.timeToLive = 0.05
        problem.policy.epsilon = ByBand(premium: 1, standard: 2, batch: 3)
        let read = try SolverQuestion(bytes: SolverQuestion(problem: problem, memory: SolverMemory()).bytes).problem
        #expect(read.policy == problem.policy)
        #expect(read.residency == problem.residency && read.outputTokens == 128 && read.pool == problem.pool)
        #expect(read.sources == problem.sources)
        #expect(read.clusters[0] == problem.clusters[0] && read.clusters[1].kvUse?.isNaN == true)
        #expect(read.links.roundTrip(from: 0, to: 0) == .infinity && read.links.egress(from: 0, to: 0) == 0.25)
        #expect(Mirror(reflecting: SolverPolicy()).children.count == 23, "a new setting is not yet written")
    }

    @Test("what is cut or damaged is refused, never a trap")
    func damaged() throws {
        let bytes = SolverQuestion(problem: try Fleets.three(), memory: SolverMemory()).bytes
        for length in 0..<bytes.count {
            #expect(throws: SolverQuestion.Unreadable.self) { try SolverQuestion(bytes: Array(bytes[..<length])) }
        }
        for place in bytes.indices {
            var other = bytes
            other[place] ^= 0xFF
            _ = try? SolverQuestion(bytes: other)
        }
    }
}
