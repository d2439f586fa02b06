/// Growing pauses between tries, with jitter so that a fleet does not return as one.
package struct Backoff: Sendable {
    package let first: Seconds
    package let longest: Seconds
    private var next: Seconds

    /// - Parameters:
    ///   - first: The first pause, in seconds.
    ///   - longest: The pause that doubling ends at, in seconds.
    package init(first: Seconds = 0.05, longest: Seconds = 1) {
        precondition(first > 0 && longest >= first, "a back-off from \(first) s to \(longest) s cannot grow")
        self.first = first
        self.longest = longest
        self.next = first
    }

    /// The pause before the next try: half fixed, half by the dice.
    package mutating func pause(using dice: inout some RandomNumberGenerator) -> Seconds {
        defer { self.next = min(self.longest, self.next * 2) }
        return self.next * Double.random(in: 0.5...1, using: &dice)
    }

    /// A try went well: the next pause is the first again.
    package mutating func reset() { self.next = self.first }
}
