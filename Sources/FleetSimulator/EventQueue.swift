import FleetModel

/// What is to happen and when: a binary heap by (time, sequence), so that things of one instant happen in the order in
/// which they were planned.
struct EventQueue<Event: Sendable>: Sendable {
    private struct Entry: Sendable {
        var at: Seconds
        var sequence: UInt64
        var event: Event

        func isBefore(_ other: Entry) -> Bool {
            self.at < other.at || self.at == other.at && self.sequence < other.sequence
        }
    }

    private var entries: [Entry] = []
    private var planned: UInt64 = 0

    var isEmpty: Bool { self.entries.isEmpty }

    mutating func add(_ event: Event, at time: Seconds) {
        self.planned += 1
        self.entries.append(Entry(at: time, sequence: self.planned, event: event))
        var child = self.entries.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard self.entries[child].isBefore(self.entries[parent]) else { break }
            self.entries.swapAt(child, parent)
            child = parent
        }
    }

    /// Takes the first event; `nil` when none is left.
    mutating func next() -> (event: Event, at: Seconds)? {
        guard let first = self.entries.first else { return nil }
        let last = self.entries.removeLast()
        guard !self.entries.isEmpty else { return (first.event, first.at) }
        var hole = 0
        while true {
            var child = 2 * hole + 1
            guard child < self.entries.count else { break }
            if child + 1 < self.entries.count, self.entries[child + 1].isBefore(self.entries[child]) { child += 1 }
            guard self.entries[child].isBefore(last) else { break }
            self.entries[hole] = self.entries[child]
            hole = child
        }
        self.entries[hole] = last
        return (first.event, first.at)
    }
}
