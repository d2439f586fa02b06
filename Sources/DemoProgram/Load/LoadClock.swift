import FleetModel

/// Seconds since the load began.
struct LoadClock: Sendable {
    private let start: ContinuousClock.Instant

    init(start: ContinuousClock.Instant = .now) { self.start = start }

    var now: Seconds { (ContinuousClock.now - self.start) / .seconds(1) }

    /// - Throws: `CancellationError` when the task is cancelled first.
    func sleep(until time: Seconds) async throws {
        try await Task.sleep(until: self.start + .seconds(time), clock: .continuous)
    }
}
