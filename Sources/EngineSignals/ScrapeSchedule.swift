package import FleetModel

/// How often an endpoint is read, by what it said last.
///
/// - **Busy**, when requests wait or the KV cache is fuller than ``fullKVUse``: each `busy` seconds, at once. A queue
///   makes the difference between two endpoints, and it changes within a few steps of the engine.
/// - **Idle and steady**, when nothing has run or waited for ``steadyAfter`` seconds: each `idle` seconds. The first
///   reading with a request in it ends that.
/// - Otherwise, and whenever the reading does not say: each `usual` seconds.
package struct ScrapePace: Hashable, Sendable {
    /// The share of the KV cache from which on an endpoint is busy.
    package static let fullKVUse = 0.8
    /// How long an endpoint must have been idle to be read less often, in seconds.
    package static let steadyAfter: Seconds = 5

    package let usual: Seconds
    package let busy: Seconds
    package let idle: Seconds

    /// A pace of three periods, in seconds; the defaults are 5, 10 and 2 Hz.
    package init(usual: Seconds = 0.2, busy: Seconds = 0.1, idle: Seconds = 0.5) {
        precondition(0 < busy && busy <= usual && usual <= idle, "paces \(busy), \(usual), \(idle) are not in order")
        self.usual = usual
        self.busy = busy
        self.idle = idle
    }

    /// The period after a reading, of an endpoint that has been idle for so long.
    func period(after reading: EngineReading, idleFor: Seconds) -> Seconds {
        if reading.waiting ?? 0 > 0 || reading.kvUse ?? 0 >= Self.fullKVUse { return self.busy }
        return idleFor >= Self.steadyAfter ? self.idle : self.usual
    }
}

/// When to scrape one endpoint: a steady beat with a little jitter, faster and slower by ``ScrapePace``, and slower
/// while it fails.
///
/// Endpoints begin at a random phase of the period and keep it, so that an agent's scrapes never bunch up: not at the
/// start, and not when a network that was cut comes back.
package struct ScrapeSchedule: Hashable, Sendable {
    /// The longest wait between two scrapes of an endpoint that fails, in seconds, unless an idle one waits longer.
    package static let longestPeriod: Seconds = 2
    /// How far a scrape may lie from its beat, as a share of the period.
    private static let jitter = 0.1

    package let pace: ScrapePace
    private var period: Seconds
    private var failures = 0
    private var idleSince: Seconds?
    /// The beat that the next scrape belongs to, without jitter.
    private var beat: Seconds

    /// A schedule that begins at `now`.
    package init(pace: ScrapePace = ScrapePace(), now: Seconds, using dice: inout some RandomNumberGenerator) {
        self.pace = pace
        self.period = pace.usual
        self.beat = now + Double.random(in: 0..<pace.usual, using: &dice)
    }

    /// When the first scrape is due.
    package var first: Seconds { self.beat }

    /// When the next scrape is due, after one that ended at `now`.
    ///
    /// Beats that went by meanwhile are left out.
    package mutating func next(
        after result: Result<EngineReading, ScrapeFault>,
        now: Seconds,
        using dice: inout some RandomNumberGenerator
    ) -> Seconds {
        switch result {
        case .success(let reading):
            self.failures = 0
            let isIdle = reading.running == 0 && reading.waiting == 0
            self.idleSince = isIdle ? self.idleSince ?? now : nil
            self.period = self.pace.period(after: reading, idleFor: self.idleSince.map { now - $0 } ?? 0)
        case .failure:
            self.failures += 1
            self.idleSince = nil
            self.period = self.pace.usual
        }
        let period = self.backedOffPeriod
        // Doubling keeps the phase within the first period, so endpoints that fail together would be scraped together.
        self.beat += period > self.period ? period * Double.random(in: 0.5...1, using: &dice) : period
        if self.beat <= now { self.beat += period * ((now - self.beat) / period).rounded(.up) }
        return max(now, self.beat + Double.random(in: -Self.jitter...Self.jitter, using: &dice) * period)
    }

    /// The period doubles with each failure in a row, and half of it is for the dice; one lost scrape alone changes
    /// nothing.
    private var backedOffPeriod: Seconds {
        let doublings = min(max(0, self.failures - 1), 16)
        return max(self.period, min(self.period * Double(1 << doublings), Self.longestPeriod))
    }
}
