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

    package init(_ value: Value? = nil) { self.state = Mutex(State(current: value)) }

    /// The value that a new reader would begin with.
    package var current: Value? { self.state.withLock { $0.current } }

    /// How many readers there are.
    package var readerCount: Int { self.state.withLock { $0.readers.count } }

    /// How many values some reader was too slow to see.
    package var skipped: UInt64 { self.state.withLock { $0.skipped } }

    /// Replaces the value and wakes every reader.
    package func send(_ value: Value) {
        // Inside the lock, so that no reader sees two values in the wrong order; yield only stores
        // the value or resumes a task, it runs none of our code.
        self.state.withLock { state in
            state.current = value
            for reader in state.readers.values {
                if case .dropped = reader.yield(value) { state.skipped += 1 }
            }
        }
    }

    /// A stream of values for one reader; it ends when its task is cancelled.
    package func values() -> AsyncStream<Value> {
        let (stream, continuation) = AsyncStream.makeStream(of: Value.self, bufferingPolicy: .bufferingNewest(1))
        let id = self.state.withLock { state in
            state.readersEver += 1
            state.readers[state.readersEver] = continuation
            if let current = state.current { continuation.yield(current) }
            return state.readersEver
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { state in _ = state.readers.removeValue(forKey: id) }
        }
        return stream
    }
}
