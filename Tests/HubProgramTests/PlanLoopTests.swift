import Logging
import Observability
import StateStore
import Synchronization
import TestKit
import Testing

@testable import HubProgram

/// A store that answers the first question for the plan, and leaves whoever asks again waiting until it is cancelled.
private final class SlowStore: StoreDouble {
    let store = MemoryStore()
    private let asked = Mutex(0)

    var isAskedAgain: Bool { self.asked.withLock { $0 > 1 } }

    func get(_ key: String) async throws(StoreError) -> StoreEntry? {
        guard key == PlanRecord.planKey else { return try await self.store.get(key) }
        let times = self.asked.withLock { asked in
            asked += 1
            return asked
        }
        guard times > 1 else { return nil }
        for await _ in AsyncStream.makeStream(of: Never.self).stream {}
        throw StoreError(operation: "get", reason: "cancelled")
    }
}

@Suite("The loop that plans")
struct PlanLoopTests {
    @Test("a hub that is told to end while its store is asked has not failed to plan")
    func ending() async throws {
        let store = SlowStore()
        let hub = Hub(
            name: "hub-0",
            store: store,
            clock: MonotonicClock(),
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        )
        hub.withState { $0.standing = Standing(epoch: 1, leaseUntil: .infinity) }
        let desk = HubDesk(hub: hub, store: store, name: "hub-0", tick: 0.01)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await PlanLoop(hub: hub, store: store, desk: desk, tick: 0.01).run() }
            try await eventually("the plan that stands is asked for, to go on from it") { store.isAskedAgain }
            group.cancelAll()
            try await group.waitForAll()
        }
        #expect(hub.withState { $0.counts.plansFailed } == 0)
        #expect(hub.withState { $0.planFault } == nil)
    }
}
