import FleetModel
import Leadership
import OperatorLink
import PlanStream
import Resources
import StateStore
import Synchronization
import TestKit
import Testing
import WireProtocol

@testable import HubProgram

@Suite("Resources in the store")
struct ResourceBookTests {
    private static func drain(_ name: String, cluster: String = "us-east-a", version: Int64? = nil) throws -> Resource {
        let spec: ResourceValue = .fields(["cluster": .text(cluster)])
        return Resource(key: try ResourceKey(.drain, name: name), spec: spec, resourceVersion: version)
    }

    private static func apply(
        _ resources: [Resource],
        by actor: String = "ann",
        dry: Bool = false
    )
        -> ResourceBook.Request
    {
        ResourceBook.Request(
            resources: resources.map { ($0.key, $0, $0.resourceVersion) },
            actor: actor,
            peer: "test",
            isDryRun: dry
        )
    }

    @Test("what was applied is there after a restart, with who changed it")
    func kept() async throws {
        let store = MemoryStore()
        let outcome = try await ResourceBook(store: store).change(
            Self.apply([try Self.drain("a"), try Self.drain("b")])
        )
        #expect(outcome.answer.changes.map(\.outcome) == ["created", "created"])

        let book = ResourceBook(store: store)
        let snapshot = try #require(try await book.refresh())
        #expect(snapshot.set.all().map(\.key.name) == ["a", "b"])
        #expect(snapshot.change == 1)
        #expect(snapshot.stored.values.allSatisfy { $0.changedBy == "ann" })
        #expect(snapshot.set.all().map(\.resourceVersion) == outcome.set.all().map(\.resourceVersion))

        let change = try await book.change(Self.apply([try Self.drain("a", cluster: "x")], by: "bob"))
        #expect(change.answer.changes.map(\.outcome) == ["changed"])
        let audit = try await book.audit(of: nil, limit: 10)
        #expect(audit.map(\.actor) == ["bob", "ann", "ann"])
        #expect(audit.first?.fields.map(\.path) == ["spec.cluster"])
        let ofB = try await book.audit(of: try ResourceKey(.drain, name: "b"), limit: 10)
        #expect(ofB.map(\.outcome) == ["created"])
    }

    @Test("all of a request comes into force, or nothing of it")
    func allOrNothing() async throws {
        let book = ResourceBook(store: MemoryStore())
        let bad = Resource(key: try ResourceKey(.drain, name: "bad"), spec: .fields([:]))
        let outcome = try await book.change(Self.apply([try Self.drain("a"), bad]))
        #expect(outcome.answer.problems.map(\.path) == ["spec.cluster"])
        #expect(try await book.refresh() == nil && outcome.set.count == 0)
    }

    @Test("a dry run changes nothing, and what is the same is not changed")
    func dry() async throws {
        let store = MemoryStore()
        let book = ResourceBook(store: store)
        let outcome = try await book.change(Self.apply([try Self.drain("a")], dry: true))
        #expect(outcome.answer.changes.map(\.outcome) == ["created"] && outcome.set.count == 1)
        #expect(try await store.list(prefix: "").isEmpty)
        _ = try await book.change(Self.apply([try Self.drain("a")]))
        let again = try await book.change(Self.apply([try Self.drain("a")], by: "bob"))
        #expect(again.answer.changes.map(\.outcome) == ["unchanged"] && !again.isWritten)
        #expect(try await book.audit(of: nil, limit: 10).count == 1)
    }

    @Test("of two operators who edit what they read, the second is told")
    func conflict() async throws {
        let store = MemoryStore()
        let (one, other) = (ResourceBook(store: store), ResourceBook(store: store))
        _ = try await one.change(Self.apply([try Self.drain("a")]))
        try await other.refresh()
        let read = try #require(one.snapshots.current?.set.all().first?.resourceVersion)
        _ = try await one.change(Self.apply([try Self.drain("a", cluster: "x", version: read)]))
        let late = try await other.change(Self.apply([try Self.drain("a", cluster: "y", version: read)]))
        #expect(late.answer.problems.map(\.conflict) == [true])
        #expect(late.answer.problems.first?.reason.contains("isobar get drains a") == true)
        let gone = ResourceBook.Request(
            resources: [(try ResourceKey(.drain, name: "a"), nil, read)],
            actor: "bob",
            peer: "test",
            isDryRun: false
        )
        #expect(try await other.change(gone).answer.problems.map(\.conflict) == [true])
        #expect(try await other.change(Self.apply([try Self.drain("a", cluster: "y")])).isWritten)
    }

