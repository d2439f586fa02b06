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
    /// Of the time to first token: the way there and back.
    package var distance: Seconds = 0
    /// Of the time to first token: from the seat in the engine to the token; what is left was waiting.
    package var prefill: Seconds = 0
}

/// What a mean time to first token is made of.
package struct FirstTokenParts: Hashable, Sendable {
    /// The way there and back.
    package var distance: Seconds = 0
    /// For a seat in an engine, with the 6 ms of its front end, and tries that failed.
    package var waiting: Seconds = 0
    /// From the seat to the first token: the prompt's steps, which it shares with others.
    package var prefill: Seconds = 0
    /// The share of all answered requests that this is of.
    package var share = 0.0

    init(_ records: [RequestRecord], of total: Int) {
        guard !records.isEmpty else { return }
        let count = Double(records.count)
        self.distance = records.reduce(0) { $0 + $1.distance } / count
        self.prefill = records.reduce(0) { $0 + $1.prefill } / count
        self.waiting = records.reduce(0) { $0 + ($1.ttft ?? 0) } / count - self.distance - self.prefill
        self.share = count / Double(max(1, total))
    }
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
    package var parts = FirstTokenParts([], of: 0)
    /// The same of what each cluster served, by its place.
    package var partsOfClusters: [FirstTokenParts] = []
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
        self.parts = FirstTokenParts(answered, of: answered.count)
        let byCluster = Dictionary(grouping: answered) { $0.cluster ?? 0 }
        self.partsOfClusters = (0...(byCluster.keys.max() ?? 0)).map { place in
            FirstTokenParts(byCluster[place] ?? [], of: answered.count)
        }
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
