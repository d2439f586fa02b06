/// Whether concurrent calls can be put into one order that explains every answer.
///
/// In that order no call comes before one that had ended when it began: this is linearizability, as Herlihy and Wing
/// define it (ACM TOPLAS 12, 1990).
///
/// The search is that of Wing and Gong, which puts the next possible call at the end of an order and takes it back
/// when that leads nowhere, with Lowe's memory: the same set of calls in the same state is not searched twice.
///
/// Sources: J. Wing, C. Gong, "Testing and verifying concurrent objects", Journal of Parallel and Distributed
/// Computing 17, 1993; G. Lowe, "Testing for linearizability", Concurrency and Computation 29, 2017; the list of
/// entries from which calls are lifted is that of A. Athalye's Porcupine.
package struct LinearizabilityCheck<Specification: SequentialSpecification>: Sendable {
    package typealias Entry = HistoryEntry<Specification.Call, Specification.Answer>

    private let specification: Specification
    private let budget: Int

    /// - Parameters:
    ///   - specification: What the thing does for one client.
    ///   - budget: How many configurations are looked at before the search is given up.
    package init(_ specification: Specification, budget: Int = 2_000_000) {
        self.specification = specification
        self.budget = budget
    }

    /// Judges what clients saw of one thing.
    package func verdict(of history: [Entry]) -> Verdict {
        var search = Search(self.specification, history)
        return search.run(budget: self.budget)
    }

    /// Operations whose call has been put into the order, and the state that this leaves.
    private struct Configuration: Hashable {
        var taken: [UInt64]
        var state: Specification.State
    }

    /// A call that was put into the order, and how things were before.
    private struct Step {
        var entry: Int
        var state: Specification.State
        var isUncertain: Bool
    }

    private struct Search {
        let specification: Specification
        let history: [Entry]
        /// Of each entry of the list: the operation, and whether it is the call or the answer.
        private var operations: [Int] = []
        private var isCall: [Bool] = []
        /// A list through the entries in the order of time; its head is the entry after the last one.
        private var next: [Int] = []
        private var previous: [Int] = []
        private var answerEntry: [Int: Int] = [:]
        private var head: Int { self.operations.count }

        private var state: Specification.State
        private var taken: [UInt64]
        private var steps: [Step] = []
        private var seen: Set<Configuration> = []
        /// Answered calls that are not in the order yet.
        private var left = 0
        private var longest: [Int] = []
        private var stuck: [Int] = []

        init(_ specification: Specification, _ history: [Entry]) {
            self.specification = specification
            self.history = history
            self.state = specification.initial
            self.taken = Array(repeating: 0, count: (history.count + 63) / 64)
            var moments: [(at: Double, isCall: Bool, operation: Int)] = []
            for (place, operation) in history.enumerated() {
                switch operation.outcome {
                case .failed: continue
                case .unknown: moments.append((operation.began, true, place))
                case .answered:
                    moments.append((operation.began, true, place))
                    moments.append((operation.ended, false, place))
                    self.left += 1
                }
            }
            // Of one instant, calls come first: what cannot be told apart counts as concurrent.
            moments.sort { ($0.at, $0.isCall ? 0 : 1, $0.operation) < ($1.at, $1.isCall ? 0 : 1, $1.operation) }
            for (entry, moment) in moments.enumerated() {
                self.operations.append(moment.operation)
                self.isCall.append(moment.isCall)
                if !moment.isCall { self.answerEntry[moment.operation] = entry }
            }
            let count = moments.count
            self.next = (0..<count).map { $0 + 1 } + [0]
            self.previous = [count] + (0..<count).map { $0 }
            if count == 0 { (self.next, self.previous) = ([0], [0]) }
        }

        /// Calls whose answer is known are tried first: those without one may come at any later time, or never.
        mutating func run(budget: Int) -> Verdict {
            var entry = self.next[self.head]
            var isUncertain = false
            while self.left > 0 {
                if entry != self.head, self.isCall[entry] {
                    if self.isUnknown(entry) == isUncertain, self.take(entry, isUncertain) {
                        if self.seen.count > budget { return .undecided(configurations: self.seen.count) }
                        (entry, isUncertain) = (self.next[self.head], false)
                    } else {
                        entry = self.next[entry]
                    }
                } else if !isUncertain {
                    (entry, isUncertain) = (self.next[self.head], true)
                } else {
                    self.note()
                    guard let step = self.takeBack() else {
                        return .notLinearizable(longest: self.longest, stuck: self.stuck)
                    }
                    (entry, isUncertain) = (self.next[step.entry], step.isUncertain)
                }
            }
            return .linearizable(order: self.steps.map { self.operations[$0.entry] })
        }

        private func isUnknown(_ entry: Int) -> Bool { self.history[self.operations[entry]].outcome == .unknown }

        /// Puts a call at the end of the order, if the specification allows it and that is new.
        private mutating func take(_ entry: Int, _ isUncertain: Bool) -> Bool {
            let place = self.operations[entry]
            var answer: Specification.Answer?
            if case .answered(let known) = self.history[place].outcome { answer = known }
            guard let state = self.specification.step(self.state, self.history[place].call, answer) else {
                return false
            }
            // A call without an answer that changes nothing need not be in the order.
            if isUncertain, state == self.state { return false }
            var taken = self.taken
            taken[place / 64] |= 1 << UInt64(place % 64)
            guard self.seen.insert(Configuration(taken: taken, state: state)).inserted else { return false }
            self.steps.append(Step(entry: entry, state: self.state, isUncertain: isUncertain))
            (self.state, self.taken) = (state, taken)
            self.lift(entry)
            if let answered = self.answerEntry[place] {
                self.lift(answered)
                self.left -= 1
            }
            return true
        }

        private mutating func takeBack() -> Step? {
            guard let step = self.steps.popLast() else { return nil }
            let place = self.operations[step.entry]
            if let answered = self.answerEntry[place] {
                self.putBack(answered)
                self.left += 1
            }
            self.putBack(step.entry)
            self.taken[place / 64] &= ~(1 << UInt64(place % 64))
            self.state = step.state
            return step
        }

        private mutating func lift(_ entry: Int) {
            self.next[self.previous[entry]] = self.next[entry]
            self.previous[self.next[entry]] = self.previous[entry]
        }

        /// The reverse of ``lift(_:)``, in the reverse order: the entry still knows its neighbours.
        private mutating func putBack(_ entry: Int) {
            self.next[self.previous[entry]] = entry
            self.previous[self.next[entry]] = entry
        }

        /// Keeps the longest order for whoever has to explain a violation.
        private mutating func note() {
            guard self.steps.count > self.longest.count || self.stuck.isEmpty else { return }
            self.longest = self.steps.map { self.operations[$0.entry] }
            self.stuck = []
            var entry = self.next[self.head]
            while entry != self.head, self.isCall[entry] {
                if !self.isUnknown(entry) { self.stuck.append(self.operations[entry]) }
                entry = self.next[entry]
            }
        }
    }
}
