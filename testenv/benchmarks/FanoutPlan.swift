import FleetModel

/// Plans of a fleet of many regions, each of which sends its requests to a few of many clusters.
struct FanoutPlans {
    /// What a new generation changes.
    enum Change: String {
        /// A cluster gives its place to another one: every gateway needs the body.
        case body
        /// What a tick brings: a new frame of every cluster, and weights that moved in every region.
        case tick
    }

    let regions: Int
    let clusters: Int
    private(set) var plan: Plan

    static func region(_ number: Int) -> RegionName { RegionName(unchecked: "region-\(number)") }

    init(regions: Int, clusters: Int) {
        self.regions = regions
        self.clusters = clusters
        let pool = PoolName(namespace: "default", name: "llama")
        self.plan = Plan(
            version: PlanVersion(epoch: 1, generation: 0),
            parent: nil,
            timeToLive: 60,
            pools: [PoolPlan(pool: pool, clusters: [], rows: [], failover: [], cost: 0.15, gap: 0.001)]
        )
        self.plan.pools[0].clusters = (0..<clusters).map { number in
            let name = ClusterName(unchecked: "cluster-\(number)-a")
            return PlanCluster(
                name: name,
                region: Self.region(number % regions),
                state: .active,
                capacity: 5.25,
                unloadedTTFT: 0.15,
                waiting: 3,
                freeSeats: 8,
                frame: FrameID(cluster: name, incarnation: 7, sequence: 1_000),
                price: 0.25
            )
        }
        self.makeRows()
    }

    mutating func next(_ change: Change) -> Plan {
        self.plan.parent = self.plan.version
        self.plan.version.generation += 1
        let generation = Int(self.plan.version.generation)
        if change == .body {
            self.plan.pools[0].clusters[0].name = ClusterName(unchecked: "cluster-0-\(generation % 2 == 0 ? "a" : "b")")
        }
        for place in self.plan.pools[0].clusters.indices {
            self.plan.pools[0].clusters[place].frame.sequence += 1
            self.plan.pools[0].clusters[place].waiting = (generation + place) % 10
        }
        self.makeRows()
        return self.plan
    }

    /// Three bands of each region over four clusters, and the rows for the loss of the two that have most.
    private mutating func makeRows() {
        let names = self.plan.pools[0].clusters.map(\.name)
        let drift = Double(self.plan.version.generation % 10) / 1_000
        func rows(of region: Int, without lost: Int?) -> [PlanRow] {
            Band.allCases.map { band in
                var weights = ClusterShares()
                for (step, share) in [0.7 - drift, 0.2 + drift, 0.06, 0.04].enumerated() where step != lost {
                    weights[names[(region + 7 * step) % names.count]] = share
                }
                return PlanRow(source: Self.region(region), band: band, weights: weights)
            }
        }
        self.plan.pools[0].rows = (0..<self.regions).flatMap { rows(of: $0, without: nil) }
        self.plan.pools[0].failover = names.indices.map { lost in
            FailoverRows(
                lost: names[lost],
                rows: (0..<self.regions).flatMap { region -> [PlanRow] in
                    let step = (0..<4).first { (region + 7 * $0) % names.count == lost }
                    return rows(of: region, without: step)
                }
            )
        }
    }
}
