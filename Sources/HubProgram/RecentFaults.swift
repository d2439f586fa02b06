import FleetModel

/// Which faults have been told lately, so that one that lasts does not fill the log.
struct RecentFaults: Sendable {
    /// The same fault is told again after this, in seconds.
    static let pause: Seconds = 5
    private static let most = 64

    private var toldAt: [String: Seconds] = [:]

    /// Whether a fault is to be told now; then it has been.
    mutating func isNews(_ fault: String, now: Seconds) -> Bool {
        if let told = self.toldAt[fault], now - told < Self.pause { return false }
        if self.toldAt.count >= Self.most { self.toldAt = self.toldAt.filter { now - $0.value < Self.pause } }
        guard self.toldAt.count < Self.most else { return false }
        self.toldAt[fault] = now
        return true
    }
}
