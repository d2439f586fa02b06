/// The programs' clock: seconds since it was made, never backwards, counting through suspends.
package struct MonotonicClock: Sendable {
    private let start = ContinuousClock.now

    package init() {}

    package var now: Double {
        let elapsed = (ContinuousClock.now - self.start).components
        return Double(elapsed.seconds) + Double(elapsed.attoseconds) * 1e-18
    }
}
