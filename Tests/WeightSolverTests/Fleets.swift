import FleetModel
import TestKit

@testable import WeightSolver

/// Fleets to try the solver on.
enum Fleets {
    /// As in the study behind the design: clusters of 5 to 60 requests per second at random places, the demand of the
    /// sources log-normal, everything in one band.
    static func random(
        sources: Int,
        clusters: Int,
        load: Double,
        seed: UInt64,
        band: Band = .premium,
        policy: SolverPolicy
    ) throws -> SolverProblem {
        var dice = SeededGenerator(seed: seed)
        let sites = max(sources, clusters)
        let places = (0..<sites).map { _ in
            (Double.random(in: 0...1, using: &dice), Double.random(in: 0...1, using: &dice))
        }
        let fleet = (0..<clusters).map { c in
            let capacity = Double.random(in: 5...60, using: &dice)
            return SolverCluster(
                name: ClusterName(unchecked: "c\(c)"),
                region: RegionName(unchecked: "r\(c)"),
                capacity: capacity,
                servers: Int(max(1, (capacity / 5).rounded())),
                unloadedTTFT: Double.random(in: 0.05...0.3, using: &dice),
                queueScale: Double.random(in: 0.1...0.5, using: &dice)
            )
        }
        var rates = (0..<sources).map { _ in
            Math.exp(0.8 * (0..<12).reduce(-6.0) { sum, _ in sum + Double.random(in: 0...1, using: &dice) })
        }
        let scale = load * fleet.reduce(0) { $0 + ($1.capacity ?? 0) } / rates.reduce(0, +)
        for r in rates.indices { rates[r] *= scale }
        var roundTrips: [RegionName: [RegionName: Seconds]] = [:]
        for r in 0..<sources {
            for c in 0..<clusters {
                let (dx, dy) = (places[r].0 - places[c].0, places[r].1 - places[c].1)
                roundTrips[RegionName(unchecked: "r\(r)"), default: [:]][RegionName(unchecked: "r\(c)")] =
                    0.002 + 0.22 * (dx * dx + dy * dy).squareRoot()
            }
        }
        return SolverProblem(
            pool: try PoolName.llama,
            sources: rates.enumerated().map { r, rate in
                var demand = ByBand(all: 0.0)
                demand[band] = rate
                return SolverSource(region: RegionName(unchecked: "r\(r)"), demand: demand)
            },
            clusters: fleet,
            links: SolverLinks(roundTrips: roundTrips),
            policy: policy
        )
    }

    /// Three regions with a cluster each of 40 requests per second, 80 ms apart.
    static func three(
        premium: [Double] = [20, 20, 20],
        standard: [Double] = [0, 0, 0],
        batch: [Double] = [0, 0, 0],
        policy: SolverPolicy = SolverPolicy()
    ) throws -> SolverProblem {
        let regions = ["us-east", "us-west", "eu-west"].map { RegionName(unchecked: $0) }
        var roundTrips: [RegionName: [RegionName: Seconds]] = [:]
        for from in regions {
            for to in regions { roundTrips[from, default: [:]][to] = from == to ? 0.001 : 0.080 }
        }
        return SolverProblem(
            pool: try PoolName.llama,
            sources: regions.indices.map {
                SolverSource(
                    region: regions[$0],
                    demand: ByBand(premium: premium[$0], standard: standard[$0], batch: batch[$0])
                )
            },
            clusters: zip(["east", "west", "europe"], regions).map { name, region in
                SolverCluster(
                    name: ClusterName(unchecked: name),
                    region: region,
                    capacity: 40,
                    servers: 8,
                    unloadedTTFT: 0.1,
                    queueScale: 0.2
                )
            },
            links: SolverLinks(roundTrips: roundTrips),
            policy: policy
        )
    }

    /// The fleet of ``three`` solved for this moment, from no memory.
    static func solve(_ problem: SolverProblem) -> SolverAnswer {
        var solver = Solver()
        var memory = SolverMemory()
        return solver.solve(problem, memory: &memory)
    }
}

extension PoolName {
    static var llama: PoolName { get throws { try PoolName("models/llama") } }
}

extension SolverAnswer {
    func weight(_ band: Band = .premium, _ source: String, _ cluster: String) -> Double {
        self.weight(band, from: RegionName(unchecked: source), to: ClusterName(unchecked: cluster))
    }
}
