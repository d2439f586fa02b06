package import FleetModel
import GossipCore
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
    ///
    /// - Parameters:
    ///   - cluster: Whose.
    ///   - above: The greatest that is known to have been given; more than what is stored when somebody put an older
    ///     copy of the store in its place.
    /// - Returns: The number, which is stored as the greatest from now on.
    /// - Throws: ``StoreError``, or ``StoredStateError`` when no number is stored there.
    func next(of cluster: ClusterName, above: UInt32 = 0) async throws -> UInt64 {
        let key = "incarnations/\(cluster)"
        while true {
            let held = try await self.store.get(key)
            let next = max(try StoredNumber.read(held, key: key), UInt64(above)) + 1
            let condition = held.map { StoreTransaction.Condition.modified(key: key, at: $0.modified) }
            let transaction = StoreTransaction(
                when: [condition ?? .absent(key: key)],
                [.put(key: key, value: StoredNumber.bytes(next))]
            )
            if case .committed = try await self.store.commit(transaction) { return next }
        }
    }
}

/// The numbers by which frames name agents: one for each name in each cluster, and none is given twice.
struct AgentNumbers: Sendable {
    private static let lastKey = "agents-last"
    /// Names of one cluster that are kept, since pods have a new one with every roll-out.
    ///
    /// The one that came first makes room; should it come back, it gets another number.
    static let namesMax = 256

    let store: any StateStore

    func number(of agent: AgentName, in cluster: ClusterName) async throws -> UInt32 {
        let key = "agents/\(cluster)/\(agent)"
        while true {
            if let held = try await self.store.get(key) {
                return try StoredNumber.word(try StoredNumber.read(held, key: key), key: key)
            }
            let last = try await self.store.get(Self.lastKey)
            let next = try StoredNumber.read(last, key: Self.lastKey) + 1
            let number = try StoredNumber.word(next, key: Self.lastKey)
            let counter = last.map { StoreTransaction.Condition.modified(key: Self.lastKey, at: $0.modified) }
            var writes: [StoreTransaction.Write] = [
                .put(key: key, value: StoredNumber.bytes(next)),
                .put(key: Self.lastKey, value: StoredNumber.bytes(next)),
            ]
            let held = try await self.store.list(prefix: "agents/\(cluster)/")
                .map { (key: $0.key, number: try StoredNumber.read($0, key: $0.key)) }
                .sorted { $0.number < $1.number }
            // In one transaction at most 128 writes; a few more than needed make up for what an older hub left.
            let surplus = min(max(0, held.count + 1 - Self.namesMax), 64)
            writes += held.prefix(surplus).map { .delete(key: $0.key) }
            let isNew: [StoreTransaction.Condition] = [.absent(key: key), counter ?? .absent(key: Self.lastKey)]
            let transaction = StoreTransaction(when: isNew, writes)
            if case .committed = try await self.store.commit(transaction) { return number }
        }
    }
}

/// The numbers by which the gossip names hub replicas, 0 to 15: each stands in the store with the replica's name.
struct HubNumbers: Sendable {
    static let prefix = "hubs/"

    let store: any StateStore

    /// A replica's number: the one it had, one that nobody has, or that of a replica that is gone.
    ///
    /// - Throws: ``StoreError``, or ``StoredStateError`` when 16 replicas are there.
    func number(of name: String) async throws -> HubID {
        while true {
            var held: [HubID: StoreEntry] = [:]
            for entry in try await self.store.read(prefix: Self.prefix).entries {
                guard let number = Int(entry.key.dropFirst(Self.prefix.count)).flatMap({ HubID($0) }) else { continue }
                if entry.value == Array(name.utf8) { return number }
                held[number] = entry
            }
            let all = (0..<HubID.countMax).compactMap { HubID($0) }
            let condition: StoreTransaction.Condition
            let number: HubID
            if let free = all.first(where: { held[$0] == nil }) {
                (number, condition) = (free, .absent(key: Self.prefix + "\(free.number)"))
            } else {
                let there = Ballot.members(try await self.store.read(prefix: Ballot.membersPrefix)).map(\.name)
                let left = all.first {
                    held[$0].map { !there.contains(String(decoding: $0.value, as: UTF8.self)) } ?? false
                }
                guard let left, let entry = held[left] else {
                    throw StoredStateError(key: Self.prefix, reason: "\(HubID.countMax) replicas are there already")
                }
                (number, condition) = (left, .modified(key: entry.key, at: entry.modified))
            }
            let transaction = StoreTransaction(
                when: [condition],
                [.put(key: Self.prefix + "\(number.number)", value: Array(name.utf8))]
            )
            if case .committed = try await self.store.commit(transaction) { return number }
        }
    }
}

/// The secret of which the keys of all frames are made; every hub replica has the same, since the store does.
///
/// No backup holds it: a restored store gets a new one, so that frames which were sealed before are of no use after it.
struct FrameSecret: Sendable {
    static let key = "secrets/frames"

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

    /// A number that has to fit in 32 bits.
    static func word(_ number: UInt64, key: String) throws(StoredStateError) -> UInt32 {
        guard let word = UInt32(exactly: number) else {
            throw StoredStateError(key: key, reason: "has come to its end, \(UInt32.max)")
        }
        return word
    }

    static func bytes(_ number: UInt64) -> [UInt8] { Array("\(number)".utf8) }
}
