import FleetModel
import Foundation
import WorkloadTraces

/// More, or fewer, requests from one region for a while.
struct Burst: Hashable, Sendable {
    var region: RegionName
    /// What the region's rate is multiplied by.
    var factor: Double
    /// Seconds after the load begins.
    var start: Seconds
    var length: Seconds

    func covers(_ time: Seconds) -> Bool { self.start <= time && time < self.start + self.length }
}

/// One request that a client is to send.
struct Arrival: Hashable, Sendable {
    /// Counts requests, and seeds what is peculiar to this one.
    var number: UInt64
    /// Seconds after the load begins.
    var time: Seconds
    var source: RegionName
    var promptTokens: Int
    var outputTokens: Int
    var blocks: [UInt64]
}

/// The requests of a run, in order, without end: a trace begins again when it is over.
///
/// With a rate, arrivals are Poisson at that rate and a trace gives only the lengths; without one, a trace keeps its
/// own times. The region of each request is drawn. A burst of factor f sends f copies of each request of its region
/// (a fraction by chance), all but the first up to a second later, which leaves a Poisson process Poisson.
struct Workload: Sendable {
    enum Requests: Sendable {
        case synthetic
        /// Never empty; sorted by time, the first at 0.
        case trace([TraceRow])
    }

    /// The longest that a copy made by a burst comes after its original, in seconds.
    static let spread: Seconds = 1

    private let requests: Requests
    private let rate: Double?
    private let regions: [DemoRegion]
    private let bursts: [Burst]
    // One generator a purpose, so that one more roll here does not move every result there.
    private var times: Dice
    private var lengths: Dice
    private var places: Dice
    private var copies: Dice

    private var index = 0
    private var clock: Seconds = 0
    private var number: UInt64 = 0
    private var upcoming: Arrival?
    /// Sorted by time, latest first.
    private var waiting: [Arrival] = []

    init(_ requests: Requests, rate: Double?, regions: [DemoRegion], bursts: [Burst], seed: UInt64) {
        self.requests = requests
        if case .synthetic = requests { self.rate = rate ?? Geography.defaultRate } else { self.rate = rate }
        self.regions = regions
        self.bursts = bursts
        var seeds = Dice(seed: seed)
        self.times = Dice(seed: seeds.next())
        self.lengths = Dice(seed: seeds.next())
        self.places = Dice(seed: seeds.next())
        self.copies = Dice(seed: seeds.next())
    }

    mutating func next() -> Arrival {
        while true {
            let upcoming = self.upcoming ?? self.draw()
            if let first = self.waiting.last, first.time <= upcoming.time {
                self.upcoming = upcoming
                self.waiting.removeLast()
                return self.numbered(first)
            }
            self.upcoming = nil
            self.multiply(upcoming)
        }
    }

    private mutating func numbered(_ arrival: Arrival) -> Arrival {
        defer { self.number += 1 }
        var arrival = arrival
        arrival.number = self.number
        return arrival
    }

    private mutating func multiply(_ arrival: Arrival) {
        let factor = self.bursts.filter { $0.region == arrival.source && $0.covers(arrival.time) }
            .reduce(1) { $0 * $1.factor }
        var count = Int(factor)
        if Double.random(in: 0..<1, using: &self.copies) < factor - Double(count) { count += 1 }
        for copy in 0..<count {
            var arrival = arrival
            if copy > 0 { arrival.time += Double.random(in: 0..<Self.spread, using: &self.copies) }
            let place = self.waiting.firstIndex { $0.time <= arrival.time } ?? self.waiting.endIndex
            self.waiting.insert(arrival, at: place)
        }
    }

    private mutating func draw() -> Arrival {
        let row: TraceRow
        switch self.requests {
        case .synthetic:
            row = TraceRow(
                time: 0,
                promptTokens: SyntheticLengths.promptTokens(using: &self.lengths),
                outputTokens: SyntheticLengths.outputTokens(using: &self.lengths)
            )
        case .trace(let rows):
            let (lap, place) = self.index.quotientAndRemainder(dividingBy: rows.count)
            row = rows[place]
            let span = rows.last?.time ?? 0
            // Between the end and the next beginning lies a mean gap; a trace of one instant repeats each second.
            let period = span > 0 ? span * Double(rows.count) / Double(max(1, rows.count - 1)) : 1
            if self.rate == nil { self.clock = Double(lap) * period + row.time }
        }
        if let rate { self.clock += -log(1 - Double.random(in: 0..<1, using: &self.times)) / rate }
        self.index += 1
        return Arrival(
            number: 0,
            time: self.clock,
            source: self.drawRegion(),
            promptTokens: row.promptTokens,
            outputTokens: row.outputTokens,
            blocks: row.blocks
        )
    }

    private mutating func drawRegion() -> RegionName {
        var point = Double.random(in: 0..<1, using: &self.places) * self.regions.map(\.demand).reduce(0, +)
        for region in self.regions {
            point -= region.demand
            if point < 0 { return region.name }
        }
        return self.regions[self.regions.count - 1].name
    }
}
