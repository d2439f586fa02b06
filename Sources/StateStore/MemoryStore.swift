import Synchronization

/// A store that lives as long as its process: for tests and the simulator.
package final class MemoryStore: StateStore {
    private let image = Mutex(StoreImage())

    package init() {}

    package func get(_ key: String) async throws(StoreError) -> StoreEntry? {
        self.image.withLock { $0.get(key) }
    }

    package func list(prefix: String) async throws(StoreError) -> [StoreEntry] {
        self.image.withLock { $0.list(prefix: prefix) }
    }

    package func commit(_ transaction: StoreTransaction) async throws(StoreError) -> CommitOutcome {
        self.image.withLock { $0.commit(transaction) }
    }
}
