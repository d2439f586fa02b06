package import FleetModel
package import Leadership
package import PlanStream
package import StateStore
import WireProtocol

/// The state came out of the store in a shape that this version cannot read.
struct StoredStateError: Error, CustomStringConvertible {
    let key: String
    let reason: String
    var description: String {
        "stored state: \(self.key): \(self.reason); restore a backup; "
            + "a new file also needs the gateways' plan files removed, since those hold newer epochs"
    }
}

/// The incarnations of agents: one counter a cluster, moved only by compare-and-set.
struct Incarnations: Sendable {
    let store: any StateStore

    /// A number greater than any before it in this cluster.
    func next(of cluster: ClusterName) async throws -> UInt64 {
        let key = "incarnations/\(cluster)"
        while true {
            let held = try await self.store.get(key)
            let next = try StoredNumber.read(held, key: key) + 1
            let condition = held.map { StoreTransaction.Condition.modified(key: key, at: $0.modified) }
            let transaction = StoreTransaction(
                when: [condition ?? .absent(key: key)],
                [.put(key: key, value: StoredNumber.bytes(next))]
            )
            if case .committed = try await self.store.commit(transaction) { return next }
        }
    }
}

/// The secret of which the keys of all frames are made; every hub replica has the same, since the store does.
struct FrameSecret: Sendable {
    private static let key = "secrets/frames"

    let store: any StateStore

    /// The keys of the fleet; the first hub to ask makes the secret.
    func keys() async throws -> FrameKeys {
        while true {
            if let held = try await self.store.get(Self.key) {
                do throws(SealFault) {
                    return try FrameKeys(secret: held.value)
                } catch {
                    throw StoredStateError(key: Self.key, reason: "is not \(FrameKeys.secretLength) bytes")
                }
            }
            _ = try await self.store.commit(
                StoreTransaction(
                    when: [.absent(key: Self.key)],
                    [.put(key: Self.key, value: FrameKeys.makeSecret())]
                )
            )
        }
    }
}

/// The plan in force, as the leader of one epoch writes it.
package struct PlanRecord: Sendable {
    static let planKey = "plan"

    private let store: any StateStore
    /// The store's revision at which the leader's key came to be.
    let term: UInt64
    package private(set) var chain: PlanChain
    private var planModified: Int64?

    /// Reads the plan that stands, to go on from it in the epoch of a term.
    ///
    /// - Parameters:
    ///   - store: Where it stands.
    ///   - term: The revision at which the leader's key came to be; greater than that of any leader before. The epoch
    ///     is this above the store's ``EpochFloor``.
    /// - Returns: The record, and the plan that the last leader left.
    /// - Throws: ``StoreError``, or ``StoredStateError`` for a plan that this version cannot read.
    package static func open(_ store: any StateStore, term: UInt64) async throws -> (record: PlanRecord, plan: Plan?) {
        let held = try await store.get(self.planKey)
        let plan = try held.map { try self.read($0).plan }
        let floor = try await EpochFloor.read(from: store)
        let chain = PlanChain(epoch: floor + term, head: plan?.version)
        return (PlanRecord(store: store, term: term, chain: chain, planModified: held?.modified), plan)
    }

    /// - Throws: ``StoredStateError`` when this version cannot read it.
    static func read(_ entry: StoreEntry) throws(StoredStateError) -> (plan: Plan, encoded: EncodedPlan) {
        do throws(PlanUnreadable) {
            return try EncodedPlan.read(entry.value)
        } catch {
            throw StoredStateError(key: entry.key, reason: error.reason)
        }
    }

    private init(store: any StateStore, term: UInt64, chain: PlanChain, planModified: Int64?) {
        self.store = store
        self.term = term
        self.chain = chain
        self.planModified = planModified
    }

    /// Puts a plan in force: only if this hub still leads and nobody has put another one there.
    ///
    /// After any outcome but ``CommitOutcome/committed(revision:)`` this record is of no more use: what stands has to
    /// be read again.
    package mutating func accept(_ plan: EncodedPlan) async throws -> CommitOutcome {
        let parent =
            self.planModified.map { StoreTransaction.Condition.modified(key: Self.planKey, at: $0) }
            ?? .absent(key: Self.planKey)
        let outcome = try await self.store.commit(
            StoreTransaction(
                when: [.created(key: Ballot.leaderKey, at: Int64(self.term)), parent],
                [.put(key: Self.planKey, value: try plan.bytes())]
            )
        )
        if case .committed(let revision) = outcome {
            self.planModified = revision
            self.chain.accepted(plan.version)
        }
        return outcome
    }
}

/// A number in the store: decimal digits, which an operator can read.
enum StoredNumber {
    static func read(_ entry: StoreEntry?, key: String) throws(StoredStateError) -> UInt64 {
        guard let entry else { return 0 }
        guard let number = UInt64(String(decoding: entry.value, as: UTF8.self)) else {
            throw StoredStateError(key: key, reason: "is not a number")
        }
        return number
    }

    static func bytes(_ number: UInt64) -> [UInt8] { Array("\(number)".utf8) }
}
