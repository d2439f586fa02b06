import Synchronization

/// Lets callers in one after the other, in the order in which they came.
final class Turnstile: Sendable {
    private struct State {
        var isBusy = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    /// Runs a body when it is the caller's turn; a caller whose task was cancelled meanwhile gives its turn away.
    ///
    /// As many wait as there are calls: whoever serves them bounds them.
    ///
    /// - Throws: `CancellationError`, or what the body throws.
    func inTurn<Value: Sendable>(_ body: () async throws -> Value) async throws -> Value {
        await withCheckedContinuation { continuation in
            let isFree = self.state.withLock { state in
                if state.isBusy {
                    state.waiting.append(continuation)
                    return false
                }
                state.isBusy = true
                return true
            }
            if isFree { continuation.resume() }
        }
        defer {
            let next = self.state.withLock { state in
                if state.waiting.isEmpty {
                    state.isBusy = false
                    return CheckedContinuation<Void, Never>?.none
                }
                return state.waiting.removeFirst()
            }
            next?.resume()
        }
        try Task.checkCancellation()
        return try await body()
    }
}
