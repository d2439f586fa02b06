import Synchronization

/// The delivery rule of all our streams: a reader gets the newest value, and what it was too slow
/// to see is skipped and counted, never queued.
///
/// A reader that comes later begins with the current value, so a reconnect is a full resend.
package final class NewestWins<Value: Sendable>: Sendable {
    private struct State {
        var current: Value?
        var readers: [UInt64: AsyncStream<Value>.Continuation] = [:]
        var readersEver: UInt64 = 0
        var skipped: UInt64 = 0
    }

    private let state: Mutex<State>
    /// Readers that have ended and have not been taken out yet.
    ///
    /// They have a lock of their own, inside which nothing is called: a reader ends while the runtime holds a lock of
    /// the reader's task, and that is the lock for which a `yield` inside the other one may wait.
    private let ended = Mutex<[UInt64]>([])

    package init(_ value: Value? = nil) { self.state = Mutex(State(current: value)) }

    /// The value that a new reader would begin with.
    package var current: Value? { self.state.withLock { $0.current } }

    /// How many readers there are.
    package var readerCount: Int { self.withReaders { $0.readers.count } }

    /// How many values some reader was too slow to see.
    package var skipped: UInt64 { self.state.withLock { $0.skipped } }

    /// Replaces the value and wakes every reader.
    package func send(_ value: Value) {
        // Inside the lock, so that no reader sees two values in the wrong order.
        self.withReaders { state in
            state.current = value
            for reader in state.readers.values {
                if case .dropped = reader.yield(value) { state.skipped += 1 }
            }
        }
    }

    /// A stream of values for one reader; it ends when its task is cancelled.
    package func values() -> AsyncStream<Value> {
        let (stream, continuation) = AsyncStream.makeStream(of: Value.self, bufferingPolicy: .bufferingNewest(1))
        let id = self.withReaders { state in
            state.readersEver += 1
            state.readers[state.readersEver] = continuation
            if let current = state.current { continuation.yield(current) }
            return state.readersEver
        }
        continuation.onTermination = { [weak self] _ in self?.ended.withLock { $0.append(id) } }
        return stream
    }

    /// The state without the readers that have ended.
    private func withReaders<Result: Sendable>(_ body: (inout State) -> Result) -> Result {
        self.state.withLock { state in
            let ended = self.ended.withLock { ended in
                defer { ended = [] }
                return ended
            }
            for id in ended { state.readers[id] = nil }
            return body(&state)
        }
    }
}
