import NIOCore

/// Something that gives up at a time of its own, which it may move or drop at will.
protocol Impatient: AnyObject {
    /// When to give up; `nil` while there is nothing to wait for.
    var deadline: NIODeadline? { get }
    /// Where the wheel holds it; only the wheel writes it.
    var heldAt: TimerWheel.Tick? { get set }
    /// The deadline has passed.
    func giveUp()
}

/// Deadlines of many connections, for which moving a deadline costs next to nothing.
///
/// A connection is held once, at the earliest deadline it had, and looked at again only then: its deadline may have
/// moved or gone by that time. So a connection without a deadline, such as an idle stream, costs no time at all, and
/// a request that sets and clears a time-out costs a comparison.
///
/// After G. Varghese, T. Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987 (scheme 4, sparse).
struct TimerWheel {
    typealias Tick = Int64

    /// How late a deadline may be noticed.
    static let resolution = TimeAmount.milliseconds(100)

    private var slots: [Tick: [any Impatient]] = [:]

    var isEmpty: Bool { self.slots.isEmpty }

    /// Takes notice of an element's deadline, if it is earlier than where the element is held.
    mutating func hold(_ element: any Impatient) {
        guard let deadline = element.deadline else { return }
        let tick = Self.tick(of: deadline) + 1
        if let heldAt = element.heldAt, heldAt <= tick { return }
        element.heldAt = tick
        self.slots[tick, default: []].append(element)
    }

    /// Takes out the elements whose deadline has passed.
    mutating func expired(at now: NIODeadline) -> [any Impatient] {
        let tick = Self.tick(of: now)
        var expired: [any Impatient] = []
        for slot in self.slots.keys.filter({ $0 <= tick }).sorted() {
            for element in self.slots.removeValue(forKey: slot) ?? [] where element.heldAt == slot {
                element.heldAt = nil
                if let deadline = element.deadline, deadline <= now {
                    expired.append(element)
                } else {
                    self.hold(element)
                }
            }
        }
        return expired
    }

    private static func tick(of deadline: NIODeadline) -> Tick {
        Tick(deadline.uptimeNanoseconds / UInt64(Self.resolution.nanoseconds))
    }
}
