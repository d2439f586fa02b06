package import FleetModel

/// The trackers of one pool's endpoints in one cluster, and the digest that they make together.
package struct PoolObserver: Sendable {
    package let pool: PoolName
    /// What the operator wants of the cluster; a pool without a fresh endpoint is down whatever this says.
    package var wanted: ClusterState
    private let settings: SignalSettings
    /// Sorted by endpoint.
    private var trackers: [EndpointTracker] = []
    private var places: [EndpointAddress: Int] = [:]
    private var queueScale = QueueScale()
    /// What the delays of windows are set against, and when it was summed.
    private var whole: (sum: PoolSum, at: Seconds)?

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
        let sum = self.sum(now: now)
        let capacity = sum.capacity
        return PoolDigest(
            pool: self.pool,
            state: sum.ready == 0 ? .down : self.wanted,
            trouble: sum.ready > 0 ? nil : self.trackers.allSatisfy { $0.lastReading == nil } ? .unread : .blind,
            endpointsReady: sum.ready,
            endpointsKnown: self.trackers.count,
            readingAge: sum.ready == 0 ? nil : sum.oldest,
            running: sum.ready == 0 ? nil : sum.running,
            waiting: sum.ready == 0 ? nil : sum.waiting,
            kvMean: sum.kvUses.mean,
            kvMax: sum.kvUses.max(),
            errorShare: sum.errorShare,
            capacity: capacity,
            freeSeats: sum.freeSeats,
            unloadedTTFT: sum.unloadedTTFTs.mean,
            queueScale: capacity.flatMap { self.queueScale.scale(capacity: $0) },
            requestRate: sum.requestRate,
            promptTokenRate: sum.promptTokenRate,
            generationTokenRate: sum.generationTokenRate,
            loraSet: sum.adapters.map(LoRAAdapters.setHash(of:)) ?? 0
        )
    }

    private func sum(now: Seconds) -> PoolSum {
        var sum = PoolSum()
        for place in self.trackers.indices where self.trackers[place].isFresh(now: now) {
            sum.add(self.trackers[place], now: now)
        }
        return sum
    }

    private mutating func learnDelay(of window: LoadWindow, at place: Int, now: Seconds) {
        let estimate = self.trackers[place].estimate
        guard let ttft = window.ttft, !estimate.isSaturated, let unloaded = estimate.unloadedTTFT else { return }
        // A pool of a thousand endpoints closes a thousand windows a second, and its sum changes slowly.
        if self.whole.map({ now - $0.at >= WindowMeter.length / 2 }) ?? true {
            self.whole = (self.sum(now: now), now)
        }
        guard let sum = self.whole?.sum, let capacity = sum.capacity, capacity > 0 else { return }
        self.queueScale.learn(delay: ttft - unloaded, load: sum.throughput / capacity, servers: sum.ready)
    }
}

/// The fresh endpoints of a pool, added up.
private struct PoolSum: Sendable {
    /// What is kept of the summed capacity: replicas are never loaded quite evenly.
    private static let evenness = 0.95

    private(set) var ready = 0
    private(set) var oldest: Seconds = 0
    private(set) var running = 0
    private(set) var waiting = 0
    private(set) var kvUses: [Double] = []
    private(set) var unloadedTTFTs: [Seconds] = []
    /// Averaged, where the rates below are of the last window.
    private(set) var throughput = 0.0
    private(set) var requestRate: Double?
    private(set) var promptTokenRate: Double?
    private(set) var generationTokenRate: Double?
    private var failedRate = 0.0
    private var endedRate = 0.0
    /// Names of the LoRA adapters in use at any endpoint; `nil` when none of them says.
    private(set) var adapters: Set<String>?
    private var capacities: [Double] = []
    /// Seats, and what runs in them, of endpoints without a queue; `nil` for seats that nobody knows yet.
    private var places: [(seats: Double?, running: Int)] = []
    private var leastSeats: Double?

    mutating func add(_ tracker: borrowing EndpointTracker, now: Seconds) {
        guard let load = tracker.load(now: now) else { return }
        self.ready += 1
        self.oldest = max(self.oldest, tracker.age(now: now) ?? 0)
        self.running += load.running
        self.waiting += load.waiting
        if let kvUse = load.kvUse { self.kvUses.append(kvUse) }
        if let ttft = tracker.estimate.unloadedTTFT { self.unloadedTTFTs.append(ttft) }
        if let capacity = tracker.capacity { self.capacities.append(capacity) }
        self.throughput += tracker.estimate.throughput
        if let names = tracker.lastReading?.loraAdapters { self.adapters = (self.adapters ?? []).union(names) }
        let seats = tracker.seats
        if let seats { self.leastSeats = min(self.leastSeats ?? seats, seats) }
        // An endpoint with a queue has no free seat, however many are empty.
        if load.waiting == 0 { self.places.append((seats, load.running)) }
        guard let window = tracker.window(now: now) else { return }
        self.requestRate = (self.requestRate ?? 0) + window.finished
        self.failedRate += tracker.errors.rates.failed
        self.endedRate += tracker.errors.rates.ended
        if let rate = window.uncachedPrompt { self.promptTokenRate = (self.promptTokenRate ?? 0) + rate }
        if let rate = window.generated { self.generationTokenRate = (self.generationTokenRate ?? 0) + rate }
    }

    /// Requests that ended in an error, of all that ended where the engine says what became of them.
    var errorShare: Double? { ErrorRate.share(failed: self.failedRate, ended: self.endedRate) }

    /// The endpoints' capacities, summed.
    ///
    /// One that has not served yet counts as the least able of its peers.
    var capacity: Double? {
        guard let least = self.capacities.min() else { return nil }
        return Self.evenness * (self.capacities.reduce(0, +) + least * Double(self.ready - self.capacities.count))
    }

    /// Requests that would begin at once.
    var freeSeats: Int? {
        guard let least = self.leastSeats else { return nil }
        return self.places.reduce(0) { $0 + max(0, Int($1.seats ?? least) - $1.running) }
    }
}
