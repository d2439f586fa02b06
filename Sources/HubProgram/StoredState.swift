import FleetModel
import Leadership
import PlanStream
import StateStore
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

/// The leadership term and the plan in force.
struct PlanRecord: Sendable {
    private static let leaderKey = "leader"
    private static let planKey = "plan"

    let store: any StateStore
    /// The store's revision at which the leader key came to be.
    private let leader: Int64
    private(set) var chain: PlanChain
    private var planModified: Int64?

    /// Takes the leadership and reads the plan that stands.
    ///
    /// The leader key is made anew, so its creation revision is greater than any before: the epoch.
    ///
    /// - Returns: The record, and the plan that the last leader left.
    static func lead(in store: any StateStore) async throws -> (record: PlanRecord, plan: Plan?) {
        _ = try await store.commit(StoreTransaction([.delete(key: self.leaderKey)]))
        _ = try await store.commit(
            StoreTransaction(when: [.absent(key: self.leaderKey)], [.put(key: self.leaderKey, value: [])])
        )
        guard let leader = try await store.get(self.leaderKey) else {
            throw StoredStateError(key: self.leaderKey, reason: "was taken by another hub")
        }
        let held = try await store.get(self.planKey)
        var plan: Plan?
        if let held {
            do throws(PlanUnreadable) {
                plan = try Plan(bytes: held.value)
            } catch {
                throw StoredStateError(key: self.planKey, reason: error.reason)
            }
        }
        let floor = try await EpochFloor.read(from: store)
        let chain = PlanChain(epoch: floor + UInt64(leader.created), head: plan?.version)
        let record = PlanRecord(store: store, leader: leader.created, chain: chain, planModified: held?.modified)
        return (record, plan)
    }

    private init(store: any StateStore, leader: Int64, chain: PlanChain, planModified: Int64?) {
        self.store = store
        self.leader = leader
        self.chain = chain
        self.planModified = planModified
    }

    /// Puts a plan in force: only if this hub still leads and nobody has put another one there.
    ///
    /// - Returns: `false` when this hub no longer leads.
    mutating func accept(_ plan: EncodedPlan) async throws -> Bool {
        let parent =
            self.planModified.map { StoreTransaction.Condition.modified(key: Self.planKey, at: $0) }
            ?? .absent(key: Self.planKey)
        let transaction = StoreTransaction(
            when: [.created(key: Self.leaderKey, at: self.leader), parent],
            [.put(key: Self.planKey, value: try plan.bytes())]
        )
        guard case .committed(let revision) = try await self.store.commit(transaction) else { return false }
        self.planModified = revision
        self.chain.accepted(plan.version)
        return true
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
