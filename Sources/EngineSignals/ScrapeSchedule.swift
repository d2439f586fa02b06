package import FleetModel

/// When to scrape one endpoint: a steady beat with a little jitter, and slower while it fails.
///
/// Endpoints begin at a random phase of the period and keep it, so that an agent's scrapes never bunch up.
package struct ScrapeSchedule: Hashable, Sendable {
    /// The longest wait between two scrapes of an endpoint that fails, in seconds.
    package static let longestPeriod: Seconds = 2
    /// How far a scrape may lie from its beat, as a share of the period.
    private static let jitter = 0.1

    /// Seconds between two scrapes of a healthy endpoint.
    package let period: Seconds
    private var failures = 0
    /// The beat that the next scrape belongs to, without jitter.
    private var beat: Seconds

    /// A schedule that begins at `now`; 0.2 s is 5 Hz.
    package init(period: Seconds = 0.2, now: Seconds, using dice: inout some RandomNumberGenerator) {
        self.period = period
        self.beat = now + Double.random(in: 0..<max(period, .leastNonzeroMagnitude), using: &dice)
    }

    /// When the first scrape is due.
    package var first: Seconds { self.beat }

    /// When the next scrape is due, after one that ended at `now`.
    ///
    /// Beats that went by meanwhile are left out.
    package mutating func next(
        succeeded: Bool,
        now: Seconds,
        using dice: inout some RandomNumberGenerator
    ) -> Seconds {
        self.failures = succeeded ? 0 : self.failures + 1
        let period = self.currentPeriod
        self.beat += period
        if self.beat <= now { self.beat += period * ((now - self.beat) / period).rounded(.up) }
        return max(now, self.beat + Double.random(in: -Self.jitter...Self.jitter, using: &dice) * period)
    }

    /// The period doubles with each failure in a row; one lost scrape alone changes nothing.
    private var currentPeriod: Seconds {
        let doublings = min(max(0, self.failures - 1), 16)
        return max(self.period, min(self.period * Double(1 << doublings), Self.longestPeriod))
    }
}
