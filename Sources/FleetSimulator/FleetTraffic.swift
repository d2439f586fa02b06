package import FleetModel
import TestKit

/// One request of a trace.
package struct TrafficRequest: Hashable, Sendable {
    /// When it came, in seconds after the trace's first; requests are in the order of their times.
    package var at: Seconds
    package var promptTokens: Int
    package var outputTokens: Int
    /// Names of the blocks that the prompt begins with; equal names stand for equal text.
    package var blocks: [UInt64]

    package init(at: Seconds = 0, promptTokens: Int, outputTokens: Int, blocks: [UInt64] = []) {
        self.at = at
        self.promptTokens = promptTokens
        self.outputTokens = outputTokens
        self.blocks = blocks
    }
}

/// One request that a client sends.
struct Arrival: Sendable {
    var at: Seconds
    /// The place of the client's region.
    var source: Int
    /// The place of its band.
    var band: Int
    var promptTokens: Int
    var outputTokens: Int
    var prefix: [UInt64]
}

/// The requests of a run, in order, without end.
///
/// Lengths and prefixes are a trace's, in its order, and their times are as ``ArrivalTimes`` says. When the trace is over
/// it begins again with other texts, so that a second lap finds nothing of the first in a cache. A request with blocks belongs to
/// the session of its first block, and a session stays in one region; any other request draws its region. A burst of
/// factor f sends f copies of each request of its region (a fraction by chance), all but the first up to a second later
/// and with texts of their own.
///
/// It does not know the policy, so that all policies get the same requests.
struct FleetTraffic: Sendable {
    private struct Burst {
        var source: Int
        var factor: Double
        var until: Seconds
    }

    private let requests: [TrafficRequest]
    private var times: ArrivalTimes
    private let shares: [Double]
    private let bandShares: [Double]
    // One generator a purpose, so that one more roll here does not move every result there.
    private var places: SeededGenerator
    private var bands: SeededGenerator
    private var copies: SeededGenerator

    private var index = 0
    private var bursts: [Burst] = []
    /// The region of each session of this lap.
    private var sessions: [UInt64: Int] = [:]
    private var upcoming: Arrival?
    /// Sorted by time, latest first.
    private var waiting: [Arrival] = []

    /// `requests` are not empty.
    init(requests: [TrafficRequest], world: FleetWorld, settings: SimulationSettings) {
        self.requests = requests
        self.shares = world.demandShares
        self.bandShares = world.bands.map(\.share)
        var seeds = SeededGenerator(seed: settings.seed)
        self.times = ArrivalTimes(
            settings.arrivals,
            of: requests.map(\.at),
            rate: settings.rate,
            seed: seeds.next()
        )
        self.index = self.times.first
        self.places = SeededGenerator(seed: seeds.next())
        self.bands = SeededGenerator(seed: seeds.next())
        self.copies = SeededGenerator(seed: seeds.next())
    }

    /// From `now` on a region sends more.
    ///
    /// What was drawn already stays as it is: one request at most.
    mutating func burst(source: Int, factor: Double, until: Seconds) {
        self.bursts.append(Burst(source: source, factor: factor, until: until))
    }

    mutating func next() -> Arrival {
        while true {
            let upcoming = self.upcoming ?? self.draw()
            if let first = self.waiting.last, first.at <= upcoming.at {
                self.upcoming = upcoming
                self.waiting.removeLast()
                return first
            }
            self.upcoming = nil
            self.multiply(upcoming)
        }
    }

    private mutating func multiply(_ arrival: Arrival) {
        self.bursts.removeAll { $0.until <= arrival.at }
        let factor = self.bursts.filter { $0.source == arrival.source }.reduce(1) { $0 * $1.factor }
        var count = Int(factor)
        if Double.random(in: 0..<1, using: &self.copies) < factor - Double(count) { count += 1 }
        for copy in 0..<count {
            var arrival = arrival
            if copy > 0 {
                arrival.at += Double.random(in: 0..<1, using: &self.copies)
                arrival.prefix = arrival.prefix.map { Self.salted($0, UInt64(copy) << 32) }
            }
            let place = self.waiting.firstIndex { $0.at <= arrival.at } ?? self.waiting.endIndex
            self.waiting.insert(arrival, at: place)
        }
    }

    private mutating func draw() -> Arrival {
        let (lap, place) = self.index.quotientAndRemainder(dividingBy: self.requests.count)
        if place == 0 { self.sessions = [:] }
        self.index += 1
        let request = self.requests[place]
        let drawn = Self.draw(self.shares, using: &self.places)
        var source = drawn
        if let session = request.blocks.first {
            source = self.sessions[session] ?? drawn
            self.sessions[session] = source
        }
        return Arrival(
            at: self.times.next(),
            source: source,
            band: Self.draw(self.bandShares, using: &self.bands),
            promptTokens: request.promptTokens,
            outputTokens: request.outputTokens,
            prefix: request.blocks.map { Self.salted($0, UInt64(lap) + 1) }
        )
    }

    private static func draw(_ weights: [Double], using dice: inout SeededGenerator) -> Int {
        var rest = Double.random(in: 0..<1, using: &dice) * weights.reduce(0, +)
        for (place, weight) in weights.enumerated() {
            rest -= weight
            if rest < 0 { return place }
        }
        return weights.count - 1
    }

    /// Another text for the same place in a conversation.
    static func salted(_ block: UInt64, _ salt: UInt64) -> UInt64 {
        var mixed = SeededGenerator(seed: block ^ (salt &* 0x9E37_79B9_7F4A_7C15))
        return mixed.next()
    }
}
