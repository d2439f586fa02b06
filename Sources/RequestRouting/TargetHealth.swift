import FleetModel

/// What a gateway's own requests and probes say of one address.
///
/// A failure, such as a refused connection or no answer in time, ejects the address for a pause that doubles from
/// failure to failure, and so do five answers in a row with an error of the server, or errors that are half of the
/// answers of late; one success readmits it. Requests are the surest probe there is: telemetry may be late, a
/// refused connection is not. After a pause the address takes part slowly at first.
///
/// Errors also count as load for a while: a server that fails fast is never busy, and would draw every request to itself
/// if only what it has under way counted.
struct TargetHealth: Sendable {
    static let firstEjection: Seconds = 1
    static let longestEjection: Seconds = 10
    /// Longer than the pause between two probes with the time-out of one.
    static let probeEjection: Seconds = 2
    /// Errors in a row that eject: Envoy's `consecutive_5xx`.
    static let errorsInARow = 5
    /// The share of answers with an error that ejects, of at least so many answers within about ``errorMemory``: errors
    /// between good answers are no row.
    static let errorShare = 0.5
    static let answersMin = 10.0
    /// How long an error counts as load, in seconds.
    static let errorMemory: Seconds = 10
    /// How many running requests an error weighs as.
    static let errorWeight = 8.0
    /// How long until an address that came back gets its whole share, in seconds.
    static let slowStart: Seconds = 10
    /// The share that it begins with.
    static let slowStartShare = 0.1

    private(set) var failures = 0
    var ejectedUntil: Seconds = -.infinity
    private(set) var errorsInARow = 0
    /// When it began to take requests, after it was new or ejected.
    var startedAt: Seconds = -.infinity
    private var errors = 0.0
    private var erroredAt: Seconds = -.infinity
    /// Answers of late, good and bad, fading as errors do.
    private var answers = 0.0
    private var answeredAt: Seconds = -.infinity

    func isEjected(now: Seconds) -> Bool { now < self.ejectedUntil }

    /// The share of its requests that an address takes, from a tenth to all.
    func share(now: Seconds) -> Double {
        let age = now - self.startedAt
        return age >= Self.slowStart ? 1 : max(Self.slowStartShare, age / Self.slowStart)
    }

    /// What its errors weigh, in running requests.
    func errorLoad(now: Seconds) -> Int {
        guard self.errors > 0 else { return 0 }
        return Int(Self.errorWeight * self.errors * decay(now - self.erroredAt, over: Self.errorMemory))
    }

    mutating func failed(now: Seconds) {
        self.remember(now: now)
        // Requests that were already on their way when it was ejected say nothing new.
        guard !self.isEjected(now: now) else { return }
        let pause = min(Self.longestEjection, Self.firstEjection * Double(1 << min(self.failures, 10)))
        self.failures += 1
        self.ejectedUntil = now + pause
        self.startedAt = self.ejectedUntil
    }

    /// It answered, with an error of its own (500 to 599).
    mutating func errored(now: Seconds) {
        self.errorsInARow += 1
        self.noteAnswer(now: now)
        let errors = 1 + self.errors * decay(now - self.erroredAt, over: Self.errorMemory)
        let isMostly = self.answers >= Self.answersMin && errors >= Self.errorShare * self.answers
        guard self.errorsInARow >= Self.errorsInARow || isMostly else { return self.remember(now: now) }
        self.errorsInARow = 0
        // What comes after the pause is judged by itself.
        self.answers = 0
        self.failed(now: now)
    }

    /// A probe found nothing: the address stays ejected at least until the next probe has spoken.
    mutating func probeFailed(now: Seconds) {
        self.failed(now: now)
        self.ejectedUntil = max(self.ejectedUntil, now + Self.probeEjection)
    }

    mutating func succeeded(now: Seconds) {
        self.noteAnswer(now: now)
        self.failures = 0
        self.errorsInARow = 0
        if self.isEjected(now: now) { self.startedAt = now }
        self.ejectedUntil = -.infinity
    }

    private mutating func noteAnswer(now: Seconds) {
        self.answers = min(1_000, self.answers * decay(now - self.answeredAt, over: Self.errorMemory) + 1)
        self.answeredAt = now
    }

    private mutating func remember(now: Seconds) {
        self.errors = min(1_000, self.errors * decay(now - self.erroredAt, over: Self.errorMemory) + 1)
        self.erroredAt = now
    }
}
