/// The meaning of a store, as a value: what every store must do, said in a page.
///
/// The in-memory store is this value under a lock; the law suite holds the others to it.
package struct StoreImage: Sendable {
    package private(set) var revision: Int64 = 0
    private var entries: [String: StoreEntry] = [:]

    package init() {}

    package func get(_ key: String) -> StoreEntry? { self.entries[key] }

    package func list(prefix: String) -> [StoreEntry] {
        self.entries.values.filter { $0.key.hasPrefix(prefix) }.sorted { $0.key < $1.key }
    }

    package mutating func commit(_ transaction: StoreTransaction) -> CommitOutcome {
        guard transaction.conditions.allSatisfy(self.holds) else { return .conflict }
        self.revision += 1
        for write in transaction.writes {
            switch write {
            case .put(let key, let value):
                let created = self.entries[key]?.created ?? self.revision
                self.entries[key] = StoreEntry(key: key, value: value, created: created, modified: self.revision)
            case .delete(let key):
                self.entries[key] = nil
            }
        }
        return .committed(revision: self.revision)
    }

    private func holds(_ condition: StoreTransaction.Condition) -> Bool {
        switch condition {
        case .absent(let key): self.entries[key] == nil
        case .modified(let key, let revision): self.entries[key]?.modified == revision
        case .created(let key, let revision): self.entries[key]?.created == revision
        }
    }
}
