import FleetModel

/// Why a cluster gets nothing at all.
package enum Exclusion: String, Hashable, Sendable {
    case down, draining
    /// Its digest is too old.
    case lost
    /// It says that it can finish nothing.
    case noCapacity
}

/// What the solver makes of one cluster's state before it looks at any source.
package struct Standing: Hashable, Sendable {
    package var exclusion: Exclusion?
    /// μ as it is used, in requests per second.
    package var capacity = 0.0
    /// Whether nobody knew the capacity.
    package var isCapacityAssumed = false
    /// The part of its capacity that an old digest is still believed for.
    package var trust = 1.0
    /// Whether its digest is too old for its weights to grow.
    package var isHeld = false
    /// Whether its KV cache is too full for requests from other regions.
    package var isLocalOnly = false
    /// Where the cluster is among the columns; `nil` when it is excluded.
    var column: Int?
}

/// A problem made ready to be solved: names become places in arrays, and nothing in it is undefined any more.
///
/// Distances lie between regions, so that the usable clusters of one region are equally far from any source: they form
/// a *site* (two, when some of them are closed to other regions). Columns are the usable clusters, site by site. A
/// fleet of a thousand clusters in fifty regions has fifty sites, and the solver's work goes with sites, not clusters.
struct Survey: Sendable {
    var standings: [Standing]
    /// The cluster behind each column.
    var order: [Int] = []
    /// The first column of each site, and the count of columns at the end.
    var siteStart: [Int] = [0]
    /// By column.
    var curves: [DelayCurve] = []
    /// The sites of each source's own region.
    var localSites: [Range<Int>] = []
    /// Source × site, in seconds; infinite where there is no way.
    var distance: [Double] = []
    /// The sites in the order of their distance, source after source.
    var nearest: [Int] = []
    /// Requests per second by source.
    var demand: ByBand<[Double]>
    /// What was not a number where one is needed, in words.
    var faults: [String] = []

    var sourceCount: Int { self.localSites.count }
    var siteCount: Int { self.siteStart.count - 1 }
    var columnCount: Int { self.order.count }

    /// Reads a problem; the cluster at `lost` is taken for down.
    init(_ problem: SolverProblem, lost: Int? = nil) {
        var faults: [String] = []
        self.demand = Self.demand(of: problem, faults: &faults)
        self.standings = Self.standings(of: problem, demand: self.demand, faults: &faults)
        if let lost { self.standings[lost].exclusion = .down }
        self.faults = faults
        self.makeSites(problem)
        self.makeCurves(problem)
    }

    private static func demand(of problem: SolverProblem, faults: inout [String]) -> ByBand<[Double]> {
        var demand = ByBand(all: [Double](repeating: 0, count: problem.sources.count))
        for band in Band.allCases {
            for (row, source) in problem.sources.enumerated() {
                let rate = source.demand[band]
                if rate.isFinite, rate >= 0 {
                    demand[band][row] = rate
                } else {
                    faults.append("demand of \(source.region), \(band): \(rate) is not a rate, taken as 0")
                }
            }
        }
        return demand
    }

    private static func standings(
        of problem: SolverProblem,
        demand: ByBand<[Double]>,
        faults: inout [String]
    ) -> [Standing] {
        let policy = problem.policy
        var standings = problem.clusters.map { cluster in
            var standing = Standing()
            let age = cluster.digestAge
            switch cluster.state {
            case .down: standing.exclusion = .down
            case .draining: standing.exclusion = .draining
            case .active: if !(age <= policy.lostAfter) { standing.exclusion = .lost }
            }
            standing.isHeld = age > policy.staleAfter
            if age > policy.decayAfter {
                standing.trust = Math.exp(-(age - policy.decayAfter) / max(policy.decayTime, 1e-3))
            }
            if let use = cluster.kvUse, use > policy.kvLimit { standing.isLocalOnly = true }
            return standing
        }

        var leastPerServer = Double.infinity
        for (place, cluster) in problem.clusters.enumerated() {
            guard let capacity = cluster.capacity else { continue }
            guard capacity.isFinite else {
                faults.append("capacity of \(cluster.name): \(capacity) is not a rate, taken as unknown")
                continue
            }
            if capacity < 0 { faults.append("capacity of \(cluster.name): \(capacity) is below zero, taken as 0") }
            standings[place].capacity = max(capacity, 0)
            if capacity > 0 {
                leastPerServer = min(leastPerServer, capacity / Double(max(cluster.servers, 1)))
            } else if standings[place].exclusion == nil {
                standings[place].exclusion = .noCapacity
            }
        }
        if leastPerServer == .infinity {
            let servers = problem.clusters.reduce(0) { $0 + Double(max($1.servers, 1)) }
            let total = Band.allCases.reduce(0) { $0 + demand[$1].reduce(0, +) }
            leastPerServer = max(total / (0.7 * max(servers, 1)), 1e-3)
        }
        for (place, cluster) in problem.clusters.enumerated() {
            if cluster.capacity?.isFinite != true {
                standings[place].isCapacityAssumed = true
                standings[place].capacity = leastPerServer * Double(max(cluster.servers, 1))
            }
            standings[place].capacity *= standings[place].trust
        }
        return standings
    }

