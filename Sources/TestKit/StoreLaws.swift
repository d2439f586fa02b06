package import StateStore

/// What every store must do, as checks that run over any of them.
package struct StoreLaw: Sendable, CustomStringConvertible {
    package let description: String
    /// Takes an empty store.
    ///
    /// - Throws: ``Broken`` when the law does not hold, or the store's own error.
    package let check: @Sendable (any StateStore) async throws -> Void

    /// A law did not hold.
    package struct Broken: Error, CustomStringConvertible {
        package let description: String
    }

    static func expect(_ holds: Bool, _ what: String) throws {
        guard holds else { throw Broken(description: what) }
    }

    static func revision(_ outcome: CommitOutcome) throws -> Int64 {
        guard case .committed(let revision) = outcome else { throw Broken(description: "conflict without a cause") }
        return revision
    }

    /// All of them.
    package static let all: [StoreLaw] =
        [
            StoreLaw(description: "what was put is got, and revisions grow") { store in
                let first = try revision(try await store.commit(StoreTransaction([.put(key: "a", value: [1])])))
                let second = try revision(try await store.commit(StoreTransaction([.put(key: "a", value: [])])))
                try expect(second > first, "revision went from \(first) to \(second)")
                let entry = try await store.get("a")
                let wanted = StoreEntry(key: "a", value: [], created: first, modified: second)
                try expect(entry == wanted, "got \(String(describing: entry))")
                let listing = try await store.read(prefix: "")
                try expect(listing.entries == [wanted] && listing.revision >= second, "listed \(listing)")
                let missing = try await store.get("b")
                try expect(missing == nil, "a key that nobody put is there")
            },
            StoreLaw(description: "of two writers on one revision, one wins") { store in
                let first = try revision(try await store.commit(StoreTransaction([.put(key: "a", value: [1])])))
                let outcomes = try await withThrowingTaskGroup(of: CommitOutcome.self) { group in
                    for writer in 0..<8 as Range<UInt8> {
                        group.addTask {
                            try await store.commit(
                                StoreTransaction(
                                    when: [.modified(key: "a", at: first)],
                                    [.put(key: "a", value: [writer])]
                                )
                            )
                        }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                let won = outcomes.filter { $0 != .conflict }.count
                try expect(won == 1, "\(won) writers won")
            },
            StoreLaw(description: "a conflict writes nothing at all") { store in
                _ = try await store.commit(StoreTransaction([.put(key: "a", value: [1])]))
                let outcome = try await store.commit(
                    StoreTransaction(
                        when: [.absent(key: "b"), .absent(key: "a")],
                        [.put(key: "b", value: [2]), .delete(key: "a")]
                    )
                )
                let entries = try await store.list(prefix: "")
                try expect(outcome == .conflict && entries.map(\.key) == ["a"], "left \(entries)")
            },
            StoreLaw(description: "a key made anew has another creation revision, so that old fencing tokens fail") {
                store in
                let first = try revision(try await store.commit(StoreTransaction([.put(key: "leader", value: [1])])))
                _ = try await store.commit(StoreTransaction([.delete(key: "leader")]))
                _ = try await store.commit(StoreTransaction([.put(key: "leader", value: [2])]))
                let late = try await store.commit(
                    StoreTransaction(when: [.created(key: "leader", at: first)], [.put(key: "plan", value: [])])
                )
                try expect(late == .conflict, "an old leader's write was taken")
            },
            StoreLaw(description: "a listing is sorted and takes the prefix to the letter") { store in
                let puts = ["pools/b", "pools/a", "poolsX", "Pools/c", "pools/%"].map {
                    StoreTransaction.Write.put(key: $0, value: [])
                }
                _ = try await store.commit(StoreTransaction(puts))
                let keys = try await store.list(prefix: "pools/").map(\.key)
                try expect(keys == ["pools/%", "pools/a", "pools/b"], "listed \(keys)")
            },
        ] + StoreLaw.watches + StoreLaw.leases
}
