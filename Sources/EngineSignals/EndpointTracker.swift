package import FleetModel

/// What is known of one endpoint: its last reading, how fresh that is, and what it has taught.
package struct EndpointTracker: Sendable {
    package let endpoint: EndpointAddress
    /// Failed scrapes since the last good one.
    package private(set) var failuresInARow = 0
    /// The fault of the last scrape, or of the reading that it gave; `nil` after a good one.
    package private(set) var lastFault: ScrapeFault?
    /// The last good reading, however old.
    package private(set) var lastReading: EngineReading?
    private var readAt: Seconds = -.infinity
    private let settings: SignalSettings
    private var meter = WindowMeter()
    private(set) var estimate: CapacityEstimate
    private(set) var errors = ErrorRate()
    private var lastWindow: (window: LoadWindow, closedAt: Seconds)?

    package init(endpoint: EndpointAddress, settings: SignalSettings = SignalSettings()) {
        self.endpoint = endpoint
        self.settings = settings
        self.estimate = CapacityEstimate(settings: settings)
    }

    /// Takes a good reading, taken at `now`.
    package mutating func read(_ reading: EngineReading, now: Seconds) -> EndpointSample {
        self.observe(reading, now: now)
        return self.sample(now: now)
    }

    /// Takes a failed scrape.
    package mutating func failed(_ fault: ScrapeFault, now: Seconds) -> EndpointSample {
        self.failuresInARow += 1
        self.lastFault = fault
        return self.sample(now: now)
    }

    /// Whether the last reading may be relied upon: it says the load, is young enough, and not too many scrapes
    /// have failed since.
    package func isFresh(now: Seconds) -> Bool {
        self.failuresInARow < self.settings.staleAfterFailures && now - self.readAt <= self.settings.staleAfter
            && self.load(now: now) != nil
    }

    /// How old the last good reading is, in seconds; `nil` before the first.
    package func age(now: Seconds) -> Seconds? { self.lastReading == nil ? nil : max(0, now - self.readAt) }

    /// The endpoint as its gateways shall see it: without a load from now on when its scrapes fail time and again, and
    /// else with its last one, however old.
    ///
    /// Age alone, as after a stall of this machine, says nothing against an endpoint, and neither does a first reading
    /// that is still to come: both are unknown, which a gateway tells by the sample's age.
    package func sample(now: Seconds) -> EndpointSample {
        let hasFailed = self.failuresInARow >= self.settings.staleAfterFailures
        return EndpointSample(
            endpoint: self.endpoint,
            load: hasFailed ? nil : self.load(now: now),
            takenAt: hasFailed ? now : max(self.readAt, now - Self.longestAge)
        )
    }

    /// What is older is told as so old, in seconds: an age must fit onto the wire.
    static let longestAge: Seconds = 3_600

    /// Times that the engine was seen to have restarted, or to have changed its ranks.
    package var restarts: Int { self.meter.restarts }

    /// Those of the ``restarts`` after which another engine, version or size answered.
    package var upgrades: Int { self.meter.upgrades }

    /// Requests per second that this endpoint can finish at the current mix; `nil` before it has served any.
    package var capacity: Double? { self.estimate.capacity }

    /// Takes a reading, and gives the window that it closed.
    @discardableResult
    mutating func observe(_ reading: EngineReading, now: Seconds) -> LoadWindow? {
        self.failuresInARow = 0
        self.lastFault = reading.fault
        self.lastReading = reading
        self.readAt = now
        let (restarts, upgrades) = (self.meter.restarts, self.meter.upgrades)
        let closed = self.meter.add(reading, now: now)
        // What another run of the engine did is not what this one does.
        if self.meter.restarts > restarts {
            self.lastWindow = nil
            self.errors = ErrorRate()
        }
        if self.meter.upgrades > upgrades { self.estimate = CapacityEstimate(settings: self.settings) }
        guard let window = closed else { return nil }
        self.lastWindow = (window, now)
        self.errors.add(window)
        self.estimate.learn(window, seats: reading.seats, kvTokens: reading.kvTokens)
        return window
    }

    /// The last window, unless it closed so long ago that another should have: an engine whose counters are gone
    /// from its page keeps answering, and what they said must not stay.
    func window(now: Seconds) -> LoadWindow? {
        guard let last = self.lastWindow,
            now - last.closedAt <= self.settings.staleAfter + 2 * WindowMeter.length
        else { return nil }
        return last.window
    }

    /// The load of the last reading, however old that is.
    ///
    /// An engine that only counts its busy time runs what the last window says.
    func load(now: Seconds) -> EndpointLoad? {
        guard let reading = self.lastReading, let waiting = reading.waiting,
            let running = reading.running ?? self.window(now: now).map({ Int($0.running.rounded()) })
        else { return nil }
        return EndpointLoad(running: running, waiting: waiting, kvUse: reading.kvUse, adapters: reading.lora)
    }

    /// The most requests that run here at once; before the first window, only what was said of it.
    var seats: Double? {
        guard self.lastWindow == nil else { return self.estimate.seats }
        return (self.settings.maxRunning ?? self.lastReading?.seats).map(Double.init)
    }
}
