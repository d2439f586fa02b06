import FleetModel

/// What the clients have seen so far: every finished request, and the last seconds for the live table.
///
/// It keeps each request (some 100 bytes) since the percentiles of the report are exact: a day at 6.5 requests/s is
/// some 60 MB.
struct Ledger: Sendable {
    /// What the live table tells of one region's clients.
    struct Recent: Hashable, Sendable {
        /// Requests sent, per second.
        var demand: Double
        var ttftP50: Seconds?
        var ttftP99: Seconds?
        /// The fraction of answers that came from each cluster.
        var shares: [String: Double]
    }

    private struct Sent: Sendable {
        var time: Seconds
        var source: RegionName
    }

    private struct FirstContent: Sendable {
        var time: Seconds
        var source: RegionName
        var ttft: Seconds
        var cluster: String?
    }

    /// How far back the live table looks, in seconds.
    static let window: Seconds = 15

    private(set) var records: [Record] = []
    private(set) var sent = 0
    private(set) var failed = 0
    private(set) var retried = 0
    private(set) var interrupted = 0
    /// Requests sent later than they were due: the load generator, not the fleet, was slow.
    private(set) var late = 0
    /// When a region was made to fail; `nil` before, and when none is.
    private(set) var failedAt: Seconds?
    private var lastSent: [Sent] = []
    private var lastFirst: [FirstContent] = []

    var inFlight: Int { self.sent - self.records.count }

    mutating func send(from source: RegionName, at time: Seconds, isLate: Bool) {
        self.sent += 1
        if isLate { self.late += 1 }
        self.lastSent.append(Sent(time: time, source: source))
        self.lastSent.forget { $0.time <= time - Self.window }
    }

    mutating func firstContent(from source: RegionName, at time: Seconds, ttft: Seconds, cluster: String?) {
        self.lastFirst.append(FirstContent(time: time, source: source, ttft: ttft, cluster: cluster))
        self.lastFirst.forget { $0.time <= time - Self.window }
    }

    mutating func loseRegion(at time: Seconds) { self.failedAt = time }

    mutating func end(_ record: Record) {
        self.records.append(record)
        if record.retries > 0 { self.retried += 1 }
        switch record.outcome {
        case .answered, .unfinished: break
        case .failed: self.failed += 1
        case .interrupted: self.interrupted += 1
        }
    }

    /// The last ``window`` seconds of one region's clients.
    func recent(of source: RegionName, now: Seconds) -> Recent {
        let since = now - Self.window
        let sent = self.lastSent.count { $0.source == source && $0.time > since }
        let first = self.lastFirst.filter { $0.source == source && $0.time > since }
        let sorted = first.map(\.ttft).sorted()
        let clusters = Dictionary(grouping: first.compactMap(\.cluster)) { $0 }.mapValues { Double($0.count) }
        let named = clusters.values.reduce(0, +)
        return Recent(
            demand: Double(sent) / max(1, min(Self.window, now)),
            ttftP50: Percentile.of(sorted, 0.50),
            ttftP99: Percentile.of(sorted, 0.99),
            shares: clusters.mapValues { $0 / named }
        )
    }
}

extension Array {
    /// Drops the elements at the front that are `old`, once they are the greater part: cheap on average.
    fileprivate mutating func forget(_ old: (Element) -> Bool) {
        let count = self.prefix(while: old).count
        if count > self.count / 2 { self.removeFirst(count) }
    }
}
