package import FleetModel

/// When one pool's requests may be tried a second time beside the first try: after a percentile of the times to a first
/// byte of late, and no more of them than a share of the requests.
///
/// Source: J. Dean, L. Barroso, "The tail at scale", CACM 2013: hedging after the 95th percentile adds 5 % of load at
/// most and takes most of the tail away. Where the tail is the load's own, the share is what keeps a hedge from adding
/// to it.
package struct HedgeMeter: Sendable {
    /// How many times it goes by, and how few are too few.
    static let memory = 256
    static let least = 32
    /// Shorter is noise, and no second try is quick enough for it.
    static let shortest: Seconds = 0.05
    /// Second tries that may come at once.
    static let burst = 10.0

    package let percentile: Double
    package let share: Double
    private var times: [Seconds] = []
    private var next = 0
    private var left = 1.0
    /// After how many seconds without a first byte a second try may begin; `nil` while too little is known.
    package private(set) var delay: Seconds?

    /// - Parameters:
    ///   - percentile: Of the times to a first byte, 0 to 1.
    ///   - share: Second tries over requests.
    package init(percentile: Double, share: Double) {
        self.percentile = percentile
        self.share = share
        self.times.reserveCapacity(Self.memory)
    }

    /// A request has come.
    package mutating func arrived() { self.left = min(Self.burst, self.left + self.share) }

    /// An answer has begun, so many seconds after its try.
    package mutating func began(after time: Seconds) {
        if self.times.count < Self.memory { self.times.append(time) } else { self.times[self.next] = time }
        self.next = (self.next + 1) % Self.memory
        // A percentile of 256 does not move by one.
        guard self.times.count >= Self.least, self.delay == nil || self.next.isMultiple(of: 16) else { return }
        let sorted = self.times.sorted()
        let place = min(sorted.count - 1, Int(Double(sorted.count) * self.percentile))
        self.delay = max(Self.shortest, sorted[place])
    }

    /// Takes one second try out of the budget.
    ///
    /// - Returns: Whether there was one left.
    package mutating func take() -> Bool {
        guard self.left >= 1 else { return false }
        self.left -= 1
        return true
    }
}
