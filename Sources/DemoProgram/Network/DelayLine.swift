import FleetModel

/// One direction of a link: what goes in comes out in the same order, a one-way delay later.
///
/// A connection opens at `openAt`: what is sent before the handshake is over departs only then.
struct DelayLine<Payload> {
    private struct Entry {
        var due: Seconds
        var size: Int
        var payload: Payload
    }

    let oneWay: Seconds
    let openAt: Seconds
    private var entries: [Entry] = []
    /// The entries before this one have come out; kept so that taking from the front is cheap.
    private var head = 0
    /// Bytes on the way.
    private(set) var size = 0

    init(oneWay: Seconds, openAt: Seconds) {
        self.oneWay = oneWay
        self.openAt = openAt
    }

    /// When the next payload comes out; `nil` while the line is empty.
    var nextDue: Seconds? { self.head < self.entries.count ? self.entries[self.head].due : nil }

    mutating func push(_ payload: Payload, size: Int, now: Seconds) {
        self.entries.append(Entry(due: max(now, self.openAt) + self.oneWay, size: size, payload: payload))
        self.size += size
    }

    /// Everything that has arrived by `now`.
    mutating func pop(now: Seconds) -> [Payload] {
        var arrived: [Payload] = []
        while self.head < self.entries.count, self.entries[self.head].due <= now {
            arrived.append(self.entries[self.head].payload)
            self.size -= self.entries[self.head].size
            self.head += 1
        }
        if self.head == self.entries.count || self.head > 256 {
            self.entries.removeFirst(self.head)
            self.head = 0
        }
        return arrived
    }
}
