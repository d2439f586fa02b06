import Synchronization

/// Wakes everyone who waits for a store's next change.
package final class StoreBell: Sendable {
    private struct State {
        var listeners: [UInt64: AsyncStream<Void>.Continuation] = [:]
        var listenersEver: UInt64 = 0
    }

    private let state = Mutex(State())
    /// Listeners that have ended and have not been taken out yet.
    ///
    /// They have a lock of their own, inside which nothing is called: a listener ends while the runtime holds a lock of
    /// the listener's task, and that is the lock for which a `yield` inside the other one may wait.
    private let ended = Mutex<[UInt64]>([])

    package init() {}

    /// How many listen.
    var listenerCount: Int { self.withListeners { $0.listeners.count } }

    package func ring() {
        self.withListeners { state in
            for listener in state.listeners.values { listener.yield() }
        }
    }

    /// Rings once at the start and after every change since; several become one for a listener that is slow.
    package func rings() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let id = self.withListeners { state in
            state.listenersEver += 1
            state.listeners[state.listenersEver] = continuation
            continuation.yield()
            return state.listenersEver
        }
        continuation.onTermination = { [weak self] _ in self?.ended.withLock { $0.append(id) } }
        return stream
    }

    /// The state without the listeners that have ended.
    private func withListeners<Result: Sendable>(_ body: (inout State) -> Result) -> Result {
        self.state.withLock { state in
            let ended = self.ended.withLock { ended in
                defer { ended = [] }
                return ended
            }
            for id in ended { state.listeners[id] = nil }
            return body(&state)
        }
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
