/// Which plan is newer: the leadership term first, then the count of plans in it.
package struct PlanVersion: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The leadership term: a fencing token.
    package var epoch: UInt64
    /// Counts plans, and goes on counting from term to term.
    package var generation: UInt64

    package init(epoch: UInt64, generation: UInt64) {
        self.epoch = epoch
        self.generation = generation
    }

    /// As in `3.1207`.
    package var description: String { "\(self.epoch).\(self.generation)" }

    package static func < (lhs: Self, rhs: Self) -> Bool {
        (lhs.epoch, lhs.generation) < (rhs.epoch, rhs.generation)
    }
}

/// What the hub knew of one cluster when it made a plan: what a gateway needs to compare two clusters.
package struct PlanCluster: Hashable, Sendable {
    package var name: ClusterName
    package var region: RegionName
    package var state: ClusterState
    /// Requests per second; `nil` when nobody knows yet.
    package var capacity: Double?
    package var unloadedTTFT: Seconds
    /// Requests waiting, as the digest said.
    package var waiting: Int
    /// Requests that would have started at once, as the digest said.
    package var freeSeats: Int
    /// The frame behind this line.
    package var frame: FrameID
    /// The solver's price of one more request per second here, in seconds.
    package var price: Seconds

    package init(
        name: ClusterName,
        region: RegionName,
        state: ClusterState,
        capacity: Double?,
        unloadedTTFT: Seconds,
        waiting: Int,
        freeSeats: Int,
        frame: FrameID,
        price: Seconds
    ) {
        self.name = name
        self.region = region
        self.state = state
        self.capacity = capacity
        self.unloadedTTFT = unloadedTTFT
        self.waiting = waiting
        self.freeSeats = freeSeats
        self.frame = frame
        self.price = price
    }
}

/// The shares of one source region's requests in one band; they sum to 1, or there are none.
package struct PlanRow: Hashable, Sendable {
    package var source: RegionName
    package var band: Band
    package var weights: ClusterShares

    package init(source: RegionName, band: Band, weights: ClusterShares) {
        self.source = source
        self.band = band
        self.weights = weights
    }
}

/// The rows to use the moment a cluster is lost (N−1), solved beforehand.
package struct FailoverRows: Hashable, Sendable {
    package var lost: ClusterName
    package var rows: [PlanRow]

    package init(lost: ClusterName, rows: [PlanRow]) {
        self.lost = lost
        self.rows = rows
    }
}

/// The plan of one pool.
///
/// Pools share no servers, so each is solved alone.
package struct PoolPlan: Hashable, Sendable {
    package var pool: PoolName
    /// Sorted by name.
    package var clusters: [PlanCluster]
    package var rows: [PlanRow]
    package var failover: [FailoverRows]
    /// Mean cost of a request under this plan, in seconds.
    package var cost: Seconds
    /// How much better any other plan could be at most (Frank–Wolfe gap), in seconds per request.
    package var gap: Seconds
    /// The band of each objective that a request may name.
    package var objectives: [String: Band]

    package init(
        pool: PoolName,
        clusters: [PlanCluster],
        rows: [PlanRow],
        failover: [FailoverRows],
        cost: Seconds,
        gap: Seconds,
        objectives: [String: Band] = [:]
    ) {
        self.pool = pool
        self.clusters = clusters
        self.rows = rows
        self.failover = failover
        self.cost = cost
        self.gap = gap
        self.objectives = objectives
    }

    /// The shares for a source and band; with `lost`, those solved for the loss of that cluster.
    package func weights(from source: RegionName, band: Band, lost: ClusterName? = nil) -> ClusterShares? {
        let rows = lost.map { lost in self.failover.first { $0.lost == lost }?.rows ?? [] } ?? self.rows
        return rows.first { $0.source == source && $0.band == band }?.weights
    }
}

/// One generation of weights for the whole fleet: what the hub accepts, stores and pushes.
package struct Plan: Hashable, Sendable {
    package var version: PlanVersion
    /// The plan that this one replaces: it is accepted only if that is still the current one.
    package var parent: PlanVersion?
    /// How long a gateway may trust the plan without hearing of a newer one, in seconds.
    package var timeToLive: Seconds
    /// Sorted by pool.
    package var pools: [PoolPlan]

    package init(version: PlanVersion, parent: PlanVersion?, timeToLive: Seconds, pools: [PoolPlan]) {
        self.version = version
        self.parent = parent
        self.timeToLive = timeToLive
        self.pools = pools
    }

    package subscript(pool: PoolName) -> PoolPlan? { self.pools.first { $0.pool == pool } }
}
