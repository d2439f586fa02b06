import FleetModel

/// What a gateway's own requests and probes say of one address.
///
/// A failure ejects the address for a pause that doubles from failure to failure; one success
/// readmits it. Requests are the surest probe there is: telemetry may be late, a refused connection
/// is not.
struct TargetHealth: Sendable {
    static let firstEjection: Seconds = 1
    static let longestEjection: Seconds = 10
    /// Longer than the pause between two probes with the time-out of one.
    static let probeEjection: Seconds = 2

    private(set) var failures = 0
    private(set) var ejectedUntil: Seconds = -.infinity

    func isEjected(now: Seconds) -> Bool { now < self.ejectedUntil }

    mutating func failed(now: Seconds) {
        // Requests that were already on their way when it was ejected say nothing new.
        guard !self.isEjected(now: now) else { return }
        let pause = min(Self.longestEjection, Self.firstEjection * Double(1 << min(self.failures, 10)))
        self.failures += 1
        self.ejectedUntil = now + pause
    }

    /// A probe found nothing: the address stays ejected at least until the next probe has spoken.
    mutating func probeFailed(now: Seconds) {
        self.failed(now: now)
        self.ejectedUntil = max(self.ejectedUntil, now + Self.probeEjection)
    }

    mutating func succeeded() {
        self.failures = 0
        self.ejectedUntil = -.infinity
    }
}
