package import FleetModel

/// One region that requests come from.
package struct SolverSource: Hashable, Sendable {
    package var region: RegionName
    /// Requests per second.
    ///
    /// What is not a number, negative or infinite counts as zero, and as a fault.
    package var demand: ByBand<Double>

    package init(region: RegionName, demand: ByBand<Double>) {
        self.region = region
        self.demand = demand
    }
}

/// One cluster that serves the pool.
///
/// `nil` is unknown, never zero; so is what is not a number.
package struct SolverCluster: Hashable, Sendable {
    package var name: ClusterName
    package var region: RegionName
    package var state: ClusterState
    /// μ, in requests per second.
    ///
    /// Unknown: as much per server as the slowest known cluster of the pool has; where none is known, what would carry
    /// the demand at 70 % load.
    package var capacity: Double?
    /// N, the servers that work in parallel: at least 1.
    package var servers: Int
    /// T, in seconds.
    ///
    /// Unknown: the longest known in the pool, else 0.2 s.
    package var unloadedTTFT: Seconds?
    /// q, in seconds.
    ///
    /// Unknown: 1/μ.
    package var queueScale: Seconds?
    /// KV-cache use, 0 to 1.
    ///
    /// Unknown: not limited by it.
    package var kvUse: Double?
    /// Seconds since the digest behind this was made; unknown counts as lost.
    package var digestAge: Seconds
    /// Seconds between tokens of an idle cluster.
    ///
    /// Unknown: decoding is not counted.
    package var interTokenLatency: Seconds?
    /// Seconds that are added to it at full load.
    ///
    /// Unknown: none.
    package var interTokenSlope: Seconds?

    package init(
        name: ClusterName,
        region: RegionName,
        state: ClusterState = .active,
        capacity: Double?,
        servers: Int,
        unloadedTTFT: Seconds? = nil,
        queueScale: Seconds? = nil,
        kvUse: Double? = nil,
        digestAge: Seconds = 0,
        interTokenLatency: Seconds? = nil,
        interTokenSlope: Seconds? = nil
    ) {
        self.name = name
        self.region = region
        self.state = state
        self.capacity = capacity
        self.servers = servers
        self.unloadedTTFT = unloadedTTFT
        self.queueScale = queueScale
        self.kvUse = kvUse
        self.digestAge = digestAge
        self.interTokenLatency = interTokenLatency
        self.interTokenSlope = interTokenSlope
    }
}

/// What lies between regions; one value for all pools of a tick.
package struct SolverLinks: Hashable, Sendable {
    /// Every region that a link names, sorted.
    private let regions: [RegionName]
    private let index: [RegionName: Int]
    /// Row by row, from × to; `nan` where nobody has measured, infinite where there is no way.
    private var roundTrips: [Double]
    private var egress: [Double]

    /// - Parameters:
    ///   - roundTrips: seconds from a source region to a cluster's region; infinite means that it cannot be reached.
    ///     Where one direction is missing the other one counts.
    ///   - egress: what a request costs that goes from the first region to the second, in any unit: `egressPrice`
    ///     of the policy turns it into seconds. Missing is free.
    package init(
        roundTrips: [RegionName: [RegionName: Seconds]],
        egress: [RegionName: [RegionName: Double]] = [:]
    ) {
        var names = Set(roundTrips.keys).union(egress.keys)
        for row in roundTrips.values { names.formUnion(row.keys) }
        for row in egress.values { names.formUnion(row.keys) }
        let regions = names.sorted()
        let index = Dictionary(uniqueKeysWithValues: zip(regions, 0...))
        var trips = [Double](repeating: .nan, count: regions.count * regions.count)
        var costs = [Double](repeating: 0, count: regions.count * regions.count)
        for (from, row) in roundTrips {
            guard let i = index[from] else { continue }
            for (to, seconds) in row {
                guard let j = index[to], seconds >= 0 else { continue }
                trips[i * regions.count + j] = seconds
            }
        }
        for (from, row) in egress {
            guard let i = index[from] else { continue }
            for (to, cost) in row {
                guard let j = index[to], cost.isFinite else { continue }
                costs[i * regions.count + j] = cost
            }
        }
        self.regions = regions
        self.index = index
        self.roundTrips = trips
        self.egress = costs
    }

    func write(to writer: inout ByteWriter) {
        writer.list(self.regions) { $0.text($1.text) }
        for values in [self.roundTrips, self.egress] { writer.list(values) { $0.number($1) } }
    }

    init(from reader: inout ByteReader) throws(SolverQuestion.Unreadable) {
        let regions = try reader.list { (reader) throws(SolverQuestion.Unreadable) in
            RegionName(unchecked: try reader.text())
        }
        let roundTrips = try reader.list { (reader) throws(SolverQuestion.Unreadable) in try reader.number() }
        let egress = try reader.list { (reader) throws(SolverQuestion.Unreadable) in try reader.number() }
        guard roundTrips.count == regions.count * regions.count, egress.count == roundTrips.count,
            Set(regions).count == regions.count
        else { throw SolverQuestion.Unreadable(reason: "links that do not fit their regions") }
        self.regions = regions
        self.index = Dictionary(uniqueKeysWithValues: zip(regions, 0...))
        self.roundTrips = roundTrips
        self.egress = egress
    }

    func place(of region: RegionName) -> Int? { self.index[region] }

    /// Seconds there and back, `nan` when nobody knows.
    func roundTrip(from: Int?, to: Int?) -> Double {
        guard let from, let to else { return .nan }
        let straight = self.roundTrips[from * self.regions.count + to]
        return straight.isNaN ? self.roundTrips[to * self.regions.count + from] : straight
    }

    func egress(from: Int?, to: Int?) -> Double {
        guard let from, let to else { return 0 }
        return self.egress[from * self.regions.count + to]
    }
}

/// One pool's question, which is where its requests should go.
package struct SolverProblem: Hashable, Sendable {
    package var pool: PoolName
    package var sources: [SolverSource]
    package var clusters: [SolverCluster]
    package var links: SolverLinks
    /// Where the requests of a source region may run; a source that is not named may use every region.
    package var residency: [RegionName: Set<RegionName>]
    /// Mean output tokens of a request; unknown: decoding is not counted.
    package var outputTokens: Double?
    package var policy: SolverPolicy

    package init(
        pool: PoolName,
        sources: [SolverSource],
        clusters: [SolverCluster],
        links: SolverLinks,
        residency: [RegionName: Set<RegionName>] = [:],
        outputTokens: Double? = nil,
        policy: SolverPolicy = SolverPolicy()
    ) {
        self.pool = pool
        self.sources = sources
        self.clusters = clusters
        self.links = links
        self.residency = residency
        self.outputTokens = outputTokens
        self.policy = policy
    }
}
