import StateStore
import Synchronization
import TestKit
import Testing

/// A store whose watches lose everything: each ends as it is told to, or hears nothing.
private final class DeafStore: StoreDouble {
    let store = MemoryStore()
    private let ends: Mutex<[StoreError.Kind]>
    private let readings = Mutex(0)

    init(watchesEnd ends: [StoreError.Kind] = []) { self.ends = Mutex(ends) }

    var timesRead: Int { self.readings.withLock { $0 } }

    func read(prefix: String) async throws(StoreError) -> StoreListing {
        self.readings.withLock { $0 += 1 }
        return try await self.store.read(prefix: prefix)
    }

    func watch(
        prefix: String,
        after revision: Int64,
        _ take: @escaping @Sendable (StoreBatch) async -> Void
    ) async throws(StoreError) {
        if let kind = self.ends.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) {
            throw StoreError(operation: "watch \(prefix)", reason: "as the test wants it", kind: kind)
        }
        for await _ in AsyncStream.makeStream(of: Never.self).stream {}
    }
}

@Suite("Who follows a store")
struct FollowTests {
    private func follow(_ store: DeafStore, every period: Duration, _ body: (Shown) async throws -> Void) async throws {
        let shown = Shown()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                await store.follow(prefix: "", every: period, lost: { shown.lost($0) }) { shown.show($0) }
            }
            defer { group.cancelAll() }
            try await body(shown)
        }
    }

    private final class Shown: Sendable {
        private let state = Mutex((keys: [String](), faults: 0))
        var keys: [String] { self.state.withLock { $0.keys } }
        var faults: Int { self.state.withLock { $0.faults } }
        func show(_ listing: StoreListing) { self.state.withLock { $0.keys = listing.entries.map(\.key) } }
        func lost(_ error: StoreError) { self.state.withLock { $0.faults += 1 } }
    }

    @Test("finds what a watch has lost when it lists anew, in time")
    func levelTriggered() async throws {
        let store = DeafStore()
        try await self.follow(store, every: .milliseconds(20)) { shown in
            try await eventually("it has listed") { store.timesRead > 0 }
            _ = try await store.commit(StoreTransaction([.put(key: "a", value: [])]))
            try await eventually("it sees what no watch told") { shown.keys == ["a"] }
            #expect(shown.faults == 0)
        }
    }

    @Test("lists at once when history was compacted, and after a pause when the store is away, which it tells")
    func ends() async throws {
        let store = DeafStore(watchesEnd: [.compacted, .compacted, .unavailable])
        try await self.follow(store, every: .seconds(600)) { shown in
            try await eventually("it has listed after each end") { store.timesRead == 4 }
            #expect(shown.faults == 1)
        }
    }
}
