package import StateStore
import Synchronization

extension StoreLaw {
    /// What a watch has told so far.
    private final class Told: Sendable {
        private let batches = Mutex<[StoreBatch]>([])
        /// What a follower saw last.
        let shown = Mutex<StoreListing?>(nil)

        func take(_ batch: StoreBatch) { self.batches.withLock { $0.append(batch) } }

        var all: [StoreBatch] { self.batches.withLock { $0 } }
        var changes: [StoreChange] { self.all.flatMap(\.changes) }
    }

    /// Runs a watch beside a body.
    private static func watching(
        _ store: any StateStore,
        _ prefix: String,
        after revision: Int64,
        _ body: (Told) async throws -> Void
    ) async throws {
        let told = Told()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await store.watch(prefix: prefix, after: revision) { told.take($0) } }
            try await body(told)
            group.cancelAll()
        }
    }

    private static func put(_ store: any StateStore, _ key: String, _ value: UInt8) async throws -> Int64 {
        try self.revision(try await store.commit(StoreTransaction([.put(key: key, value: [value])])))
    }

    static let watches: [StoreLaw] = [
        StoreLaw(description: "a watch tells what came after its revision, past and future, in order") { store in
            let first = try await put(store, "a/1", 1)
            _ = try await put(store, "a/1", 2)
            _ = try await put(store, "b", 3)
            try await watching(store, "a/", after: first) { told in
                try await eventually("the past is told") { told.changes.count == 1 }
                _ = try await store.commit(StoreTransaction([.delete(key: "a/1"), .put(key: "a/2", value: [4])]))
                _ = try await put(store, "a/1", 5)
                try await eventually("the future is told") { told.changes.count == 4 }
                let revisions = told.all.map(\.revision)
                try expect(revisions == revisions.sorted(), "told \(revisions)")
                try expect(told.all.count == 3 && Set(revisions).count == 3, "a revision was torn: \(told.all)")
                let keys = told.changes.map(\.key)
                try expect(
                    keys[0] == "a/1" && Set(keys[1...2]) == ["a/1", "a/2"] && keys[3] == "a/1",
                    "told \(told.changes)"
                )
                guard case .put(let last) = told.changes[3] else { throw Broken(description: "told \(told.changes)") }
                try expect(try await store.get("a/1") == last, "the last change is not what stands there")
                try expect(last.created == last.modified, "a key made anew kept its creation revision")
            }
        },
        StoreLaw(description: "a conflict tells nothing") { store in
            let first = try await put(store, "a", 1)
            try await watching(store, "", after: first) { told in
                _ = try await store.commit(StoreTransaction(when: [.absent(key: "a")], [.delete(key: "a")]))
                _ = try await put(store, "b", 2)
                try await eventually("what follows is told") { !told.changes.isEmpty }
                try expect(told.changes.map(\.key) == ["b"], "told \(told.changes)")
            }
        },
        StoreLaw(description: "who follows a prefix sees it as it is") { store in
            _ = try await put(store, "a/1", 1)
            let told = Told()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    await store.follow(prefix: "a/") { listing in told.shown.withLock { $0 = listing } }
                }
                for round in 2..<6 as Range<UInt8> {
                    _ = try await put(store, "a/\(round)", round)
                    _ = try await store.commit(StoreTransaction([.delete(key: "a/\(round - 1)")]))
                }
                let wanted = try await store.list(prefix: "a/")
                try await eventually("the picture is that of the store") {
                    told.shown.withLock { $0?.entries } == wanted
                }
                try expect(wanted.map(\.key) == ["a/5"], "left \(wanted)")
                group.cancelAll()
            }
        },
    ]

    static let leases: [StoreLaw] = [
        StoreLaw(description: "a lease that nobody renews takes its keys along, and a watch tells it") { store in
            let lease = try await store.grantLease(timeToLive: .seconds(1))
            let made = try revision(
                try await store.commit(
                    StoreTransaction([.put(key: "leader", value: [1], lease: lease.id), .put(key: "plan", value: [])])
                )
            )
            try expect(try await store.get("leader")?.lease == lease.id, "the key does not know its lease")
            try await watching(store, "", after: made) { told in
                try await eventually("the key is gone") { try await store.get("leader") == nil }
                try await eventually("its end is told") { told.changes == [.deleted(key: "leader")] }
            }
            try expect(try await store.renewLease(lease.id) == nil, "an ended lease was renewed")
            try expect(try await store.get("plan") != nil, "a key without a lease went with it")
        },
        StoreLaw(description: "a lease that is renewed lives, and ends when its holder says so") { store in
            // A machine that stalls for longer than the lease proves nothing: then try again.
            for trial in 1... {
                let renewed = try await store.grantLease(timeToLive: .seconds(2))
                let silent = try await store.grantLease(timeToLive: .seconds(2))
                _ = try await store.commit(
                    StoreTransaction([
                        .put(key: "renewed", value: [], lease: renewed.id),
                        .put(key: "silent", value: [], lease: silent.id),
                    ])
                )
                var (last, stalled) = (ContinuousClock.now, false)
                try await eventually("the silent lease ends") {
                    let asked = ContinuousClock.now
                    let lives = try await store.renewLease(renewed.id) != nil
                    stalled = stalled || ContinuousClock.now - last >= renewed.timeToLive
                    try expect(lives || stalled, "a renewed lease ended")
                    last = asked
                    return try await store.get("silent") == nil
                }
                let lives = try await store.get("renewed") != nil
                try await store.endLease(renewed.id)
                try expect(try await store.get("renewed") == nil, "an ended lease kept its key")
                try await store.endLease(renewed.id)
                if lives { return }
                try expect(stalled && trial < 10, "a renewed lease lost its key")
            }
        },
        StoreLaw(description: "a key under an ended lease is a conflict") { store in
            let lease = try await store.grantLease(timeToLive: .seconds(5))
            try await store.endLease(lease.id)
            let outcome = try await store.commit(
                StoreTransaction([.put(key: "leader", value: [1], lease: lease.id), .put(key: "b", value: [])])
            )
            try expect(outcome == .conflict, "it ended as \(outcome)")
            let entries = try await store.list(prefix: "")
            try expect(entries.isEmpty, "left \(entries)")
        },
        StoreLaw(description: "a key put again without a lease outlives the lease") { store in
            let lease = try await store.grantLease(timeToLive: .seconds(5))
            _ = try await store.commit(StoreTransaction([.put(key: "a", value: [1], lease: lease.id)]))
            _ = try await put(store, "a", 2)
            try await store.endLease(lease.id)
            try expect(try await store.get("a")?.value == [2], "it went with the lease")
        },
    ]

    /// Checks the law over a store that runs.
    ///
    /// - Throws: ``Broken`` when it does not hold.
    package func check(running store: any StateStore) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await store.run() }
            defer { group.cancelAll() }
            try await self.check(store)
        }
    }
}
