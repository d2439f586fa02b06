package import FleetModel
package import FleetPlanning
import Foundation
import OperatorLink
package import PlanStream
package import StateStore
import SwiftProtobuf
import WeightSolver
import WireProtocol

/// The generations that are kept, each with everything it was made from: the newest ``recent``, and before them the
/// newest ``notable`` in which something happened.
///
/// Most generations of a calm night differ in nothing that an operator asks for; those that do stay for hours.
package actor PlanHistory {
    static let recent = 60
    static let notable = 400
    /// A generation whose record is larger is not kept: etcd takes no value over 1.5 MiB.
    static let mostBytes = 1 << 20
    /// A weight that moved by less since the last notable generation is not notable.
    static let notableMove = 0.02
    /// How the cause of a plan begins that an operator's change asked for.
    static let byOperator = "resources: "
    /// Requests per second of a row below which nobody follows it.
    static let leastDemand = 0.01
    /// One generation in so many seconds is notable in any case.
    static let notablePause: Seconds = 300

    private static let moved = "weights moved"

    private static let prefix = "history/"
    private static let summaries = "history-summary/"

    private let store: any StateStore
    private let software: String
    /// Oldest first; `nil` before they are read.
    private var kept: [(generation: UInt64, isNotable: Bool)]?
    private var lastPlan: Plan?
    private var lastNotable: (plan: Plan, madeAt: Seconds, change: UInt64)?

    /// - Parameters:
    ///   - store: Where generations are kept.
    ///   - software: The version that makes them.
    package init(store: any StateStore, software: String) {
        self.store = store
        self.software = software
    }

    /// Keeps a generation that was accepted.
    ///
    /// - Returns: `false` when it was too large to keep.
    package func keep(
        _ generation: HubMind.Generation,
        _ encoded: EncodedPlan,
        cause: String,
        change: UInt64,
        oldestDigest: Seconds,
        now: Seconds
    ) async throws -> Bool {
        var kept = try await self.loaded()
        let plan = generation.plan
        let followed = Self.followed(generation)
        let happened = self.happened(plan, followed, cause: cause, change: change, now: now)
        var summary = self.summary(generation, cause: cause, change: change)
        summary.oldestDigest = oldestDigest
        summary.what = happened ?? ""
        if let move = self.lastPlan.flatMap({ LargestMove(from: $0, to: plan, where: followed) }) {
            summary.largestMove = move.size
            if let happened, move.size >= 0.001 {
                summary.what = happened == Self.moved ? "\(move)" : "\(happened); \(move)"
            }
        }
        let isNotable = happened != nil
        let writes = try self.writes(generation, encoded, summary)
        self.lastPlan = plan
        guard let writes else { return false }

        kept.append((plan.version.generation, isNotable))
        let leaving = Self.leaving(&kept)
        let deletes = leaving.flatMap { generation -> [StoreTransaction.Write] in
            let number = StoredNumber.sortable(generation)
            return [.delete(key: Self.prefix + number), .delete(key: Self.summaries + number)]
        }
        _ = try await self.store.commit(StoreTransaction(writes + deletes))
        self.kept = kept
        if isNotable { self.lastNotable = (plan, now, change) }
        return true
    }

    /// Takes out of the list what is no longer to be kept; a few at a time, since a transaction is bounded.
    private static func leaving(_ kept: inout [(generation: UInt64, isNotable: Bool)]) -> [UInt64] {
        var leaving: [UInt64] = []
        let old = max(0, kept.count - Self.recent)
        var surplus = kept[..<old].count { $0.isNotable } - Self.notable
        var stays: [(generation: UInt64, isNotable: Bool)] = []
        for (place, entry) in kept.enumerated() {
            let mayLeave = place < old && leaving.count < 20
            if mayLeave, !entry.isNotable || surplus > 0 {
                if entry.isNotable { surplus -= 1 }
                leaving.append(entry.generation)
            } else {
                stays.append(entry)
            }
        }
        kept = stays
        return leaving
    }

    private func loaded() async throws -> [(generation: UInt64, isNotable: Bool)] {
        if let kept = self.kept { return kept }
        let kept = try await self.summaries(limit: .max).reversed().map { ($0.version.generation, !$0.what.isEmpty) }
        self.kept = kept
        return kept
    }

    /// What happened in a plan that an operator may ask for; `nil` for nothing.
    private func happened(
        _ plan: Plan,
        _ followed: (PoolName, PlanRow) -> Bool,
        cause: String,
        change: UInt64,
        now: Seconds
    ) -> String? {
        guard let (before, madeAt, knownChange) = self.lastNotable else { return "the first of this leader" }
        if change != knownChange {
            return cause.hasPrefix(Self.byOperator)
                ? String(cause.dropFirst(Self.byOperator.count)) : "resources changed"
        }
        var words: [String] = []
        for pool in plan.pools {
            let old = before[pool.pool]
            if old == nil { words.append("\(pool.pool) is new") }
            for cluster in pool.clusters {
                let was = old?.clusters.first { $0.name == cluster.name }
                if was == nil, old != nil { words.append("\(cluster.name) is new") }
                if let was, was.state != cluster.state { words.append("\(cluster.name) is \(cluster.state)") }
            }
            let names = Set(pool.clusters.map(\.name))
            for gone in (old?.clusters ?? []).map(\.name).filter({ !names.contains($0) }) {
                words.append("\(gone) is gone")
            }
        }
        for gone in before.pools where plan[gone.pool] == nil { words.append("\(gone.pool) is gone") }
        if !words.isEmpty { return Array(Set(words)).sorted().joined(separator: ", ") }
        if let move = LargestMove(from: before, to: plan, where: followed), move.size >= Self.notableMove {
            return Self.moved
        }
        return now - madeAt >= Self.notablePause ? "all quiet" : nil
    }

    /// Whether requests follow a row: the others move with nobody noticing.
    private static func followed(_ generation: HubMind.Generation) -> (PoolName, PlanRow) -> Bool {
        struct Place: Hashable {
            let pool: PoolName
            let source: RegionName
            let band: Band
        }
        var places: Set<Place> = []
        for question in generation.questions {
            for source in question.problem.sources {
                for band in Band.allCases where source.demand[band] > Self.leastDemand {
                    places.insert(Place(pool: question.problem.pool, source: source.region, band: band))
                }
            }
        }
        return { places.contains(Place(pool: $0, source: $1.source, band: $1.band)) }
    }

    private func summary(_ generation: HubMind.Generation, cause: String, change: UInt64) -> Isobar_V1_PlanSummary {
        let plan = generation.plan
        var summary = Isobar_V1_PlanSummary()
        summary.version = Isobar_V1_PlanVersion(plan.version)
        summary.madeUnixMs = Int64(Date().timeIntervalSince1970 * 1_000)
        summary.cause = cause
        summary.change = Int64(change)
        let demands = generation.questions.map { question in
            question.problem.sources.reduce(0) { sum, source in
                sum + Band.allCases.reduce(0) { $0 + source.demand[$1] }
            }
        }
        let demand = demands.reduce(0, +)
        summary.demand = demand
        summary.capacity = plan.pools.reduce(0) { $0 + $1.clusters.reduce(0) { $0 + ($1.capacity ?? 0) } }
        func mean(_ value: (PoolPlan) -> Double) -> Double {
            demand > 0 ? zip(plan.pools, demands).reduce(0) { $0 + value($1.0) * $1.1 } / demand : 0
        }
        summary.cost = mean(\.cost)
        summary.gap = mean(\.gap)
        summary.pools = UInt32(clamping: plan.pools.count)
        summary.clusters = UInt32(clamping: Set(plan.pools.flatMap { $0.clusters.map(\.name) }).count)
        let excluded = plan.pools.flatMap { $0.clusters.filter { $0.state != .active }.map(\.name) }
        summary.excluded = UInt32(clamping: Set(excluded).count)
        return summary
    }

    /// - Returns: `nil` when the record is too large.
    private func writes(
        _ generation: HubMind.Generation,
        _ encoded: EncodedPlan,
        _ summary: Isobar_V1_PlanSummary
    ) throws -> [StoreTransaction.Write]? {
        var kept = Isobar_V1_KeptPlan()
        kept.summary = summary
        kept.software = self.software
        kept.hash = encoded.envelope.hash
        kept.plan = encoded.message
        for place in kept.plan.pools.indices { kept.plan.pools[place].failover = [] }
        for (place, question) in generation.questions.enumerated() {
            var message = Isobar_V1_PoolQuestion()
            message.pool = question.problem.pool.description
            message.question = Data(question.bytes)
            message.because = generation.because[place]
            kept.questions.append(message)
        }
        let bytes: [UInt8] = try kept.serializedBytes()
        guard bytes.count <= Self.mostBytes else { return nil }
        let number = StoredNumber.sortable(generation.plan.version.generation)
        return [
            .put(key: Self.prefix + number, value: bytes),
            .put(key: Self.summaries + number, value: try summary.serializedBytes()),
        ]
    }

    // MARK: Reading

    /// The newest first.
    func summaries(limit: Int) async throws -> [Isobar_V1_PlanSummary] {
        try await self.store.list(prefix: Self.summaries).reversed().prefix(limit).map {
            try Isobar_V1_PlanSummary(serializedBytes: $0.value)
        }
    }

    /// One generation; 0 asks for the newest.
    ///
    /// - Throws: ``OperatorRefusal`` that names the nearest ones when it is not kept.
    func recall(_ generation: UInt64) async throws -> Isobar_V1_KeptPlan {
        let known = try await self.summaries(limit: .max).map(\.version.generation)
        guard let newest = known.first else {
            throw OperatorRefusal(.absent, "no plan is kept yet; `isobar check` says why there is none")
        }
        let wanted = generation == 0 ? newest : generation
        guard known.contains(wanted), let entry = try await self.store.get(Self.prefix + StoredNumber.sortable(wanted))
        else {
            let before = known.first { $0 < wanted }.map { "\($0)" }
            let after = known.last { $0 > wanted }.map { "\($0)" }
            let near = [before, after].compactMap { $0 }.joined(separator: " or ")
            throw OperatorRefusal(
                .absent,
                "generation \(wanted) is not kept, the nearest is \(near); `isobar plan history` shows all"
            )
        }
        return try Isobar_V1_KeptPlan(serializedBytes: entry.value)
    }
}

/// The weight that moved most between two plans.
struct LargestMove: CustomStringConvertible {
    let size: Double
    let description: String

    init?(from before: Plan, to after: Plan, where isFollowed: (PoolName, PlanRow) -> Bool) {
        var largest: (size: Double, text: String)?
        for pool in after.pools {
            guard let old = before[pool.pool] else { continue }
            for row in pool.rows where isFollowed(pool.pool, row) {
                let was = old.weights(from: row.source, band: row.band) ?? [:]
                for cluster in was.clusters(with: row.weights) {
                    let move = (row.weights[cluster] ?? 0) - (was[cluster] ?? 0)
                    guard abs(move) > largest?.size ?? 0 else { continue }
                    let points = (abs(move) * 1_000).rounded() / 10
                    let sign = move < 0 ? "−" : "+"
                    largest = (abs(move), "\(row.source) → \(cluster) \(sign)\(points) pt (\(row.band))")
                }
            }
        }
        guard let largest else { return nil }
        self.size = largest.size
        self.description = largest.text
    }
}
