package import FleetModel

/// How many tries after the first there may be: a share of the requests, so that a fleet in trouble is not given two
/// or three times its load by those who want to help.
///
/// A loss that comes at once is no storm: of the requests under way each may be tried once more, and
/// ``reserve`` besides. What was spent is paid back by ``share`` of each request that comes, and by
/// ``perSecond``. So in the long run tries are no more than `1 + share` of the requests.
///
/// Source: Finagle's `RetryBudget` (20 % of the requests, 10 a second), with Envoy's `retry_budget` for the part that
/// goes by what is active.
package struct RetryBudget: Hashable, Sendable {
    /// Tries that need no requests to stand on.
    static let reserve = 100.0
    /// Tries a second that are always paid back.
    static let perSecond = 10.0

    package let share: Double
    private var spent = 0.0
    private var paidAt: Seconds = -.infinity

    /// - Parameter share: Tries after the first over requests, 0 to 1.
    package init(share: Double = 0.2) { self.share = share }

    /// A request has come.
    package mutating func arrived() { self.spent = max(0, self.spent - self.share) }

    /// Takes one more try out of the budget.
    ///
    /// - Parameters:
    ///   - underWay: Requests that have come and are not over.
    ///   - now: The gateway's clock.
    /// - Returns: Whether there was one left.
    package mutating func take(underWay: Int, now: Seconds) -> Bool {
        if self.paidAt.isFinite { self.spent = max(0, self.spent - (now - self.paidAt) * Self.perSecond) }
        self.paidAt = now
        guard self.spent < Self.reserve + Double(underWay) else { return false }
        self.spent += 1
        return true
    }
}
