/// The meaning of a store, as a value: what every store must do, said in a page.
///
/// The in-memory store is this value under a lock; the law suite holds the others to it.
package struct StoreImage: Sendable {
    package private(set) var revision: Int64 = 0
    private var entries: [String: StoreEntry] = [:]
    private var leases = StoreLeases()
    private var leasesEver: StoreLease.ID = 0
    package private(set) var history = StoreHistory()

    package init() {}

    package func get(_ key: String) -> StoreEntry? { self.entries[key] }

    package func read(prefix: String) -> StoreListing {
        StoreListing(
            entries: self.entries.values.filter { $0.key.hasPrefix(prefix) }.sorted { $0.key < $1.key },
            revision: self.revision
        )
    }

    package mutating func commit(_ transaction: StoreTransaction) -> CommitOutcome {
        guard transaction.conditions.allSatisfy(self.holds) else { return .conflict }
        for case .put(_, _, let lease?) in transaction.writes where !self.leases.holds(lease) { return .conflict }
        self.write(transaction.writes)
        return .committed(revision: self.revision)
    }

    private mutating func write(_ writes: [StoreTransaction.Write]) {
        self.revision += 1
        var changes: [StoreChange] = []
        for write in writes {
            switch write {
            case .put(let key, let value, let lease):
                let created = self.entries[key]?.created ?? self.revision
                let entry = StoreEntry(
                    key: key,
                    value: value,
                    created: created,
                    modified: self.revision,
                    lease: lease
                )
                self.entries[key] = entry
                changes.append(.put(entry))
            case .delete(let key):
                if self.entries.removeValue(forKey: key) != nil { changes.append(.deleted(key: key)) }
            }
        }
        self.history.record(StoreBatch(revision: self.revision, changes: changes))
    }

    private func holds(_ condition: StoreTransaction.Condition) -> Bool {
        switch condition {
        case .absent(let key): self.entries[key] == nil
        case .modified(let key, let revision): self.entries[key]?.modified == revision
        case .created(let key, let revision): self.entries[key]?.created == revision
        }
    }

    // MARK: Leases; `now` counts from whenever the store's owner began to count.

    package mutating func grant(timeToLive: Duration, now: Duration) -> StoreLease {
        self.leasesEver += 1
        return self.leases.grant(self.leasesEver, timeToLive: timeToLive, now: now)
    }

    package mutating func renew(_ lease: StoreLease.ID, now: Duration) -> StoreLease? {
        self.leases.renew(lease, now: now)
    }

    package mutating func end(_ lease: StoreLease.ID) {
        guard self.leases.end(lease) else { return }
        let keys = self.entries.values.filter { $0.lease == lease }.map(\.key).sorted()
        if !keys.isEmpty { self.write(keys.map { .delete(key: $0) }) }
    }

    /// Ends the leases whose time is over.
    package mutating func expire(now: Duration) {
        for lease in self.leases.overdue(now: now) { self.end(lease) }
    }
}

/// The leases of a store that counts their time itself.
package struct StoreLeases: Sendable {
    private struct Grant: Sendable {
        var timeToLive: Duration
        var until: Duration
    }

    private var grants: [StoreLease.ID: Grant] = [:]

    package init() {}

    package func holds(_ lease: StoreLease.ID) -> Bool { self.grants[lease] != nil }

    package mutating func grant(_ id: StoreLease.ID, timeToLive: Duration, now: Duration) -> StoreLease {
        self.grants[id] = Grant(timeToLive: timeToLive, until: now + timeToLive)
        return StoreLease(id: id, timeToLive: timeToLive)
    }

    package mutating func renew(_ id: StoreLease.ID, now: Duration) -> StoreLease? {
        guard let grant = self.grants[id] else { return nil }
        self.grants[id]?.until = now + grant.timeToLive
        return StoreLease(id: id, timeToLive: grant.timeToLive)
    }

    /// - Returns: Whether there was such a lease.
    package mutating func end(_ id: StoreLease.ID) -> Bool { self.grants.removeValue(forKey: id) != nil }

    /// The leases whose time is over, sorted.
    package func overdue(now: Duration) -> [StoreLease.ID] {
        self.grants.filter { $0.value.until <= now }.keys.sorted()
    }
}

/// The newest changes, bounded: what watches are told from.
package struct StoreHistory: Sendable {
    /// A watch that is further behind than this many revisions lists anew.
    package static let batchesMax = 1_024

    private var batches: [StoreBatch] = []
    /// Changes up to this revision are gone.
    private var forgotten: Int64

    /// - Parameter forgotten: Changes up to this revision were never kept.
    package init(forgotten: Int64 = 0) { self.forgotten = forgotten }

    /// The newest revision recorded.
    package var newest: Int64 { self.batches.last?.revision ?? self.forgotten }

    package mutating func record(_ batch: StoreBatch) {
        self.batches.append(batch)
        guard self.batches.count > Self.batchesMax else { return }
        let dropped = self.batches.count - Self.batchesMax / 2
        self.forgotten = self.batches[dropped - 1].revision
        self.batches.removeFirst(dropped)
    }

    /// The changes under a prefix after a revision.
    ///
    /// - Throws: ``StoreError`` of kind ``StoreError/Kind/compacted`` when some of them are gone.
    package func changes(under prefix: String, after revision: Int64) throws(StoreError) -> [StoreBatch] {
        guard revision >= self.forgotten else {
            throw StoreError(
                operation: "watch \(prefix)",
                reason: "changes before revision \(self.forgotten + 1) are no longer kept",
                kind: .compacted
            )
        }
        return self.batches.compactMap { batch in
            guard batch.revision > revision else { return nil }
            let changes = batch.changes.filter { $0.key.hasPrefix(prefix) }
            return changes.isEmpty ? nil : StoreBatch(revision: batch.revision, changes: changes)
        }
    }
}
