import FleetModel
import Testing

@testable import WeightSolver

/// Three regions with a cluster each; what the rules make of their weights.
struct RuleTests {
    private let east = ClusterName(unchecked: "east")

    private func solve(_ problem: SolverProblem, _ memory: inout SolverMemory) -> SolverAnswer {
        var solver = Solver()
        return solver.solve(problem, memory: &memory)
    }

    private func sum(_ answer: SolverAnswer, _ band: Band = .premium, _ source: Int = 0) -> Double {
        answer.tables[band].row(source).reduce(0) { $0 + $1.weight }
    }

    @Test func `weights move by at most ten points a tick, and arrive`() throws {
        var memory = SolverMemory()
        var before = self.solve(try Fleets.three(), &memory).weight(.premium, "us-east", "east")
        var ticks = 0
        for _ in 0..<30 {
            let answer = self.solve(try Fleets.three(premium: [38, 10, 10]), &memory)
            let weight = answer.weight(.premium, "us-east", "east")
            #expect(before - weight <= 0.1 + 1e-9)
            #expect(abs(self.sum(answer) - 1) < 1e-9)
            before = weight
            ticks += 1
            if !answer.isChanged { break }
        }
        let target = Fleets.solve(try Fleets.three(premium: [38, 10, 10])).weight(.premium, "us-east", "east")
        #expect(abs(before - target) <= 0.005)
        #expect((5..<20).contains(ticks))
    }

    @Test
    func `a cluster that goes down loses its weight at once, and the others take it in their targets' proportion`()
        throws
    {
        var memory = SolverMemory()
        _ = self.solve(try Fleets.three(), &memory)
        for state in [ClusterState.down, .draining] {
            var copy = memory
            var problem = try Fleets.three()
            problem.clusters[0].state = state
            let answer = self.solve(problem, &copy)
            #expect(answer.weight(.premium, "us-east", "east") == 0)
            #expect(answer.weight(.premium, "us-west", "east") == 0)
            #expect(abs(self.sum(answer) - 1) < 1e-9)
            #expect(answer.prices[0] == nil)
            let kind: SolverReason.Kind = state == .down ? .down : .drain
            #expect(answer.reasons(.premium, source: 0, cluster: 0).map(\.kind) == [kind])
        }
    }

    @Test func `a cluster that is gone from the problem is gone from the weights at once`() throws {
        var memory = SolverMemory()
        _ = self.solve(try Fleets.three(), &memory)
        var problem = try Fleets.three()
        problem.clusters.removeFirst()
        let answer = self.solve(problem, &memory)
        #expect(abs(self.sum(answer) - 1) < 1e-9)
        #expect(answer.tables.premium.row(0).allSatisfy { $0.cluster < 2 })
    }

    @Test func `an overloaded cluster loses weight without a step limit`() throws {
        var memory = SolverMemory()
        _ = self.solve(try Fleets.three(), &memory)
        let answer = self.solve(try Fleets.three(premium: [60, 10, 10]), &memory)
        // 60/s on a cluster of 40/s is past full load only as long as the weights in force stand.
        #expect(answer.weight(.premium, "us-east", "east") < 0.7)
    }

    @Test func `a row that would hardly move stays to the last bit`() throws {
        var memory = SolverMemory()
        let first = self.solve(try Fleets.three(premium: [10, 10, 10]), &memory)
        let second = self.solve(try Fleets.three(premium: [10.01, 10, 10]), &memory)
        #expect(first.tables == second.tables)
        #expect(!second.isChanged)
        #expect(second.reasons(.premium, source: 0, cluster: 0).contains { $0.kind == .deadBand })
    }

    @Test func `every allowed cluster keeps its floor, and of very many the nearest do`() throws {
        let answer = Fleets.solve(try Fleets.three())
        for cluster in ["west", "europe"] {
            #expect(answer.weight(.premium, "us-east", cluster) >= 0.005 - 1e-9)
            #expect(answer.weight(.premium, "us-east", cluster) < 0.006)
        }
        let many = Fleets.solve(
            try Fleets.random(sources: 2, clusters: 60, load: 0.5, seed: 1, policy: SolverPolicy())
        )
        for source in 0..<2 {
            #expect(many.tables.premium.row(source).filter { $0.weight >= 0.005 }.count >= 20)
        }
    }

    @Test(arguments: [0.0, 0.1, 0.3])
    func `no more than the remote share leaves the region, and the plan is the best of those that obey`(
        limit: Double
    )
        throws
    {
        var policy = SolverPolicy()
        policy.maxRemoteShare = ByBand(all: limit)
        let answer = Fleets.solve(try Fleets.three(premium: [50, 10, 10], policy: policy))
        #expect(1 - answer.weight(.premium, "us-east", "east") <= limit + 1e-6)
        #expect(answer.gap < 0.02 * answer.cost)
        #expect(answer.residual <= DualNewton.tolerance)
    }

