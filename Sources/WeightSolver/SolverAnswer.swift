package import FleetModel

/// A solved pool.
///
/// Arrays are by place in the problem's sources and clusters; names come back at the edges only.
package struct SolverAnswer: Sendable {
    /// The weights of the other clusters after the loss of one.
    package struct Failover: Sendable {
        /// The lost cluster's place.
        package var lost: Int
        package var tables: ByBand<WeightTable>
    }

    package let problem: SolverProblem
    /// The weights to be used.
    package internal(set) var tables = ByBand(all: WeightTable())
    /// Mean seconds a request costs: distance and delay, over what is not put off.
    package internal(set) var cost: Seconds = 0
    /// How much less any other weights could cost at most, in seconds per request; what the step limit and old
    /// digests hold back is part of it.
    package internal(set) var gap: Seconds = 0
    /// Newton steps over all bands.
    package internal(set) var iterations = 0
    /// Σ|demand − supply| at the final prices, as a part of the demand: small means that Newton converged.
    package internal(set) var residual = 0.0
    /// Requests per second that the fleet cannot carry: premium and standard to be shed, batch to be put off, and
    /// everything from sources that may go nowhere.
    package internal(set) var overflow = ByBand(all: 0.0)
    /// What one request per second more would cost the fleet, in seconds per request, by cluster; `nil` where a cluster
    /// is excluded.
    ///
    /// It grows without bound as capacity runs out: a signal to scale on.
    package internal(set) var prices: [Seconds?] = []
    /// Requests per second that the weights send to each cluster.
    package internal(set) var loads: [Double] = []
    /// By lost cluster, where asked for; losing an excluded one changes nothing and has no entry.
    package internal(set) var failover: [Failover] = []
    /// Inputs that were not numbers, in words.
    package let faults: [String]

    /// What became of each cluster before anything was solved.
    package let standings: [Standing]
    /// Where rows are on their way to, for those that are not at their target.
    var targets = ByBand(all: WeightTable())
    var outcomes = ByBand<[StepRule.Outcome]>(all: [])
    let previous: ByBand<WeightTable?>
    /// The solver's own prices and loads, by cluster's place.
    var bandPrices = ByBand<[Double]>(all: [])
    var bandLoads = ByBand<[Double]>(all: [])

    init(problem: SolverProblem, survey: Survey, previous: ByBand<WeightTable?>) {
        self.problem = problem
        self.faults = survey.faults
        self.standings = survey.standings
        self.previous = previous
    }

    /// How long a gateway may trust these weights.
    package var timeToLive: Seconds { self.problem.policy.timeToLive }

    /// Whether any row moved: a plan that did not change need not be pushed.
    package var isChanged: Bool {
        Band.allCases.contains { band in
            guard let previous = self.previous[band] else { return true }
            return self.outcomes[band].indices.contains { source in
                self.outcomes[band][source] != .kept && self.tables[band].row(source) != previous.row(source)
            }
        }
    }

    /// One weight, by names; 0 where there is none.
    package func weight(_ band: Band, from source: RegionName, to cluster: ClusterName) -> Double {
        guard let row = self.problem.sources.firstIndex(where: { $0.region == source }),
            let place = self.problem.clusters.firstIndex(where: { $0.name == cluster })
        else { return 0 }
        return self.tables[band].weight(source: row, cluster: place)
    }

    /// The rows of a plan; sources that may go nowhere have none.
    package var rows: [PlanRow] { self.rows(of: self.tables) }

    /// The N−1 rows of a plan.
    package var failoverRows: [FailoverRows] {
        self.failover.map { failover in
            FailoverRows(
                lost: self.problem.clusters[failover.lost].name,
                rows: self.rows(of: failover.tables)
            )
        }
    }

    private func rows(of tables: ByBand<WeightTable>) -> [PlanRow] {
        var rows: [PlanRow] = []
        for band in Band.allCases {
            for (place, source) in self.problem.sources.enumerated() {
                let row = tables[band].row(place)
                guard !row.isEmpty else { continue }
                var weights = ClusterShares(minimumCapacity: row.count)
                for entry in row { weights[self.problem.clusters[entry.cluster].name] = entry.weight }
                rows.append(PlanRow(source: source.region, band: band, weights: weights))
            }
        }
        return rows
    }

    mutating func keepPrices(_ band: Band, _ survey: Survey, prices: [Double], loads: [Double]) {
        var byPlace = [Double](repeating: .nan, count: survey.standings.count)
        var loadByPlace = byPlace
        for (c, place) in survey.order.enumerated() {
            byPlace[place] = prices[c]
            loadByPlace[place] = loads[c]
        }
        self.bandPrices[band] = byPlace
        self.bandLoads[band] = loadByPlace
    }

    /// Sums up: costs, prices and loads at the weights to be used.
    mutating func close(_ survey: Survey, load: [Double], certificate: Certificate) {
        self.prices = [Seconds?](repeating: nil, count: survey.standings.count)
        self.loads = [Double](repeating: 0, count: survey.standings.count)
        var delayCost = 0.0
        for (c, place) in survey.order.enumerated() {
            let point = survey.curves[c].at(load[c])
            delayCost += load[c] * point.delay
            self.prices[place] = point.marginal
            self.loads[place] = load[c]
        }
        guard certificate.admitted > 0 else { return }
        self.cost = (certificate.distanceCost + delayCost) / certificate.admitted
        self.gap = max(certificate.gap, 0) / certificate.admitted
    }
}