    /// Sorts the usable clusters into sites, and measures the way from every source to every site.
    private mutating func makeSites(_ problem: SolverProblem) {
        var regionNumbers: [RegionName: Int] = [:]
        var regions: [RegionName] = []
        var keys = [Int](repeating: -1, count: problem.clusters.count)
        for (place, cluster) in problem.clusters.enumerated() where self.standings[place].exclusion == nil {
            let number = regionNumbers[cluster.region] ?? regions.count
            if number == regions.count {
                regionNumbers[cluster.region] = number
                regions.append(cluster.region)
            }
            keys[place] = 2 * number + (self.standings[place].isLocalOnly ? 1 : 0)
        }
        var counts = [Int](repeating: 0, count: 2 * regions.count)
        for key in keys where key >= 0 { counts[key] += 1 }

        // The sites are the keys that occur; `starts` is where the next cluster of a key goes.
        var siteOfKey = [Int](repeating: 0, count: counts.count + 1)
        var starts = [Int](repeating: 0, count: counts.count)
        var keyOfSite: [Int] = []
        self.siteStart = [0]
        for (key, count) in counts.enumerated() {
            siteOfKey[key] = keyOfSite.count
            starts[key] = self.siteStart[keyOfSite.count]
            guard count > 0 else { continue }
            keyOfSite.append(key)
            self.siteStart.append(starts[key] + count)
        }
        siteOfKey[counts.count] = keyOfSite.count
        self.order = [Int](repeating: 0, count: self.siteStart[keyOfSite.count])
        for (place, key) in keys.enumerated() where key >= 0 {
            self.order[starts[key]] = place
            self.standings[place].column = starts[key]
            starts[key] += 1
        }

        let places = regions.map(problem.links.place(of:))
        self.distance.reserveCapacity(problem.sources.count * keyOfSite.count)
        for source in problem.sources {
            let number = regionNumbers[source.region]
            self.localSites.append(number.map { siteOfKey[2 * $0]..<siteOfKey[2 * $0 + 2] } ?? 0..<0)
            let residency = problem.residency[source.region]
            let from = problem.links.place(of: source.region)
            let rowStart = self.distance.count
            func measure(sparingFullCaches: Bool) {
                for key in keyOfSite {
                    let isLocal = key / 2 == number
                    let isClosed = !(residency?.contains(regions[key / 2]) ?? true)
                    let isSpared = sparingFullCaches && key % 2 == 1 && !isLocal
                    self.distance.append(
                        isClosed || isSpared
                            ? .infinity
                            : Self.way(problem, from: from, to: places[key / 2], isLocal: isLocal).total
                    )
                }
            }
            measure(sparingFullCaches: true)
            if self.distance[rowStart...].allSatisfy({ $0 == .infinity }) {
                // A full cache is better than no answer.
                self.distance.removeSubrange(rowStart...)
                measure(sparingFullCaches: false)
            }
            self.nearest += self.distance[rowStart...].indices
                .sorted { (self.distance[$0], $0) < (self.distance[$1], $1) }.map { $0 - rowStart }
        }
    }

    /// What lies between a source and a cluster, in seconds.
    struct Way {
        var roundTrip: Double
        var isMeasured: Bool
        var egress: Double
        var total: Double { self.roundTrip + self.egress }
    }

    /// The way by places; residency and full caches apart.
    static func way(_ problem: SolverProblem, source: Int, cluster: Int) -> Way {
        let from = problem.sources[source].region
        let to = problem.clusters[cluster].region
        return Self.way(
            problem,
            from: problem.links.place(of: from),
            to: problem.links.place(of: to),
            isLocal: from == to
        )
    }

    private static func way(_ problem: SolverProblem, from: Int?, to: Int?, isLocal: Bool) -> Way {
        let policy = problem.policy
        let measured = problem.links.roundTrip(from: from, to: to)
        return Way(
            roundTrip: measured.isNaN ? (isLocal ? policy.localRoundTrip : policy.unknownRoundTrip) : measured,
            isMeasured: !measured.isNaN,
            egress: policy.egressPrice * problem.links.egress(from: from, to: to)
        )
    }

    private mutating func makeCurves(_ problem: SolverProblem) {
        func known(_ value: Double?) -> Double? { value.flatMap { $0.isFinite && $0 >= 0 ? $0 : nil } }
        let longest = problem.clusters.compactMap { known($0.unloadedTTFT) }.max() ?? 0.2
        let decoding = problem.policy.decodeWeight * (known(problem.outputTokens) ?? 0)
        self.curves = self.order.map { place in
            let cluster = problem.clusters[place]
            let capacity = max(self.standings[place].capacity, 1e-9)
            return DelayCurve(
                capacity: capacity,
                servers: Double(cluster.servers),
                unloaded: (known(cluster.unloadedTTFT) ?? longest) + decoding * (known(cluster.interTokenLatency) ?? 0),
                queueScale: max(known(cluster.queueScale) ?? 1 / capacity, 1e-6),
                decodeScale: decoding * (known(cluster.interTokenSlope) ?? 0)
            )
        }
    }
}