    @Test func `the step rule's scaling equals the direct formula for the remote share`() throws {
        // Prices apart, a limited row is the free row with its remote weights scaled by s(1 − S)/(S(1 − s)).
        var policy = SolverPolicy().unlimited
        policy.epsilon = ByBand(all: 0.05)
        // So little demand that prices do not move.
        let free = Fleets.solve(try Fleets.three(premium: [0.01, 0.01, 0.01], policy: policy))
        policy.maxRemoteShare = ByBand(all: 0.1)
        let limited = Fleets.solve(try Fleets.three(premium: [0.01, 0.01, 0.01], policy: policy))
        let share = 1 - free.weight(.premium, "us-east", "east")
        #expect(share > 0.1)
        let factor = 0.1 * (1 - share) / (share * (1 - 0.1))
        let west = free.weight(.premium, "us-east", "west") * factor
        let east = free.weight(.premium, "us-east", "east")
        let expected = west / (east + 2 * west)
        #expect(abs(limited.weight(.premium, "us-east", "west") - expected) < 1e-3)
    }

    @Test func `residency keeps requests at home, whatever it costs`() throws {
        var problem = try Fleets.three(premium: [5, 5, 60])
        let europe = RegionName(unchecked: "eu-west")
        problem.residency = [europe: [europe]]
        let answer = Fleets.solve(problem)
        #expect(answer.weight(.premium, "eu-west", "europe") == 1)
        #expect(answer.weight(.premium, "us-east", "europe") < 0.01)
        #expect(answer.reasons(.premium, source: 2, cluster: 0).map(\.kind) == [.residency])

        problem.clusters[2].state = .down
        let stranded = Fleets.solve(problem)
        #expect(stranded.tables.premium.row(2).isEmpty)
        #expect(stranded.overflow.premium == 60)
        #expect(stranded.rows.allSatisfy { $0.source != europe })
    }

    @Test func `a full cache takes nothing new from other regions`() throws {
        var problem = try Fleets.three(premium: [60, 5, 5])
        problem.clusters[1].kvUse = 0.95
        let answer = Fleets.solve(problem)
        #expect(answer.weight(.premium, "us-east", "west") == 0)
        #expect(answer.weight(.premium, "us-west", "west") > 0.9)
        #expect(answer.weight(.premium, "us-east", "europe") > 0.2)
        #expect(answer.reasons(.premium, source: 0, cluster: 1).map(\.kind) == [.kvCache])
    }

    @Test func `egress has its price`() throws {
        var problem = try Fleets.three(premium: [60, 5, 5])
        let regions = problem.sources.map(\.region)
        var trips: [RegionName: [RegionName: Seconds]] = [:]
        for from in regions { for to in regions { trips[from, default: [:]][to] = from == to ? 0.001 : 0.08 } }
        problem.links = SolverLinks(roundTrips: trips, egress: [regions[0]: [regions[1]: 2]])
        problem.policy.egressPrice = 0.05
        let answer = Fleets.solve(problem)
        #expect(answer.weight(.premium, "us-east", "europe") > 1.5 * answer.weight(.premium, "us-east", "west"))
        let distance = answer.reasons(.premium, source: 0, cluster: 1).first { $0.kind == .distance }
        #expect(distance?.numbers["egress"] == 0.1)
    }

    @Test func `old digests hold weights, then take capacity, then the cluster`() throws {
        var memory = SolverMemory()
        _ = self.solve(try Fleets.three(), &memory)
        var problem = try Fleets.three(premium: [60, 10, 10])
        problem.clusters[1].digestAge = 8
        var held = memory
        let first = self.solve(problem, &held)
        #expect(first.weight(.premium, "us-east", "west") <= 0.005 + 1e-6)
        #expect(abs(self.sum(first) - 1) < 1e-9)

        problem.clusters[1].digestAge = 60
        let decayed = Fleets.solve(problem)
        #expect(abs(decayed.standings[1].capacity - 40 * Math.exp(-1)) < 1e-9)

        problem.clusters[1].digestAge = 121
        let lost = Fleets.solve(problem)
        #expect(lost.weight(.premium, "us-west", "west") == 0)
        #expect(lost.reasons(.premium, source: 1, cluster: 1).map(\.kind) == [.staleness])
    }

    @Test func `the loss of one cluster does not send its requests to one with an old digest`() throws {
        var problem = try Fleets.three()
        problem.clusters[1].digestAge = 8
        let answer = Fleets.solve(problem)
        let without = try #require(answer.failover.first { $0.lost == 0 })
        #expect(without.tables.premium.weight(source: 0, cluster: 2) > 0.98)
    }

