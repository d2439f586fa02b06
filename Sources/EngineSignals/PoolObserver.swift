package import FleetModel

/// The trackers of one pool's endpoints in one cluster, and the digest that they make together.
package struct PoolObserver: Sendable {
    /// What is kept of the summed capacity: replicas are never loaded quite evenly.
    private static let evenness = 0.95

    package let pool: PoolName
    /// What the operator wants of the cluster; a pool without a fresh endpoint is down whatever this says.
    package var wanted: ClusterState
    private let settings: SignalSettings
    /// Sorted by endpoint.
    private var trackers: [EndpointTracker] = []
    private var places: [EndpointAddress: Int] = [:]
    private var queueScale = QueueScale()

    package init(
        pool: PoolName,
        endpoints: [EndpointAddress],
        settings: SignalSettings = SignalSettings(),
        wanted: ClusterState = .active
    ) {
        self.pool = pool
        self.settings = settings
        self.wanted = wanted
        self.replace(endpoints: endpoints)
    }

    /// The endpoints of the pool, sorted.
    package var endpoints: [EndpointAddress] { self.trackers.map(\.endpoint) }

    /// The tracker of an endpoint of the pool.
    package subscript(endpoint: EndpointAddress) -> EndpointTracker? {
        self.places[endpoint].map { self.trackers[$0] }
    }

    /// Sets which endpoints the pool has.
    ///
    /// What is known of those that stay is kept.
    package mutating func replace(endpoints: [EndpointAddress]) {
        self.trackers = Set(endpoints).sorted().map { endpoint in
            self[endpoint] ?? EndpointTracker(endpoint: endpoint, settings: self.settings)
        }
        self.places = Dictionary(uniqueKeysWithValues: self.trackers.enumerated().map { ($1.endpoint, $0) })
    }

    /// Takes what one scrape gave; a reading of an endpoint that is not in the pool (any more) is `nil`.
    @discardableResult
    package mutating func take(
        _ result: Result<EngineReading, ScrapeFault>,
        from endpoint: EndpointAddress,
        now: Seconds
    ) -> EndpointSample? {
        guard let place = self.places[endpoint] else { return nil }
        switch result {
        case .success(let reading):
            if let window = self.trackers[place].observe(reading, now: now) {
                self.learnDelay(of: window, at: place, now: now)
            }
            return self.trackers[place].sample(now: now)
        case .failure(let fault):
            return self.trackers[place].failed(fault, now: now)
        }
    }

    /// All endpoints of the pool as of `now`, sorted: what the gateways of the region get.
    package func samples(now: Seconds) -> [EndpointSample] {
        self.trackers.map { $0.sample(now: now) }
    }

    /// The pool in one line.
    ///
    /// Only fresh endpoints count; what none of them knows is `nil`.
    package func digest(now: Seconds) -> PoolDigest {
        let fresh = self.fresh(now: now)
        let loads = fresh.compactMap(\.load)
        let kvUses = loads.compactMap(\.kvUse)
        let capacity = Self.capacity(of: fresh)
        return PoolDigest(
            pool: self.pool,
            state: fresh.isEmpty ? .down : self.wanted,
            endpointsReady: fresh.count,
            endpointsKnown: self.trackers.count,
            running: loads.reduce(0) { $0 + $1.running },
            waiting: loads.reduce(0) { $0 + $1.waiting },
            kvMean: kvUses.mean,
            kvMax: kvUses.max(),
            capacity: capacity,
            freeSeats: Self.freeSeats(of: fresh),
            unloadedTTFT: fresh.compactMap(\.estimate.unloadedTTFT).mean,
            queueScale: capacity.flatMap { self.queueScale.scale(capacity: $0) },
            requestRate: fresh.reduce(0) { $0 + ($1.lastWindow?.finished ?? 0) },
            promptTokenRate: fresh.reduce(0) { $0 + ($1.lastWindow?.uncachedPrompt ?? 0) },
            generationTokenRate: fresh.reduce(0) { $0 + ($1.lastWindow?.generated ?? 0) }
        )
    }

    private func fresh(now: Seconds) -> [EndpointTracker] {
        self.trackers.filter { $0.isFresh(now: now) }
    }

    /// The endpoints' capacities, summed.
    ///
    /// One that has not served yet counts as the least able of its peers.
    private static func capacity(of fresh: [EndpointTracker]) -> Double? {
        let known = fresh.compactMap(\.capacity)
        guard let least = known.min() else { return nil }
        return Self.evenness * (known.reduce(0, +) + least * Double(fresh.count - known.count))
    }

    /// Requests that would begin at once.
    ///
    /// An endpoint with a queue has no free seat, however many are empty.
    private static func freeSeats(of fresh: [EndpointTracker]) -> Int? {
        guard let least = fresh.compactMap(\.seats).min() else { return nil }
        return fresh.reduce(0) { sum, tracker in
            guard let load = tracker.load, load.waiting == 0 else { return sum }
            return sum + max(0, Int(tracker.seats ?? least) - load.running)
        }
    }

    private mutating func learnDelay(of window: LoadWindow, at place: Int, now: Seconds) {
        let estimate = self.trackers[place].estimate
        guard let ttft = window.ttft, !estimate.isSaturated, let unloaded = estimate.unloadedTTFT else { return }
        let fresh = self.fresh(now: now)
        guard let capacity = Self.capacity(of: fresh), capacity > 0 else { return }
        let rate = fresh.reduce(0) { $0 + $1.estimate.throughput }
        self.queueScale.learn(delay: ttft - unloaded, load: rate / capacity, servers: fresh.count)
    }
}
