import FleetModel

/// How one attempt at a request ended.
enum Attempt: Hashable, Sendable {
    /// The whole answer came.
    case answered
    /// No connection could be made.
    case refused
    /// The connection ended before the first byte of the answer.
    case closed
    /// The gateway answered with an error; `retryAfter` is its header of that name, in seconds.
    case status(Int, retryAfter: Seconds?)
    /// The answer was cut after its first byte.
    case interrupted
    /// The deadline of the request passed.
    case expired
    /// The run ended first.
    case abandoned
}

/// Which attempts are worth another one, and when: as the OpenAI client libraries do it.
///
/// They repeat a failed connection and the statuses 408, 409, 429 and 5xx, twice at most, after
/// `min(0.5 · 2ⁿ, 8)` seconds less up to a quarter of it, or after `retry-after` when that is at most a minute.
/// Source: github.com/openai/openai-python, `_base_client.py`.
enum RetryPolicy {
    static let retries = 2

    /// How long to wait before the next attempt, in seconds; `nil` to give up.
    static func delay(
        after attempt: Attempt,
        retriesSoFar: Int,
        using dice: inout some RandomNumberGenerator
    ) -> Seconds? {
        guard retriesSoFar < self.retries else { return nil }
        switch attempt {
        case .answered, .interrupted, .expired, .abandoned: return nil
        case .status(let status, let retryAfter):
            guard [408, 409, 429].contains(status) || status >= 500 else { return nil }
            if let retryAfter, retryAfter > 0, retryAfter <= 60 { return retryAfter }
        case .refused, .closed: break
        }
        let backoff = min(0.5 * Double(1 << retriesSoFar), 8)
        return backoff * (1 - 0.25 * Double.random(in: 0..<1, using: &dice))
    }
}
