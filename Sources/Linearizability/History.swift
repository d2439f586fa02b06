/// What one thing does when one client after the other uses it: the yardstick for what several do at once.
package protocol SequentialSpecification: Sendable {
    associatedtype State: Hashable, Sendable
    associatedtype Call: Hashable, Sendable
    associatedtype Answer: Hashable, Sendable

    /// Before the first call.
    var initial: State { get }

    /// The state after a call that was answered so; an answer of `nil` is one that the client never heard.
    ///
    /// - Returns: `nil` when the call cannot have been answered so in this state.
    func step(_ state: State, _ call: Call, _ answer: Answer?) -> State?
}

/// How a call ended for its client.
package enum Outcome<Answer: Hashable & Sendable>: Hashable, Sendable {
    case answered(Answer)
    /// Told that nothing was done. Nothing may show of it.
    case failed
    /// The answer was lost: it took effect at any time after it was asked for, or it never will.
    case unknown
}

/// One call of one client, with the moments between which it must have taken effect.
package struct HistoryEntry<Call: Hashable & Sendable, Answer: Hashable & Sendable>: Hashable, Sendable {
    package var call: Call
    package var outcome: Outcome<Answer>
    /// When the client asked, on one clock for all clients, in seconds.
    package var began: Double
    /// When the client had its answer; without meaning for an outcome that is unknown.
    package var ended: Double

    package init(_ call: Call, _ outcome: Outcome<Answer>, began: Double, ended: Double) {
        self.call = call
        self.outcome = outcome
        self.began = began
        self.ended = ended
    }
}

/// What a check of a history found.
package enum Verdict: Hashable, Sendable {
    /// In this order, by their places in the history, the operations explain every answer. Those that had no effect are
    /// not in it.
    case linearizable(order: [Int])
    /// No order does. The longest that could be built, and the operations of which one had to come next.
    case notLinearizable(longest: [Int], stuck: [Int])
    /// So many configurations were looked at that the search was given up.
    case undecided(configurations: Int)
}
