import FleetModel
import FleetPlanning
import GossipCore
import TestKit

/// What the gateways of a baseline hear each tick, at the time when ours would hear a plan.
struct BaselineView {
    struct Cluster {
        var isActive = false
        /// The share of known endpoints that are ready.
        var health = 0.0
        var capacity = 0.0
        /// Requests finished per second.
        var rate = 0.0
        var kvUse = 0.0
    }

    /// By cluster's place; empty before the first view.
    var clusters: [Cluster] = []
    /// Source region × cluster, for the policies that plan weights.
    var weights: [[Double]] = []
}

extension BaselineView {
    /// What the hub's boards say, and the weights of the policies that have some.
    init(
        _ policy: SimulationPolicy,
        _ mind: HubMind,
        pool: PoolName,
        clusters: [SimulatedCluster],
        world: FleetWorld,
        now: Seconds
    ) {
        var digests: [ClusterName: PoolDigest] = [:]
        for view in mind.digests.views(now: now) {
            digests[view.frame.id.cluster] = view.frame.digests.first { $0.pool == pool }
        }
        self.clusters = clusters.map { cluster in
            guard let digest = digests[cluster.name] else { return Cluster() }
            return Cluster(
                isActive: digest.state == .active,
                health: Double(digest.endpointsReady) / Double(max(1, digest.endpointsKnown)),
                capacity: digest.capacity ?? 0,
                rate: digest.requestRate ?? 0,
                kvUse: digest.kvMean ?? 0
            )
        }
        let regions = clusters.map(\.region)
        switch policy {
        case .capacityProportional:
            self.weights = Array(repeating: self.clusters.map(\.usableCapacity), count: world.regions.count)
        case .waterfall40, .waterfall70, .waterfall80, .waterfall90, .waterfall80Late:
            let rates = mind.demand.demand(of: pool)
            self.weights = Self.waterfall(
                demand: world.regions.map { (rates[$0.name] ?? [:]).values.sorted().reduce(0, +) },
                capacity: self.clusters.map(\.usableCapacity),
                regions: regions,
                roundTrips: world.roundTrips,
                threshold: policy.threshold ?? 1
            )
        case .priorityFailover:
            self.weights = Self.priorities(self.clusters, regions: regions, roundTrips: world.roundTrips)
        default: break
        }
    }

    /// Near pairs first: each region's demand fills the clusters of the nearest region up to a part of their capacity,
    /// then those of the next; what fits nowhere goes everywhere in proportion to capacity.
    static func waterfall(
        demand: [Double],
        capacity: [Double],
        regions: [Int],
        roundTrips: [[Seconds]],
        threshold: Double
    ) -> [[Double]] {
        var left = demand
        var room = capacity.map { $0 * threshold }
        var weights = Array(repeating: Array(repeating: 0.0, count: capacity.count), count: demand.count)
        let places = demand.indices
        let pairs = places.flatMap { source in places.map { (source, $0) } }.sorted {
            (roundTrips[$0.0][$0.1], $0.0, $0.1) < (roundTrips[$1.0][$1.1], $1.0, $1.1)
        }
        for (source, region) in pairs where left[source] > 0 {
            let targets = capacity.indices.filter { regions[$0] == region }
            let total = targets.reduce(0) { $0 + room[$1] }
            guard total > 0 else { continue }
            let taken = min(left[source], total)
            for target in targets {
                let part = taken * room[target] / total
                weights[source][target] += part
                room[target] -= part
            }
            left[source] -= taken
        }
        let total = capacity.reduce(0, +)
        guard total > 0 else { return weights }
        for source in places {
            // Without demand yet, a region is as if it had a little, so that its first request has a way.
            let rest = demand[source] > 0 ? left[source] : 0
            for target in capacity.indices { weights[source][target] += rest * capacity[target] / total }
        }
        return weights
    }

    /// Envoy's priorities: regions by distance, each taking `min(left, 1.4 × its healthy share)` of the load.
    ///
    /// 1.4 is Envoy's overprovisioning factor: a region keeps all of its load until it is below 71 % healthy.
    static func priorities(_ clusters: [Cluster], regions: [Int], roundTrips: [[Seconds]]) -> [[Double]] {
        roundTrips.indices.map { source in
            var row = Array(repeating: 0.0, count: clusters.count)
            var left = 1.0
            for region in roundTrips.indices.sorted(by: {
                (roundTrips[source][$0], $0) < (roundTrips[source][$1], $1)
            }) {
                let members = clusters.indices.filter { regions[$0] == region && clusters[$0].isActive }
                let capacity = members.reduce(0) { $0 + clusters[$1].capacity }
                guard capacity > 0, left > 0 else { continue }
                let all = clusters.indices.filter { regions[$0] == region }
                let health =
                    all.reduce(0) { $0 + (clusters[$1].isActive ? clusters[$1].health : 0) } / Double(all.count)
                let taken = min(left, 1.4 * health)
                for member in members { row[member] += taken * clusters[member].capacity / capacity }
                left -= taken
            }
            return row
        }
    }
}

extension BaselineView.Cluster {
    /// Zero unless it may be used.
    var usableCapacity: Double { self.isActive ? self.capacity : 0 }
}

extension SimulatedGateway {
    /// The cluster that a baseline sends a request to; `nil` when it knows of none.
    ///
    /// `regions` and `sizes` have the region and the endpoints of each cluster, `roundTrips` the way from here to each
    /// region; `excluded` are clusters that already failed this request.
    mutating func choose(
        _ policy: SimulationPolicy,
        regions: [Int],
        sizes: [Int],
        roundTrips: [Seconds],
        excluded: [Int]
    ) -> Int? {
        let known = self.view.clusters
        let usable = regions.indices.filter { place in
            !excluded.contains(place) && self.reaches(regions[place])
                && (known.isEmpty ? regions[place] == self.region : known[place].isActive)
        }
        guard !known.isEmpty else { return usable.first }
        func nearest(_ places: [Int]) -> Int? {
            places.min { (roundTrips[regions[$0]], $0) < (roundTrips[regions[$1]], $1) }
        }
        switch policy {
        case .leastInFlight:
            let inFlight = self.inFlight
            return self.least(usable) { Double(inFlight[$0]) / Double(sizes[$0]) }
        case .leastKV:
            return self.least(usable) { known[$0].kvUse }
        case .spill40, .spill70, .spill80, .spill90:
            let threshold = policy.threshold ?? 1
            let free = usable.filter { known[$0].rate < threshold * known[$0].capacity || known[$0].capacity == 0 }
            return nearest(free) ?? self.least(usable) { known[$0].rate / max(known[$0].capacity, 1e-9) }
        case .kvSpill40, .kvSpill60, .kvSpill80:
            let threshold = policy.threshold ?? 1
            return nearest(usable.filter { known[$0].kvUse < threshold }) ?? self.least(usable) { known[$0].kvUse }
        default:
            let row = self.view.weights.isEmpty ? [] : self.view.weights[self.region]
            let weights = usable.map { row.isEmpty ? 0 : row[$0] }
            let total = weights.reduce(0, +)
            guard total > 0 else { return nearest(usable) }
            var rest = Double.random(in: 0..<total, using: &self.dice)
            for (place, weight) in zip(usable, weights) {
                rest -= weight
                if rest < 0 { return place }
            }
            return usable.last
        }
    }

    /// The place with the least value; ties are drawn.
    private mutating func least(_ places: [Int], _ value: (Int) -> Double) -> Int? {
        guard let least = places.map(value).min() else { return nil }
        return places.filter { value($0) <= least }.randomElement(using: &self.dice)
    }
}
