package import FleetModel

/// One value for each band.
package struct ByBand<Value> {
    package var premium: Value
    package var standard: Value
    package var batch: Value

    package init(premium: Value, standard: Value, batch: Value) {
        self.premium = premium
        self.standard = standard
        self.batch = batch
    }

    /// The same value for every band.
    package init(all value: Value) {
        self.init(premium: value, standard: value, batch: value)
    }

    package subscript(band: Band) -> Value {
        get {
            switch band {
            case .premium: self.premium
            case .standard: self.standard
            case .batch: self.batch
            }
        }
        _modify {
            switch band {
            case .premium: yield &self.premium
            case .standard: yield &self.standard
            case .batch: yield &self.batch
            }
        }
    }
}

extension ByBand: Sendable where Value: Sendable {}
extension ByBand: Equatable where Value: Equatable {}
extension ByBand: Hashable where Value: Hashable {}

/// How far weights may move in one tick.
package struct StepLimit: Hashable, Sendable {
    /// No weight moves by more than this in a tick.
    package var largest: Double
    /// No row goes more than this part of its way in a tick.
    package var fraction: Double

    package init(largest: Double = 0.10, fraction: Double = 0.5) {
        self.largest = largest
        self.fraction = fraction
    }
}

/// Which clusters' losses are solved for beforehand (N−1 rows).
package enum FailoverChoice: Hashable, Sendable {
    case all, none
    case only(Set<ClusterName>)

    func includes(_ cluster: ClusterName) -> Bool {
        switch self {
        case .all: true
        case .none: false
        case .only(let names): names.contains(cluster)
        }
    }
}

/// What the operator may set of the solver.
///
/// Times are in seconds, shares between 0 and 1.
package struct SolverPolicy: Hashable, Sendable {
    /// Smoothing ε: how many seconds of difference in cost are worth a factor of e in weight.
    ///
    /// The plan costs at most `ε·ln(clusters)` seconds a request more than the sharp optimum, usually far less; a
    /// larger one moves weights less when the inputs are noisy. Default 5, 10 and 25 ms.
    package var epsilon = ByBand(premium: 0.005, standard: 0.010, batch: 0.025)

    /// The least weight of an allowed cluster, so that its capacity estimate stays alive.
    ///
    /// Default 0.5 %.
    package var floor = ByBand(all: 0.005)
    /// All floors of a row together take no more than this share.
    ///
    /// Where the clusters are too many for it the nearest have floors. Default 10 %.
    package var floorBudget = 0.10
    /// The largest share of a source's requests that may leave its region, where that has a usable cluster.
    ///
    /// Default 1: no limit.
    package var maxRemoteShare = ByBand(all: 1.0)

    /// How far weights move in a tick; `nil` for no limit.
    ///
    /// Default 10 points, half of the way.
    package var stepLimit: StepLimit? = StepLimit()
    /// A row none of whose weights would move by more than this stays as it was.
    ///
    /// Default 0.5 %.
    package var deadBand = 0.005

    /// Batch takes a cluster's load to this part of its capacity at most.
    ///
    /// Default 0.70.
    package var batchCap = 0.70
    /// Batch that costs more than this is put off instead.
    ///
    /// Default 2 s.
    package var overflowPrice: Seconds = 2
    /// Premium and standard together above this part of the fleet's capacity are overload.
    ///
    /// Default 0.97.
    package var fullLoad = 0.97
    /// Where standard begins to be shed, as a part of the fleet's capacity.
    ///
    /// Default 0.95.
    package var shedStart = 0.95
    /// k of the shedding law `p = min(1, k·s⁵)`, s going from 0 at `shedStart` to 1 at full capacity.
    ///
    /// Default 0.05.
    package var shedGain = 0.05

    /// Seconds of delay worth one unit of egress cost.
    ///
    /// Default 1: egress is then given in seconds.
    package var egressPrice = 1.0
    /// Round trip between two regions that nobody has measured.
    ///
    /// Default 0.3 s.
    package var unknownRoundTrip: Seconds = 0.3
    /// Round trip inside a region that nobody has measured.
    ///
    /// Default 1 ms.
    package var localRoundTrip: Seconds = 0.001
    /// η: how much of the time spent decoding counts beside the time to first token.
    ///
    /// Default 0.1.
    package var decodeWeight = 0.1

    /// A cluster fuller than this gets no new requests from other regions.
    ///
    /// Default 0.90.
    package var kvLimit = 0.90
    /// A digest older than this does not let its cluster's weights grow.
    ///
    /// Default 5 s.
    package var staleAfter: Seconds = 5
    /// A digest older than this lets its capacity decay as `e^(−(age − decayAfter)/decayTime)`.
    ///
    /// Default 30 s.
    package var decayAfter: Seconds = 30
    /// Default 30 s.
    package var decayTime: Seconds = 30
    /// A digest older than this counts as a cluster that is down.
    ///
    /// Default 120 s.
    package var lostAfter: Seconds = 120

    /// Weights below this are left out.
    ///
    /// Default 0.00001.
    package var negligible = 0.000_01
    /// How long gateways may trust the plan.
    ///
    /// Default 60 s.
    package var timeToLive: Seconds = 60
    /// The clusters whose loss is solved for beforehand.
    ///
    /// Default all.
    package var failover = FailoverChoice.all

    package init() {}

    /// The same problem without what holds a plan back between ticks and without floors and remote limits: the optimum
    /// for this moment.
    ///
    /// Set `floor` or `maxRemoteShare` again to keep them.
    package var unlimited: SolverPolicy {
        var policy = self
        policy.stepLimit = nil
        policy.deadBand = 0
        policy.floor = ByBand(all: 0)
        policy.maxRemoteShare = ByBand(all: 1)
        return policy
    }
}
