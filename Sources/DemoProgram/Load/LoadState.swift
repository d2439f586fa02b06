import FleetModel
import Synchronization

/// What the clients share: the ledger, the announced gateways and the dice of their backoff.
final class LoadState: Sendable {
    private struct State: Sendable {
        var ledger = Ledger()
        var anycast = Anycast()
        var dice: Dice
    }

    private let state: Mutex<State>

    init(seed: UInt64) { self.state = Mutex(State(dice: Dice(seed: seed))) }

    func ledger<Result: Sendable>(_ body: (inout Ledger) -> Result) -> Result {
        self.state.withLock { body(&$0.ledger) }
    }

    func anycast<Result: Sendable>(_ body: (inout Anycast) -> Result) -> Result {
        self.state.withLock { body(&$0.anycast) }
    }

    func retryDelay(after attempt: Attempt, retriesSoFar: Int) -> Seconds? {
        self.state.withLock { RetryPolicy.delay(after: attempt, retriesSoFar: retriesSoFar, using: &$0.dice) }
    }
}
