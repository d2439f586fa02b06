import Synchronization

/// A value that tests wait on: for a condition, never for a while.
final class Watched<Value: Sendable>: Sendable {
    private struct Waiter {
        let isMet: @Sendable (Value) -> Bool
        let continuation: CheckedContinuation<Value, any Error>
    }

    private struct State {
        var value: Value
        var waiters: [Int: Waiter] = [:]
        var next = 0
    }

    private let state: Mutex<State>

    init(_ value: Value) { self.state = Mutex(State(value: value)) }

    var value: Value { self.state.withLock { $0.value } }

    func update(_ change: (inout Value) -> Void) {
        let (value, met) = self.state.withLock { state in
            change(&state.value)
            let value = state.value
            let met = state.waiters.filter { $0.value.isMet(value) }
            for key in met.keys { state.waiters[key] = nil }
            return (value, met.values.map(\.continuation))
        }
        for continuation in met { continuation.resume(returning: value) }
    }

    /// Waits until the condition holds; the test's time limit cancels it.
    @discardableResult
    func wait(until isMet: @escaping @Sendable (Value) -> Bool) async throws -> Value {
        let key = self.state.withLock { state in
            state.next += 1
            return state.next
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let met: Value? = self.state.withLock { state in
                    if isMet(state.value) { return state.value }
                    state.waiters[key] = Waiter(isMet: isMet, continuation: continuation)
                    return nil
                }
                if let met { continuation.resume(returning: met) } else if Task.isCancelled { self.give(up: key) }
            }
        } onCancel: {
            self.give(up: key)
        }
    }

    private func give(up key: Int) {
        let waiter = self.state.withLock { $0.waiters.removeValue(forKey: key) }
        waiter?.continuation.resume(throwing: CancellationError())
    }
}