    @Test func `when every digest is old everything stays as it was`() throws {
        var memory = SolverMemory()
        let first = self.solve(try Fleets.three(premium: [30, 30, 30]), &memory)
        var problem = try Fleets.three(premium: [60, 10, 10])
        for c in problem.clusters.indices { problem.clusters[c].digestAge = 20 }
        let second = self.solve(problem, &memory)
        for source in 0..<3 {
            for (a, b) in zip(first.tables.premium.row(source), second.tables.premium.row(source)) {
                #expect(abs(a.weight - b.weight) < 1e-9)
            }
        }
    }

    @Test func `batch fills clusters to its cap and the rest is put off`() throws {
        var policy = SolverPolicy()
        policy.floor = ByBand(all: 0)
        let answer = Fleets.solve(try Fleets.three(premium: [10, 10, 10], batch: [60, 20, 0], policy: policy))
        for load in answer.loads { #expect(load <= 0.7 * 40 + 0.05) }
        #expect(abs(answer.overflow.batch - (110 - 3 * 28)) < 0.2)
        #expect(answer.residual <= DualNewton.tolerance)
        #expect(answer.gap < 0.025 * Math.log(3))

        let little = Fleets.solve(try Fleets.three(premium: [10, 10, 10], batch: [5, 5, 5]))
        #expect(little.overflow.batch < 1e-9)
    }

    @Test func `overload puts off batch first, then sheds standard, and premium last`() throws {
        let some = Fleets.solve(try Fleets.three(premium: [20, 20, 20], standard: [10, 10, 10], batch: [9, 9, 9]))
        #expect(some.overflow.batch > 15)
        #expect(some.overflow.standard == 0)
        let more = Fleets.solve(try Fleets.three(premium: [20, 20, 20], standard: [30, 30, 30], batch: [9, 9, 9]))
        #expect(abs(more.overflow.batch - 27) < 0.1)
        #expect(more.overflow.standard >= 150 - 0.97 * 120 - 1e-9)
        #expect(more.overflow.premium == 0)
        let most = Fleets.solve(try Fleets.three(premium: [50, 50, 50], standard: [30, 30, 30]))
        #expect(most.overflow.standard == 90)
        #expect(abs(most.overflow.premium - (150 - 0.97 * 120)) < 1e-9)
        #expect((most.prices[0] ?? 0) > 10 * (some.prices[0] ?? 0))
        #expect(abs(self.sum(most) - 1) < 1e-9)
    }

    @Test func `a lower band stands on the load that the higher ones place`() throws {
        let answer = Fleets.solve(try Fleets.three(premium: [18, 5, 5], standard: [15, 0, 0]))
        #expect(answer.weight(.premium, "us-east", "east") > 0.8)
        #expect(answer.weight(.standard, "us-east", "east") < 0.7)
    }

    @Test func `for every cluster there are rows without it, and they sum to one`() throws {
        let answer = Fleets.solve(try Fleets.three(premium: [20, 20, 20], standard: [5, 5, 5]))
        #expect(answer.failover.map(\.lost) == [0, 1, 2])
        for rows in answer.failoverRows {
            for row in rows.rows {
                #expect(row.weights[rows.lost] == nil)
                #expect(abs(row.weights.map(\.weight).reduce(0, +) - 1) < 1e-9)
            }
        }
        // Without east its 20/s go to both others alike: no herd.
        let west = answer.failover[0].tables.premium.weight(source: 0, cluster: 1)
        #expect(abs(west - 0.5) < 0.01)

        var policy = SolverPolicy()
        policy.failover = .only([self.east])
        #expect(Fleets.solve(try Fleets.three(policy: policy)).failover.map(\.lost) == [0])
    }

    @Test func `a plan from the store is where steps begin after a restart`() throws {
        var memory = SolverMemory()
        let before = self.solve(try Fleets.three(), &memory)
        var restored = SolverMemory(rows: before.rows)
        let after = self.solve(try Fleets.three(premium: [55, 15, 15]), &restored)
        let straight = self.solve(try Fleets.three(premium: [55, 15, 15]), &memory)
        #expect(abs(after.weight(.premium, "us-east", "east") - straight.weight(.premium, "us-east", "east")) < 1e-3)
    }

    @Test func `a weight says why it is what it is`() throws {
        var memory = SolverMemory()
        _ = self.solve(try Fleets.three(), &memory)
        let answer = self.solve(try Fleets.three(premium: [39, 10, 10]), &memory)
        let reasons = answer.reasons(.premium, source: 0, cluster: 0)
        #expect(reasons.map(\.kind).starts(with: [.price, .distance, .capacity]))
        for reason in reasons { #expect(!reason.description.contains("e-")) }
    }
}
