package import FleetModel

/// What became of one request, as its client saw it.
package struct RequestRecord: Sendable {
    /// When the client sent it, in seconds after the run began.
    package var at: Seconds
    /// `nil` when no token came.
    package var ttft: Seconds?
    /// From the first byte sent to the last one received; `nil` when the answer was not complete.
    package var endToEnd: Seconds?
    /// Mean seconds between its tokens; `nil` with one token.
    package var interToken: Seconds?
    package var band: Int
    /// The place of the client's region, and of the cluster that served it last.
    package var source: Int
    package var cluster: Int?
    package var isRemote: Bool
}

/// A distribution in four numbers; percentiles are exact (nearest rank over all values).
package struct Distribution: Hashable, Sendable {
    package var mean = 0.0
    package var p50 = 0.0
    package var p90 = 0.0
    package var p99 = 0.0

    package init(_ values: [Double]) {
        guard !values.isEmpty else { return }
        let sorted = values.sorted()
        func percentile(_ share: Double) -> Double {
            let rank = Int((share * Double(sorted.count)).rounded(.up))
            return sorted[min(max(rank, 1), sorted.count) - 1]
        }
        self.mean = values.reduce(0, +) / Double(values.count)
        self.p50 = percentile(0.5)
        self.p90 = percentile(0.9)
        self.p99 = percentile(0.99)
    }
}

/// What a policy made of a run.
package struct PolicyOutcome: Sendable {
    /// Requests sent within the measured time.
    package var requests = 0
    package var ttft = Distribution([])
    package var endToEnd = Distribution([])
    /// Of the means of the requests.
    package var interToken = Distribution([])
    /// The share of requests that were complete, with the first token within their band's objective.
    package var goodput = 0.0
    /// The share of answered requests that left their client's region.
    package var remoteShare = 0.0
    /// The share of prompt tokens found in a prefix cache.
    package var prefixHitShare = 0.0
    /// Mean over ticks and sources of ‖Δw‖₁; `nil` where there are no weights.
    package var churn: Double?
    /// Requests that got no token.
    package var rejected = 0
    /// Requests whose answer was cut off.
    package var cut = 0
    /// Tries after the first.
    package var retries = 0
    /// The capacity that agents believed in over the true one, at the end of the run.
    package var capacityBelief: Double?
    /// When the last request was answered.
    package var finishedAt: Seconds = 0

    package init() {}

    package init(records: [RequestRecord], bands: [WorldBand]) {
        self.requests = records.count
        let answered = records.filter { $0.ttft != nil }
        self.ttft = Distribution(records.compactMap(\.ttft))
        self.endToEnd = Distribution(records.compactMap(\.endToEnd))
        self.interToken = Distribution(records.compactMap(\.interToken))
        let good = records.count { record in
            guard let ttft = record.ttft, record.endToEnd != nil else { return false }
            return ttft <= bands[record.band].objective
        }
        self.goodput = records.isEmpty ? 0 : Double(good) / Double(records.count)
        self.remoteShare =
            answered.isEmpty ? 0 : Double(answered.count { $0.isRemote }) / Double(answered.count)
        self.rejected = records.count - answered.count
        self.cut = answered.count { $0.endToEnd == nil }
    }
}
