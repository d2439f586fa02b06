import ArgumentParser
import FleetModel
import WeightSolver

/// How long one tick of the weight solver takes on one core.
///
/// Every tick changes each source's demand in each band by up to 5 % and each cluster's capacity by up to 1 %, so that
/// prices and step limits are at work. What is timed is the whole of `Solver.solve`: rules, Newton, rows, certificate.
struct SolverBench: ParsableCommand, Bench {
    static let name = "solver"
    static let configuration = CommandConfiguration(
        commandName: "solver",
        abstract: "The weight solver: one tick, warm and cold."
    )

    func run() { self.report() }

    func measure() -> [Figure] {
        var large = Fleet(regions: 50, sources: 50, clusters: 1000, pools: 20)
        large.tick()
        let warm = Stopwatch.median(of: 15) { large.tick() }
        var scattered = Fleet(regions: 1000, sources: 50, clusters: 1000, pools: 20)
        scattered.tick()
        let warmScattered = Stopwatch.median(of: 5) { scattered.tick() }
        let cold = Stopwatch.median(of: 5) {
            var fleet = Fleet(regions: 50, sources: 50, clusters: 1000, pools: 1)
            fleet.tick()
        }
        var failing = Fleet(regions: 50, sources: 50, clusters: 1000, pools: 1)
        failing.failover = .only([failing.clusterName(0)])
        failing.tick()
        let oneLoss = Stopwatch.median(of: 15) { failing.tick() }
        var alone = Fleet(regions: 50, sources: 50, clusters: 1000, pools: 1)
        alone.tick()
        let noLoss = Stopwatch.median(of: 15) { alone.tick() }
        var small = Fleet(regions: 10, sources: 10, clusters: 20, pools: 1)
        small.tick()
        let warmSmall = Stopwatch.median(of: 200) { small.tick() }
        small.failover = .all
        let allLosses = Stopwatch.median(of: 50) { small.tick() }
        return [
            Figure(
                figure: "warm tick, 50 sources x 1000 clusters x 20 pools x 3 bands",
                value: warm,
                unit: "ms",
                goal: 100
            ),
            Figure(figure: "warm tick, 10 sources x 20 clusters x 3 bands", value: warmSmall, unit: "ms", goal: 0.2),
            Figure(
                figure: "warm tick, 50 x 1000 x 20 x 3, every cluster in a region of its own",
                value: warmScattered,
                unit: "ms"
            ),
            Figure(figure: "N-1 rows of one cluster, 50 x 1000 x 3", value: max(oneLoss - noLoss, 0), unit: "ms"),
            Figure(figure: "warm tick with the N-1 rows of all, 10 x 20 x 3", value: allLosses, unit: "ms"),
            Figure(figure: "cold solve, 50 x 1000 x 3", value: cold, unit: "ms"),
            Figure(
                figure: "Newton steps a band, warm, 50 x 1000",
                value: Double(large.iterations) / Double(3 * 20 * large.ticks),
                unit: "steps"
            ),
        ]
    }
}

/// Pools that change a little from tick to tick.
private struct Fleet {
    private var problems: [SolverProblem]
    private var memories: [SolverMemory]
    private var solver = Solver()
    private var dice = Dice(state: 7)
    private(set) var iterations = 0
    private(set) var ticks = 0

    var failover = FailoverChoice.none

    init(regions: Int, sources: Int, clusters: Int, pools: Int) {
        let names = (0..<regions).map { RegionName(unchecked: "region-\($0)") }
        var dice = Dice(state: 42)
        let places = names.map { _ in (Double.random(in: 0...1, using: &dice), Double.random(in: 0...1, using: &dice)) }
        var roundTrips: [RegionName: [RegionName: Seconds]] = [:]
        for from in 0..<sources {
            for to in 0..<regions {
                let (dx, dy) = (places[from].0 - places[to].0, places[from].1 - places[to].1)
                roundTrips[names[from], default: [:]][names[to]] = 0.002 + 0.22 * (dx * dx + dy * dy).squareRoot()
            }
        }
        let links = SolverLinks(roundTrips: roundTrips)
        self.problems = (0..<pools).map { pool in
            let fleet = (0..<clusters).map { c in
                let capacity = Double.random(in: 5...60, using: &dice)
                return SolverCluster(
                    name: ClusterName(unchecked: "cluster-\(c)"),
                    region: names[c % regions],
                    capacity: capacity,
                    servers: Int(capacity / 5),
                    unloadedTTFT: Double.random(in: 0.05...0.3, using: &dice),
                    queueScale: Double.random(in: 0.1...0.5, using: &dice)
                )
            }
            let total = fleet.reduce(0) { $0 + ($1.capacity ?? 0) }
            let parts = (0..<sources).map { _ in Double.random(in: 0.2...3, using: &dice) }
            let unit = total / parts.reduce(0, +)
            return SolverProblem(
                pool: PoolName(namespace: "models", name: "pool-\(pool)"),
                sources: parts.indices.map { r in
                    SolverSource(
                        region: names[r],
                        demand: ByBand(
                            premium: 0.35 * unit * parts[r],
                            standard: 0.3 * unit * parts[r],
                            batch: 0.1 * unit * parts[r]
                        )
                    )
                },
                clusters: fleet,
                links: links
            )
        }
        self.memories = Array(repeating: SolverMemory(), count: pools)
    }

    func clusterName(_ place: Int) -> ClusterName { self.problems[0].clusters[place].name }

    mutating func tick() {
        self.ticks += 1
        for p in self.problems.indices {
            self.problems[p].policy.failover = self.failover
            for r in self.problems[p].sources.indices {
                for band in Band.allCases {
                    self.problems[p].sources[r].demand[band] *= Double.random(in: 0.95...1.05, using: &self.dice)
                }
            }
            for c in self.problems[p].clusters.indices {
                let capacity = self.problems[p].clusters[c].capacity ?? 1
                self.problems[p].clusters[c].capacity = capacity * Double.random(in: 0.99...1.01, using: &self.dice)
            }
            self.iterations += self.solver.solve(self.problems[p], memory: &self.memories[p]).iterations
        }
    }
}

/// SplitMix64, so that every run measures the same.
private struct Dice: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed &>> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed &>> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed &>> 31)
    }
}
