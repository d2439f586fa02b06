import FleetModel

/// How many of an endpoint's requests end in an error, over about ten seconds: in one window too few end.
struct ErrorRate: Hashable, Sendable {
    private static let memory: Seconds = 10
    /// Of fewer requests there is no share.
    private static let fewest = 1.0

    private var failed = Average()
    private var ended = Average()

    /// Takes a window; one of an engine that does not say what failed changes nothing.
    mutating func add(_ window: LoadWindow) {
        guard let failed = window.failed else { return }
        self.failed.add(failed, over: window.length, memory: Self.memory)
        self.ended.add(failed + window.finished, over: window.length, memory: Self.memory)
    }

    /// Requests that failed, and all that ended, per second.
    var rates: (failed: Double, ended: Double) { (self.failed.value, self.ended.value) }

    /// The share of summed rates, 0 to 1; `nil` when nothing ends, so that an old share does not outlive its requests.
    static func share(failed: Double, ended: Double) -> Double? {
        ended * Self.memory >= Self.fewest ? min(failed / ended, 1) : nil
    }
}
