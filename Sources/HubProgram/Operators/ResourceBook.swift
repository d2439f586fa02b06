import FleetModel
import Foundation
import OperatorLink
import Resources
import StateStore
import SwiftProtobuf
import WireProtocol

/// The resources in force as the store has them, and the only way to change them.
///
/// Every change moves one counter by compare-and-set, so that what was checked against the others still holds when it
/// is written, whichever hub writes.
actor ResourceBook {
    /// The resources as of one change.
    struct Snapshot: Sendable {
        /// Counts changes.
        var change: UInt64 = 0
        var stored: [ResourceKey: Isobar_V1_StoredResource] = [:]
        var set = ResourceSet()
    }

    /// A change that is asked for.
    struct Request: Sendable {
        /// What is to stand there; `nil` for what is to go.
        var resources: [(key: ResourceKey, resource: Resource?, version: Int64?)]
        var ignoresAbsent = false
        var actor: String
        /// The actor is the name in a certificate.
        var isProven = false
        var peer: String
        var isDryRun: Bool
    }

    struct Outcome: Sendable {
        var answer: Isobar_V1_ChangeAnswer
        /// What is in force, or would be.
        var set: ResourceSet
        /// Whether anything was written.
        var isWritten = false
    }

    /// A transaction of etcd has at most 128 writes.
    static let mostInOneRequest = 100
    static let mostBytes = 64 * 1024
    /// So many changes are remembered.
    static let auditLength: UInt64 = 1_000

    private static let prefix = "resources/"
    /// The count of changes, at which every change moves.
    static let headKey = "resource-changes"
    /// What both of them begin with.
    private static let allKeys = "resource"
    private static let auditPrefix = "audit/"

    private let store: any StateStore
    /// What is in force, for those who watch.
    nonisolated let snapshots = NewestWins<Snapshot>()
    private var snapshot = Snapshot()
    private var headModified: Int64?
    private var isLoaded = false
    /// Changes that were begun here, and those of them that are not through.
    private var writes = 0
    private var writesOpen = 0

    init(store: any StateStore) { self.store = store }

    // MARK: Reading

    /// Reads what is in force when it is not what was read last.
    ///
    /// - Returns: What was read, when it is new.
    @discardableResult
    func refresh() async throws -> Snapshot? {
        guard let (snapshot, head) = try await self.read() else { return nil }
        self.adopt(snapshot, head: head)
        return snapshot
    }

    /// Reads what another hub has changed; what this one is writing comes into force by its writer, who can say why.
    func catchUp() async throws {
        let before = self.writes
        guard self.writesOpen == 0, let (snapshot, head) = try await self.read(), self.writes == before else { return }
        self.adopt(snapshot, head: head)
    }

    private func read() async throws -> (Snapshot, head: Int64?)? {
        let newest = try await self.store.get(Self.headKey)
        guard !self.isLoaded || newest?.modified != self.headModified else { return nil }
        // The count and what it counts as of one revision, or a change in between would show under the old count.
        let entries = try await self.store.list(prefix: Self.allKeys)
        let head = entries.first { $0.key == Self.headKey }
        var snapshot = Snapshot()
        snapshot.change = try StoredNumber.read(head, key: Self.headKey)
        for entry in entries where entry.key.hasPrefix(Self.prefix) {
            do {
                var stored = try Isobar_V1_StoredResource(serializedBytes: entry.value)
                stored.resource.resourceVersion = entry.modified
                let resource = try stored.resource.model()
                snapshot.stored[resource.key] = stored
                snapshot.set[resource.key] = resource
            } catch {
                throw StoredStateError(key: entry.key, reason: "\(error)")
            }
        }
        return (snapshot, head?.modified)
    }

    private func adopt(_ snapshot: Snapshot, head: Int64?) {
        // A reading that took long may bring an older picture than one that began later.
        guard !self.isLoaded || snapshot.change >= self.snapshot.change else { return }
        self.snapshot = snapshot
        self.headModified = head
        self.isLoaded = true
        self.snapshots.send(snapshot)
    }

    // MARK: Changing

    /// A write whose answer was lost: it has happened, or it may still, as long as the count of changes does not move.
    private struct LostWrite {
        var number: UInt64
        /// Its audit record, by which it is known again.
        var record: [UInt8]
        var answer: Isobar_V1_ChangeAnswer
    }

    private enum Written {
        case done(Outcome)
        /// Somebody else was faster.
        case overtaken
        case lost(LostWrite)
    }

    /// Checks the change and writes it: all of it or nothing.
    func change(_ request: Request) async throws -> Outcome {
        self.writes += 1
        self.writesOpen += 1
        defer { self.writesOpen -= 1 }
        var lost: [LostWrite] = []
        // Another hub may have changed something in between; then everything is checked anew.
        for _ in 0..<16 {
            try await self.refresh()
            // Before anything is judged: what stands there now may be what this request wrote.
            if let outcome = try await self.outcome(of: &lost) { return outcome }
            let (next, answer) = self.plan(request)
            guard answer.problems.isEmpty, !request.isDryRun, answer.changes.contains(where: \.isChange) else {
                return Outcome(answer: answer, set: answer.problems.isEmpty ? next : self.snapshot.set)
            }
            switch try await self.write(answer, request) {
            case .done(let outcome): return outcome
            case .overtaken: continue
            case .lost(let write): lost.append(write)
            }
        }
        throw OperatorRefusal(.unavailable, "others change resources all the time; try again")
    }

    /// Whether one of the writes whose answers were lost is what moved the count of changes; those that it passed by
    /// will never happen.
    private func outcome(of lost: inout [LostWrite]) async throws -> Outcome? {
        let change = self.snapshot.change
        for write in lost where write.number <= change {
            guard let entry = try await self.store.get(Self.auditKey(write.number)), entry.value == write.record else {
                continue
            }
            var answer = write.answer
            for place in answer.changes.indices where answer.changes[place].isChange && answer.changes[place].hasAfter {
                answer.changes[place].resourceVersion = entry.modified
            }
            return Outcome(answer: answer, set: self.snapshot.set, isWritten: true)
        }
        lost.removeAll { $0.number <= change }
        return nil
    }

    /// What would stand there, and what that changes.
    private func plan(_ request: Request) -> (set: ResourceSet, answer: Isobar_V1_ChangeAnswer) {
        var answer = Isobar_V1_ChangeAnswer()
        var next = self.snapshot.set
        func refuse(_ key: ResourceKey, _ problem: ResourceProblem, isConflict: Bool = false) {
            var message = Isobar_V1_ResourceProblem()
            message.key = Isobar_V1_ResourceKey(key)
            message.path = problem.path
            message.reason = problem.reason
            message.conflict = isConflict
            answer.problems.append(message)
        }
        if request.resources.count > Self.mostInOneRequest {
            let reason = "\(request.resources.count) at once are too many; at most \(Self.mostInOneRequest)"
            refuse(request.resources[0].key, ResourceProblem(path: "", reason: reason))
        }
        var seen: Set<ResourceKey> = []
        for (key, resource, version) in request.resources {
            let held = self.snapshot.set[key]
            if !seen.insert(key).inserted {
                refuse(key, ResourceProblem(path: "metadata.name", reason: "is there twice; remove one"))
            }
            for problem in resource?.specProblems ?? [] { refuse(key, problem) }
            if let version, held?.resourceVersion != version {
                let now = held?.resourceVersion.map { "is \($0) now" } ?? "is gone"
                let reason =
                    "you changed what stood at \(version), and it \(now); read it again with "
                    + "`isobar get \(key.kind.plural) \(key.path) -o yaml`"
                refuse(key, ResourceProblem(path: "metadata.resourceVersion", reason: reason), isConflict: true)
            }
            if resource == nil, held == nil, !request.ignoresAbsent {
                refuse(key, ResourceProblem(path: "metadata.name", reason: "there is no such \(key.kind.rawValue)"))
            }
            var change = Isobar_V1_ResourceChange()
            change.key = Isobar_V1_ResourceKey(key)
            change.outcome = Self.outcome(from: held, to: resource)
            if let held { change.before = Isobar_V1_Resource(held) }
            if let resource { change.after = Isobar_V1_Resource(resource) }
            if let version = held?.resourceVersion { change.resourceVersion = version }
            if change.isChange { next[key] = resource }
            answer.changes.append(change)
        }
        for (key, problem) in next.conflicts where seen.contains(key) { refuse(key, problem) }
        return (next, answer)
    }

    private static func outcome(from held: Resource?, to resource: Resource?) -> String {
        switch (held, resource) {
        case (nil, nil): "absent"
        case (nil, .some): "created"
        case (.some, nil): "deleted"
        case (.some(let held), .some(let resource)): held.isSame(as: resource) ? "unchanged" : "changed"
        }
    }

    private func write(_ answer: Isobar_V1_ChangeAnswer, _ request: Request) async throws -> Written {
        let now = Int64(Date().timeIntervalSince1970 * 1_000)
        let number = self.snapshot.change + 1
        var next = self.snapshot
        next.change = number
        var writes: [StoreTransaction.Write] = [.put(key: Self.headKey, value: StoredNumber.bytes(number))]
        var audit = Isobar_V1_AuditAnswer()
        for change in answer.changes where change.isChange {
            let key = try change.key.model()
            if change.hasAfter {
                var stored = Isobar_V1_StoredResource()
                stored.resource = change.after
                stored.resource.clearResourceVersion()
                stored.createdUnixMs = self.snapshot.stored[key]?.createdUnixMs ?? now
                stored.changedUnixMs = now
                stored.changedBy = request.actor
                let bytes: [UInt8] = try stored.serializedBytes()
                guard bytes.count <= Self.mostBytes else {
                    throw OperatorRefusal(.badRequest, "\(key) has \(bytes.count) bytes; at most \(Self.mostBytes)")
                }
                writes.append(.put(key: Self.storeKey(key), value: bytes))
                next.stored[key] = stored
            } else {
                writes.append(.delete(key: Self.storeKey(key)))
                next.stored[key] = nil
                next.set[key] = nil
            }
            audit.records.append(try Self.record(change, number: number, now: now, request))
        }
        let record: [UInt8] = try audit.serializedBytes()
        writes.append(.put(key: Self.auditKey(number), value: record))
        if number > Self.auditLength { writes.append(.delete(key: Self.auditKey(number - Self.auditLength))) }

        let head =
            self.headModified.map { StoreTransaction.Condition.modified(key: Self.headKey, at: $0) }
            ?? .absent(key: Self.headKey)
        let revision: Int64
        switch try await self.store.commit(StoreTransaction(when: [head], writes)) {
        case .committed(let at): revision = at
        case .conflict: return .overtaken
        case .unknown: return .lost(LostWrite(number: number, record: record, answer: answer))
        }
        var answer = answer
        for place in answer.changes.indices where answer.changes[place].isChange && answer.changes[place].hasAfter {
            let key = try answer.changes[place].key.model()
            answer.changes[place].resourceVersion = revision
            next.stored[key]?.resource.resourceVersion = revision
            var resource = try answer.changes[place].after.model()
            resource.resourceVersion = revision
            next.set[key] = resource
        }
        // Another call may have gone on from here while this one waited for the store.
        if number > self.snapshot.change { self.adopt(next, head: revision) }
        return .done(Outcome(answer: answer, set: next.set, isWritten: true))
    }

    private static func record(
        _ change: Isobar_V1_ResourceChange,
        number: UInt64,
        now: Int64,
        _ request: Request
    ) throws -> Isobar_V1_AuditRecord {
        var record = Isobar_V1_AuditRecord()
        record.change = Int64(number)
        record.unixMs = now
        record.actor = request.actor
        record.proven = request.isProven
        record.peer = request.peer
        record.key = change.key
        record.outcome = change.outcome
        let differences = ResourceDifference.between(
            change.hasBefore ? try change.before.model() : nil,
            change.hasAfter ? try change.after.model() : nil
        )
        record.fields = differences.filter { $0.path.hasPrefix("spec") || $0.path.hasPrefix("metadata.") }
            .map { difference in
                var field = Isobar_V1_ChangedField()
                field.path = difference.path
                if let value = difference.before { field.before = Isobar_V1_ResourceValue(value) }
                if let value = difference.after { field.after = Isobar_V1_ResourceValue(value) }
                return field
            }
        return record
    }

    // MARK: Who changed what

    /// The newest records first, of one resource or of all.
    func audit(of key: ResourceKey?, limit: Int) async throws -> [Isobar_V1_AuditRecord] {
        var records: [Isobar_V1_AuditRecord] = []
        for entry in try await self.store.list(prefix: Self.auditPrefix).reversed() {
            let audit = try Isobar_V1_AuditAnswer(serializedBytes: entry.value)
            records += try audit.records.filter { try key == nil || $0.key.model() == key }
            if records.count >= limit { break }
        }
        return Array(records.prefix(limit))
    }

    private static func storeKey(_ key: ResourceKey) -> String { "\(self.prefix)\(key.kind.plural)/\(key.path)" }

    /// With leading zeros, so that keys sort as their numbers do.
    private static func auditKey(_ number: UInt64) -> String { self.auditPrefix + StoredNumber.sortable(number) }
}

extension Isobar_V1_ResourceChange {
    /// Whether anything is different afterwards.
    var isChange: Bool { ["created", "changed", "deleted"].contains(self.outcome) }
}

extension StoredNumber {
    /// Twenty digits, so that texts sort as their numbers do.
    static func sortable(_ number: UInt64) -> String {
        let digits = "\(number)"
        return String(repeating: "0", count: 20 - digits.count) + digits
    }
}