    @Test("a write whose answer was lost is told as done when it was, however late it happens", arguments: 0...8)
    func late(calls: Int) async throws {
        let memory = MemoryStore()
        _ = try await ResourceBook(store: memory).change(Self.apply([try Self.drain("a"), try Self.drain("b")]))
        let read = try #require(try await memory.list(prefix: "resources/").first?.modified)

        // It would be refused if it were taken for somebody else's: the version that it names is gone.
        let store = LateStore(memory, after: calls)
        let edit = try await ResourceBook(store: store).change(
            Self.apply([try Self.drain("a", cluster: "x", version: read)])
        )
        #expect(edit.answer.problems.isEmpty && edit.isWritten)
        let stands = try #require(try await memory.list(prefix: "resources/").first?.modified)
        #expect(edit.answer.changes.map(\.resourceVersion) == [stands])

        // And so would this: what it deletes is gone.
        let gone = ResourceBook.Request(
            resources: [(try ResourceKey(.drain, name: "b"), nil, nil)],
            actor: "bob",
            peer: "test",
            isDryRun: false
        )
        let delete = try await ResourceBook(store: LateStore(memory, after: calls)).change(gone)
        #expect(delete.answer.changes.map(\.outcome) == ["deleted"] && delete.isWritten)
        #expect(try await memory.list(prefix: "audit/").count == 3, "each change happened once")
    }

    @Test("writers on two hubs lose nothing, however many there are")
    func many() async throws {
        let store = MemoryStore()
        let books = [ResourceBook(store: store), ResourceBook(store: store)]
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<12 {
                group.addTask {
                    _ = try await books[number % 2].change(Self.apply([try Self.drain("d\(number)")]))
                }
            }
            try await group.waitForAll()
        }
        for book in books {
            try await book.refresh()
            #expect(book.snapshots.current?.set.count == 12)
        }
        #expect(try await books[0].audit(of: nil, limit: 100).map(\.change) == Array((1...12).reversed()))
    }
}

/// A store that loses the answer of its first commit, which happens only so many calls later, if it still can.
private final class LateStore: StoreDouble {
    private struct State {
        var pending: StoreTransaction?
        var isFirst = true
        var callsLeft: Int
    }

    let store: MemoryStore
    private let state: Mutex<State>

    init(_ store: MemoryStore, after calls: Int) {
        self.store = store
        self.state = Mutex(State(callsLeft: calls))
    }

    private func call() async throws(StoreError) {
        let due = self.state.withLock { state -> StoreTransaction? in
            guard state.pending != nil else { return nil }
            state.callsLeft -= 1
            return state.callsLeft < 0 ? state.pending.take() : nil
        }
        if let due { _ = try await self.store.commit(due) }
    }

    func get(_ key: String) async throws(StoreError) -> StoreEntry? {
        try await self.call()
        return try await self.store.get(key)
    }

    func read(prefix: String) async throws(StoreError) -> StoreListing {
        try await self.call()
        return try await self.store.read(prefix: prefix)
    }

    func commit(_ transaction: StoreTransaction) async throws(StoreError) -> CommitOutcome {
        let isLost = self.state.withLock { state in
            guard state.isFirst else { return false }
            (state.isFirst, state.pending) = (false, transaction)
            return true
        }
        if isLost { return .unknown(reason: "the answer was lost") }
        try await self.call()
        return try await self.store.commit(transaction)
    }
}

