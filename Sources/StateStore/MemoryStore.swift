import Synchronization

/// A store that lives as long as its process: for tests and the simulator.
package final class MemoryStore: StateStore {
    /// How often leases are looked at.
    private static let pulse = Duration.milliseconds(50)

    private let image = Mutex(StoreImage())
    private let bell = StoreBell()
    private let start = ContinuousClock.now

    package init() {}

    package func get(_ key: String) async throws(StoreError) -> StoreEntry? {
        self.image.withLock { $0.get(key) }
    }

    package func read(prefix: String) async throws(StoreError) -> StoreListing {
        self.image.withLock { $0.read(prefix: prefix) }
    }

    package func commit(_ transaction: StoreTransaction) async throws(StoreError) -> CommitOutcome {
        defer { self.bell.ring() }
        return self.image.withLock { $0.commit(transaction) }
    }

    package func watch(
        prefix: String,
        after revision: Int64,
        _ take: @escaping @Sendable (StoreBatch) async -> Void
    ) async throws(StoreError) {
        try await self.bell.tell(
            prefix: prefix,
            after: revision,
            of: { self.image.withLock { $0.history } },
            take
        )
    }

    package func grantLease(timeToLive: Duration) async throws(StoreError) -> StoreLease {
        self.image.withLock { $0.grant(timeToLive: timeToLive, now: self.now) }
    }

    package func renewLease(_ lease: StoreLease.ID) async throws(StoreError) -> StoreLease? {
        self.image.withLock { $0.renew(lease, now: self.now) }
    }

    package func endLease(_ lease: StoreLease.ID) async throws(StoreError) {
        self.image.withLock { $0.end(lease) }
        self.bell.ring()
    }

    package func health() async -> StoreHealth {
        StoreHealth(kind: "memory", members: [.init(name: "memory", isReachable: true, isLeader: true)])
    }

    package func run() async {
        while !Task.isCancelled {
            let revised = self.image.withLock { image in
                let before = image.revision
                image.expire(now: self.now)
                return image.revision != before
            }
            if revised { self.bell.ring() }
            try? await Task.sleep(for: Self.pulse)
        }
    }

    private var now: Duration { ContinuousClock.now - self.start }
}
