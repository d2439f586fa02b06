import FleetModel
import GossipCore
import TestKit

/// What can go wrong on the way, beside distance.
struct NetworkFaults: Sendable {
    var loss = 0.0
    var duplication = 0.0
    /// Mean of the exponential part of each delay, in seconds.
    var jitter: Seconds = 0.005
}

/// Messages on their way between nodes, hubs first and agents after them, and all else that is planned.
struct GossipNetwork: Sendable {
    enum Event: Sendable {
        case wake(node: Int32, life: Int32)
        case arrive(flight: Int32)
        case happen(index: Int32)
    }

    struct Flight: Sendable {
        var from: Int32
        var to: Int32
        /// A message to a node that has restarted since is lost with its connection.
        var life: Int32
        var sentAt: Seconds
        var message: GossipMessage
    }

    let hubs: Int
    let oneWay: [[Seconds]]
    let regionOf: [Int]
    let transport: GossipWorld.Transport
    var faults: NetworkFaults
    /// By node: on which side of a partition; all 0 when there is none.
    var side: [UInt8]
    /// By agent's node: the hubs to which the link is cut for good.
    var cut: [HubSet]
    /// Ordered pairs that are cut now: from × count + to.
    var blocked: Set<Int> = []
    /// Ordered pairs whose messages stand still until a time.
    var clogged: [Int: Seconds] = [:]
    var events = EventQueue<Event>()
    private var flights: [Flight?] = []
    private var free: [Int32] = []
    private var lastArrival: [UInt64: Seconds] = [:]

    init(
        hubs: Int,
        oneWay: [[Seconds]],
        regionOf: [Int],
        transport: GossipWorld.Transport,
        faults: NetworkFaults
    ) {
        self.hubs = hubs
        self.oneWay = oneWay
        self.regionOf = regionOf
        self.transport = transport
        self.faults = faults
        self.side = Array(repeating: 0, count: regionOf.count)
        self.cut = Array(repeating: HubSet(), count: regionOf.count)
    }

    private func isCut(_ from: Int, _ to: Int) -> Bool {
        if self.side[from] != self.side[to] { return true }
        if to < self.hubs, let hub = HubID(to), self.cut[from].contains(hub) { return true }
        if from < self.hubs, let hub = HubID(from), self.cut[to].contains(hub) { return true }
        return !self.blocked.isEmpty && self.blocked.contains(from * self.regionOf.count + to)
    }

    /// Sends a message, or loses it.
    mutating func send(
        _ message: GossipMessage,
        from: Int,
        to: Int,
        life: Int32,
        segments: Int,
        now: Seconds,
        dice: inout SeededGenerator
    ) {
        guard !self.isCut(from, to) else { return }
        self.carry(message, from: from, to: to, life: life, segments: segments, now: now, dice: &dice)
        if self.faults.duplication > 0, Double.random(in: 0..<1, using: &dice) < self.faults.duplication {
            self.carry(message, from: from, to: to, life: life, segments: segments, now: now, dice: &dice)
        }
    }

    private mutating func carry(
        _ message: GossipMessage,
        from: Int,
        to: Int,
        life: Int32,
        segments: Int,
        now: Seconds,
        dice: inout SeededGenerator
    ) {
        let way = self.oneWay[self.regionOf[from]][self.regionOf[to]]
        var at =
            now + way * Double.random(in: 1..<1.1, using: &dice)
            - self.faults.jitter * Math.log(1 - Double.random(in: 0..<1, using: &dice))
        if self.faults.loss > 0 {
            var kept = 1.0
            for _ in 0..<(self.transport == .packets ? segments : 1) { kept *= 1 - self.faults.loss }
            if Double.random(in: 0..<1, using: &dice) >= kept {
                guard self.transport != .datagrams else { return }
                at += segments == 1 ? 2 * way + 0.2 : 2.5 * way
                var again = 2 * (2 * way + 0.2)
                while Double.random(in: 0..<1, using: &dice) < self.faults.loss {
                    at += again
                    again *= 2
                }
            }
        }
        if self.transport != .datagrams {
            let link = UInt64(from) << 32 | UInt64(to)
            at = max(at, self.lastArrival[link] ?? 0)
            self.lastArrival[link] = at
        }
        if !self.clogged.isEmpty, let until = self.clogged[from * self.regionOf.count + to] { at = max(at, until) }
        let flight = Flight(from: Int32(from), to: Int32(to), life: life, sentAt: now, message: message)
        self.depart(flight, arrivesAt: at)
    }

    mutating func depart(_ flight: Flight, arrivesAt at: Seconds) {
        let index: Int32
        if let old = self.free.popLast() {
            index = old
            self.flights[Int(old)] = flight
        } else {
            index = Int32(self.flights.count)
            self.flights.append(flight)
        }
        self.events.add(.arrive(flight: index), at: at)
    }

    /// Streams begin anew: nothing that still is on the way holds up what follows.
    mutating func reopen() { self.lastArrival = [:] }

    /// Where a message goes.
    func destination(of index: Int32) -> Int? { self.flights[Int(index)].map { Int($0.to) } }

    /// Takes what arrives; `nil` when its link was cut meanwhile.
    mutating func land(_ index: Int32) -> Flight? {
        let flight = self.flights[Int(index)]
        self.flights[Int(index)] = nil
        self.free.append(index)
        guard let flight, !self.isCut(Int(flight.from), Int(flight.to)) else { return nil }
        return flight
    }
}
