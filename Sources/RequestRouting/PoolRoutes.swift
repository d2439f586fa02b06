import FleetModel

/// One pool as the gateway sees it: its clusters side by side, and the plan's rows in the same order, so that a pick
/// looks nothing up by name.
struct PoolRoutes: Sendable {
    /// One cluster that requests of the pool can go to.
    struct Place: Sendable {
        let name: ClusterName
        let region: RegionName
        var state = ClusterState.active
        /// Whether the plan knows it.
        var isPlanned = false
        /// Requests per second.
        var capacity: Double?
        var unloadedTTFT: Seconds = 0
        var waiting = 0
        var freeSeats = 0
        /// Its endpoints, when it stands in the gateway's own region.
        var local: LocalCluster?
        /// The gateways of its region, as indices of ``Router/peers``.
        var peers: [Int] = []
        /// The round trip to its region; 0 at home.
        var distance: Seconds = 0
        /// When this gateway sent requests that the plan's digests cannot know of.
        var sentSince: [Seconds] = []
        /// Picks that went there and are not finished.
        var inFlight = 0
        /// When it last was in a row of the plan.
        var lastInRow: Seconds = -.infinity
    }

    let pool: PoolName
    /// Sorted by name.
    var places: [Place] = []
    /// ``TextHash`` of each place's name.
    private(set) var names: [UInt64] = []
    private var plan: PoolPlan?
    /// The plan's shares from here, by band; `nil` without a row.
    private(set) var rows: [[Double]?] = [nil, nil, nil]
    /// Rows for a lost place, as far as they were asked for.
    private var failover: [Int: [Double]] = [:]
    /// Room for the weights of one pick, and whether each place may be used: kept so that a pick allocates nothing.
    var weights: [Double] = []
    var isUsable: [Bool] = []
    /// The same for the shares by which a queue is relieved.
    var relief: [Double] = []
    /// How long the prompts are that came here.
    var prompts = PromptLengths()

    init(pool: PoolName) { self.pool = pool }

    func index(of cluster: ClusterName) -> Int? {
        // By index, as a closure would be handed a copy of every place.
        for index in self.places.indices where self.places[index].name == cluster { return index }
        return nil
    }

    func index(named name: UInt64) -> Int? { self.names.firstIndex(of: name) }

    /// Lays the places out anew, keeping what is known of each.
    ///
    /// - Parameters:
    ///   - plan: The pool's plan; `nil` when there is none.
    ///   - source: The gateway's region.
    ///   - added: A cluster of the own region that is not there yet.
    ///   - peers: The gateways of a region.
    ///   - unplanned: Other regions with gateways, to be used when no plan names a cluster there.
    ///   - distance: The round trip to a region.
    mutating func lay(
        plan: PoolPlan?,
        source: RegionName,
        adding added: ClusterName? = nil,
        peers: (RegionName) -> [Int],
        unplanned: [RegionName],
        distance: (RegionName) -> Seconds
    ) {
        self.plan = plan
        let before = Dictionary(self.places.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        var next: [ClusterName: Place] = [:]
        for cluster in plan?.clusters ?? [] {
            var place = before[cluster.name] ?? Place(name: cluster.name, region: cluster.region)
            if place.region != cluster.region { place = Place(name: cluster.name, region: cluster.region) }
            place.isPlanned = true
            place.state = cluster.state
            place.capacity = cluster.capacity
            place.unloadedTTFT = cluster.unloadedTTFT
            place.waiting = cluster.waiting
            place.freeSeats = cluster.freeSeats
            next[cluster.name] = place
        }
        for place in self.places where place.local != nil && next[place.name] == nil {
            next[place.name] = Place(name: place.name, region: place.region, local: place.local)
        }
        if let added, next[added] == nil { next[added] = Place(name: added, region: source) }
        for region in unplanned where !next.values.contains(where: { $0.region == region }) {
            // No plan names its clusters: the gateway there will find one.
            let name = ClusterName(unchecked: region.text)
            if next[name] == nil { next[name] = Place(name: name, region: region) }
        }
        self.places = next.values.sorted { $0.name < $1.name }
        for index in self.places.indices where self.places[index].region != source {
            self.places[index].peers = peers(self.places[index].region)
            self.places[index].distance = distance(self.places[index].region)
        }
        self.names = self.places.map { TextHash.of($0.name.text) }
        self.weights = Array(repeating: 0, count: self.places.count)
        self.isUsable = Array(repeating: false, count: self.places.count)
        self.relief = self.weights
        self.failover = [:]
        self.rows = [.premium, .standard, .batch].map { band in
            plan?.weights(from: source, band: band).map(self.row)
        }
    }

    /// Notes which places the plan's rows have.
    mutating func noteRows(now: Seconds) {
        for index in self.places.indices where self.rows.contains(where: { ($0?[index] ?? 0) > 0 }) {
            self.places[index].lastInRow = now
        }
    }

    /// The shares from `source` that were solved for the loss of a place; `nil` when the plan has none.
    mutating func failoverRow(from source: RegionName, band: Band, lost: Int) -> [Double]? {
        let key = 3 * lost + band.rank
        if let row = self.failover[key] { return row }
        guard let weights = self.plan?.weights(from: source, band: band, lost: self.places[lost].name) else {
            return nil
        }
        let row = self.row(weights)
        self.failover[key] = row
        return row
    }

    private func row(_ weights: ClusterShares) -> [Double] {
        self.places.map { weights[$0.name] ?? 0 }
    }
}
