import FleetModel
import Foundation

/// What a run came to: printed at its end, as text or as one JSON object.
struct Report: Codable, Hashable, Sendable {
    struct TTFT: Codable, Hashable, Sendable {
        @Nullable var p50: Seconds?
        @Nullable var p90: Seconds?
        @Nullable var p99: Seconds?
    }

    struct PlanStamp: Codable, Hashable, Sendable {
        @Nullable var epoch: UInt64?
        @Nullable var generation: UInt64?
    }

    var policy: String
    var seed: UInt64
    /// How long requests were sent.
    var durationSeconds: Seconds
    /// Requests sent.
    var requests: Int
    /// Never answered.
    var failed: Int
    /// Sent more than once; most of them were answered.
    var retried: Int
    /// Cut after their first byte.
    var interrupted: Int
    /// Still running when the run ended.
    var unfinished: Int
    /// Sent later than due, because the load generator itself was slow: with many of these, distrust the times.
    var late: Int
    var ttftSeconds: TTFT
    /// For each source region, which fraction of its answers came from which cluster.
    var share: [String: [String: Double]]
    /// The fraction of answers that came from a cluster outside the client's region.
    @Nullable var remoteShare: Double?
    /// See ``Recovery``; `nil` when nothing was made to fail.
    @Nullable var recoverySeconds: Seconds?
    /// The last plan that was seen in force.
    var plan: PlanStamp
    /// Processes that ended by themselves.
    var lostProcesses: [String]
    /// Where the logs are.
    var directory: String

    private enum CodingKeys: String, CodingKey {
        case policy, seed
        case durationSeconds = "duration_seconds"
        case requests, failed, retried, interrupted, unfinished, late
        case ttftSeconds = "ttft_seconds"
        case share
        case remoteShare = "remote_share"
        case recoverySeconds = "recovery_seconds"
        case plan
        case lostProcesses = "lost_processes"
        case directory
    }

    /// Counts a run's records.
    ///
    /// - Parameters:
    ///   - ledger: What the clients saw.
    ///   - durationSeconds: How long they sent.
    ///   - region: The region in which a cluster stands.
    init(ledger: Ledger, durationSeconds: Seconds, region: (String) -> RegionName?) {
        let ttfts = ledger.records.compactMap(\.ttft).sorted()
        let answered = ledger.records.filter { $0.cluster != nil }
        self.policy = ""
        self.seed = 0
        self.durationSeconds = durationSeconds.rounded(toPlaces: 6)
        self.requests = ledger.sent
        self.failed = ledger.failed
        self.retried = ledger.retried
        self.interrupted = ledger.interrupted
        self.unfinished = ledger.sent - ledger.records.count { $0.outcome != .unfinished }
        self.late = ledger.late
        self.ttftSeconds = TTFT(
            p50: Percentile.of(ttfts, 0.50)?.rounded(toPlaces: 6),
            p90: Percentile.of(ttfts, 0.90)?.rounded(toPlaces: 6),
            p99: Percentile.of(ttfts, 0.99)?.rounded(toPlaces: 6)
        )
        self.share = Dictionary(grouping: answered, by: \.source.text).mapValues { records in
            Dictionary(grouping: records.compactMap(\.cluster)) { $0 }
                .mapValues { (Double($0.count) / Double(records.count)).rounded(toPlaces: 6) }
        }
        let remote = answered.count { $0.cluster.flatMap(region) != $0.source }
        self.remoteShare = answered.isEmpty ? nil : (Double(remote) / Double(answered.count)).rounded(toPlaces: 6)
        self.recoverySeconds = ledger.failedAt.map {
            Recovery.seconds(ledger.records, failureAt: $0).rounded(toPlaces: 6)
        }
        self.plan = PlanStamp()
        self.lostProcesses = []
        self.directory = ""
    }

    /// One line of JSON; what is not known is `null`.
    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
}

/// A value that JSON shows as `null`, instead of leaving it out, when there is none.
@propertyWrapper
struct Nullable<Value: Codable & Hashable & Sendable>: Codable, Hashable, Sendable {
    var wrappedValue: Value?

    init(wrappedValue: Value?) { self.wrappedValue = wrappedValue }

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        self.wrappedValue = container.decodeNil() ? nil : try container.decode(Value.self)
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if let wrappedValue { try container.encode(wrappedValue) } else { try container.encodeNil() }
    }
}

extension Double {
    fileprivate func rounded(toPlaces places: Double) -> Double {
        let scale = pow(10, places)
        return (self * scale).rounded() / scale
    }
}
