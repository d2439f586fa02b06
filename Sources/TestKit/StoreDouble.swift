package import StateStore

/// A store in memory in which a test changes what it needs: the rest is the memory's own.
package protocol StoreDouble: StateStore {
    /// What stands behind it.
    var store: MemoryStore { get }
}

extension StoreDouble {
    package func get(_ key: String) async throws(StoreError) -> StoreEntry? { try await self.store.get(key) }

    package func read(prefix: String) async throws(StoreError) -> StoreListing {
        try await self.store.read(prefix: prefix)
    }

    package func commit(_ transaction: StoreTransaction) async throws(StoreError) -> CommitOutcome {
        try await self.store.commit(transaction)
    }

    package func watch(
        prefix: String,
        after revision: Int64,
        _ take: @escaping @Sendable (StoreBatch) async -> Void
    ) async throws(StoreError) {
        try await self.store.watch(prefix: prefix, after: revision, take)
    }

    package func grantLease(timeToLive: Duration) async throws(StoreError) -> StoreLease {
        try await self.store.grantLease(timeToLive: timeToLive)
    }

    package func renewLease(_ lease: StoreLease.ID) async throws(StoreError) -> StoreLease? {
        try await self.store.renewLease(lease)
    }

    package func endLease(_ lease: StoreLease.ID) async throws(StoreError) { try await self.store.endLease(lease) }

    package func health() async -> StoreHealth { await self.store.health() }

    package func run() async { await self.store.run() }
}