@Suite("Restoring")
struct RestorationTests {
    private static func backup(of store: MemoryStore) async throws -> Isobar_V1_BackupFile {
        var backup = Isobar_V1_BackupFile()
        backup.epoch = 700
        backup.entries = try await store.list(prefix: "").map { entry in
            var message = Isobar_V1_BackupEntry()
            message.key = entry.key
            message.value = .init(entry.value)
            return message
        }
        return try BackupBytes.decode(BackupBytes.encode(backup))
    }

    @Test("a hub on a restored store leads above every epoch of the backup, and fences as before")
    func epochs() async throws {
        let old = MemoryStore()
        _ = try await old.commit(StoreTransaction([.put(key: "resources/drains/a", value: [1])]))
        let backup = try await Self.backup(of: old)
        let store = MemoryStore()
        let count = try await Restoration(store: store).write(backup, above: backup.epoch, replacing: false)
        #expect(count == 1)
        let (firstTerm, lease) = try await StoredStateTests.lead(store, "a")
        var (first, _) = try await PlanRecord.open(store, term: firstTerm)
        #expect(first.chain.epoch > 700)
        try await store.endLease(lease)
        let (secondTerm, _) = try await StoredStateTests.lead(store, "b")
        let (second, _) = try await PlanRecord.open(store, term: secondTerm)
        #expect(second.chain.epoch > first.chain.epoch)
        let plan = try EncodedPlan(try Fixtures.plan(epoch: first.chain.epoch))
        #expect(try await first.accept(plan) == .conflict)
    }

    @Test("a restored store has another secret, so nothing that was sealed before is of use, and no key comes again")
    func secrets() async throws {
        let old = MemoryStore()
        let cluster = try ClusterName("a")
        let before = try await FrameSecret(store: old).keys().registration(of: cluster, agent: 1, incarnation: 1)
        var seal = try FrameSeal(cluster: cluster, registration: before)
        let sealed = try seal.seal([1], sequence: 1)
        let backup = try await Self.backup(of: old)
        #expect(backup.entries.contains { $0.key == FrameSecret.key }, "as an older hub wrote it")
        let store = MemoryStore()
        _ = try await FrameSecret(store: store).keys()
        _ = try await Restoration(store: store).write(backup, above: 1, replacing: true)
        #expect(try await store.get(FrameSecret.key) == nil)
        let keys = try await FrameSecret(store: store).keys()
        #expect(keys.registration(of: cluster, agent: 1, incarnation: 1) != before)
        #expect(throws: SealFault.forged) { try keys.open(sealed) }
    }

    @Test("a store that holds something is not overwritten unasked, and a hub that runs on it loses it")
    func replacing() async throws {
        let backup = try await Self.backup(of: MemoryStore())
        let store = MemoryStore()
        let (term, _) = try await StoredStateTests.lead(store, "a")
        var (leader, _) = try await PlanRecord.open(store, term: term)
        _ = try await store.commit(StoreTransaction([.put(key: "resource-changes", value: [])]))
        let restoration = Restoration(store: store)
        await #expect(throws: Restoration.NotEmpty.self) {
            try await restoration.write(backup, above: 1, replacing: false)
        }
        _ = try await restoration.leading {
            let term = try await store.get(Ballot.leaderKey)?.created
            #expect(term.map { UInt64($0) > leader.term } == true, "the hub leads beside it")
            return try await restoration.write(backup, above: 1, replacing: true)
        }
        #expect(try await store.get(Ballot.leaderKey) == nil, "it leads on")
        let plan = try EncodedPlan(try Fixtures.plan(epoch: leader.chain.epoch))
        #expect(try await leader.accept(plan) == .conflict)
    }

    @Test("a damaged backup is refused")
    func damaged() async throws {
        let bytes = try BackupBytes.encode(try await Self.backup(of: MemoryStore()))
        #expect(throws: BackupBytes.Unreadable.self) { try BackupBytes.decode(Array(bytes.dropLast())) }
        #expect(throws: BackupBytes.Unreadable.self) { try BackupBytes.decode([1, 2, 3]) }
    }
}
