import FleetModel

/// A clock that never goes backwards, made of one that should not: after a step back it goes on from where it was.
struct SteadyClock: Hashable, Sendable {
    private var shift: Seconds = 0
    private var last: Seconds

    init(now: Seconds) { self.last = now }

    mutating func read(_ now: Seconds) -> Seconds {
        if now < self.last { self.shift += self.last - now }
        self.last = now
        return now + self.shift
    }

    /// The same for a reading that is not to be remembered.
    func peek(_ now: Seconds) -> Seconds { max(now, self.last) + self.shift }

    /// A time of this clock, on the other's.
    func outside(_ time: Seconds) -> Seconds { time - self.shift }
}
