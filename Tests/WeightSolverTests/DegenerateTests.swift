import FleetModel
import TestKit
import Testing

@testable import WeightSolver

/// Problems at the edge of sense, each with its answer.
struct DegenerateTests {
    private func isSane(_ answer: SolverAnswer) -> Bool {
        let rows = Band.allCases.flatMap { band in
            answer.problem.sources.indices.map { answer.tables[band].row($0) }
        }
        return answer.cost.isFinite && answer.gap.isFinite && answer.gap >= 0
            && rows.allSatisfy { row in
                row.isEmpty || abs(row.reduce(0) { $0 + $1.weight } - 1) < 1e-9 && row.allSatisfy { $0.weight > 0 }
            }
    }

    @Test func `without clusters there are no rows and everything is overflow`() throws {
        var problem = try Fleets.three(premium: [1, 2, 3], batch: [4, 0, 0])
        problem.clusters = []
        let answer = Fleets.solve(problem)
        #expect(answer.rows.isEmpty)
        #expect(answer.overflow.premium == 6)
        #expect(answer.overflow.batch == 4)
        #expect(self.isSane(answer))
    }

    @Test func `with all clusters down it is the same`() throws {
        var problem = try Fleets.three()
        for c in problem.clusters.indices { problem.clusters[c].state = .down }
        let answer = Fleets.solve(problem)
        #expect(answer.rows.isEmpty)
        #expect(answer.overflow.premium == 60)
        #expect(answer.prices == [nil, nil, nil])
    }

    @Test func `without sources there is nothing to say`() throws {
        var problem = try Fleets.three()
        problem.sources = []
        #expect(Fleets.solve(problem).rows.isEmpty)
    }

    @Test func `without demand the rows say where a request would best go`() throws {
        let answer = Fleets.solve(try Fleets.three(premium: [0, 0, 0]))
        #expect(self.isSane(answer))
        #expect(answer.weight(.premium, "us-east", "east") > 0.98)
        #expect(answer.weight(.batch, "us-east", "east") > 0.5)
        #expect(answer.cost == 0)
    }

    @Test func `one source and one cluster go together`() throws {
        var problem = try Fleets.three()
        problem.sources.removeLast(2)
        problem.clusters.removeFirst(2)
        let answer = Fleets.solve(problem)
        #expect(answer.weight(.premium, "us-east", "europe") == 1)
        #expect(answer.failover.first?.tables.premium.row(0).isEmpty == true)
    }

    @Test func `no capacity is no cluster, and unknown capacity is that of the slowest known`() throws {
        var problem = try Fleets.three()
        problem.clusters[0].capacity = 0
        problem.clusters[1].capacity = nil
        let answer = Fleets.solve(problem)
        #expect(answer.weight(.premium, "us-east", "east") == 0)
        #expect(answer.standings[0].exclusion == .noCapacity)
        #expect(answer.standings[1].capacity == 40)
        #expect(answer.standings[1].isCapacityAssumed)
        #expect(answer.faults.isEmpty)

        for c in problem.clusters.indices { problem.clusters[c].capacity = nil }
        let blind = Fleets.solve(problem)
        #expect(self.isSane(blind))
        #expect(abs(blind.standings[0].capacity - 60 / 0.7 / 3) < 1e-9)
    }

    @Test func `what is not a number is unknown, and said to be`() throws {
        var problem = try Fleets.three()
        problem.sources[0].demand.premium = .nan
        problem.sources[1].demand.batch = -5
        problem.clusters[0].capacity = .nan
        problem.clusters[1].capacity = .infinity
        problem.clusters[1].queueScale = .nan
        problem.clusters[2].unloadedTTFT = .nan
        problem.clusters[2].kvUse = .nan
        problem.outputTokens = .nan
        let answer = Fleets.solve(problem)
        #expect(self.isSane(answer))
        #expect(answer.faults.count == 4)
        problem.clusters[0].digestAge = .nan
        #expect(Fleets.solve(problem).standings[0].exclusion == .lost)
    }

    @Test func `a region nobody has measured is far, and one that cannot be reached is out`() throws {
        var problem = try Fleets.three(premium: [60, 5, 5])
        let regions = problem.sources.map(\.region)
        problem.links = SolverLinks(roundTrips: [regions[0]: [regions[1]: .infinity]])
        let answer = Fleets.solve(problem)
        #expect(answer.weight(.premium, "us-east", "west") == 0)
        #expect(answer.weight(.premium, "us-east", "europe") > 0.1)
        #expect(answer.reasons(.premium, source: 0, cluster: 1).map(\.kind) == [.unreachable])
    }

    @Test(arguments: 0..<60)
    func `whatever is asked, rows sum to one and the answer is finite`(seed: UInt64) throws {
        var dice = SeededGenerator(seed: seed)
        var policy = SolverPolicy()
        policy.maxRemoteShare = ByBand(all: [0, 0.3, 1].randomElement(using: &dice) ?? 1)
        policy.epsilon = ByBand(all: [0.0005, 0.005, 0.1].randomElement(using: &dice) ?? 1)
        var problem = try Fleets.random(
            sources: Int.random(in: 1...6, using: &dice),
            clusters: Int.random(in: 1...9, using: &dice),
            load: Double.random(in: 0...3, using: &dice),
            seed: seed,
            policy: policy
        )
        for r in problem.sources.indices {
            for band in Band.allCases where Bool.random(using: &dice) {
                problem.sources[r].demand[band] = Double.random(in: 0...80, using: &dice)
            }
        }
        let odd: [Double?] = [nil, 0, -1, .nan, .infinity, 1e-9, 1e9, 0.5]
        var memory = SolverMemory()
        var solver = Solver()
        for _ in 0..<4 {
            for c in problem.clusters.indices {
                if Int.random(in: 0..<4, using: &dice) == 0 {
                    problem.clusters[c].capacity = odd.randomElement(using: &dice) ?? nil
                }
                if Int.random(in: 0..<6, using: &dice) == 0 {
                    problem.clusters[c].queueScale = odd.randomElement(using: &dice) ?? nil
                }
                problem.clusters[c].digestAge = [0, 0, 0, 7, 40, 400].randomElement(using: &dice) ?? 0
                problem.clusters[c].kvUse = [nil, 0.5, 0.95].randomElement(using: &dice) ?? nil
                problem.clusters[c].state =
                    [.active, .active, .active, .draining, .down]
                    .randomElement(using: &dice) ?? .active
            }
            let answer = solver.solve(problem, memory: &memory)
            #expect(self.isSane(answer))
            for source in problem.sources.indices {
                for cluster in problem.clusters.indices {
                    for band in Band.allCases { _ = answer.reasons(band, source: source, cluster: cluster) }
                }
            }
        }
    }
}
