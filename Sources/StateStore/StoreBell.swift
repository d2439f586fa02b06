import Synchronization

/// Wakes everyone who waits for a store's next change.
package final class StoreBell: Sendable {
    private struct State {
        var listeners: [UInt64: AsyncStream<Void>.Continuation] = [:]
        var listenersEver: UInt64 = 0
    }

    private let state = Mutex(State())

    package init() {}

    package func ring() {
        self.state.withLock { state in
            for listener in state.listeners.values { listener.yield() }
        }
    }

    /// Rings once at the start and after every change since; several become one for a listener that is slow.
    package func rings() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let id = self.state.withLock { state in
            state.listenersEver += 1
            state.listeners[state.listenersEver] = continuation
            continuation.yield()
            return state.listenersEver
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { state in _ = state.listeners.removeValue(forKey: id) }
        }
        return stream
    }

    /// Tells a history's changes under a prefix after a revision, until cancelled.
    ///
    /// - Throws: ``StoreError`` of kind ``StoreError/Kind/compacted`` when the listener fell too far behind.
    package func tell(
        prefix: String,
        after revision: Int64,
        of history: () -> StoreHistory,
        _ take: (StoreBatch) async -> Void
    ) async throws(StoreError) {
        var seen = revision
        for await _ in self.rings() {
            let history = history()
            for batch in try history.changes(under: prefix, after: seen) { await take(batch) }
            seen = max(seen, history.newest)
        }
    }
}
