import FleetModel
import TestKit

/// When the requests of a run come.
package enum ArrivalProcess: String, Sendable, CaseIterable {
    /// At the trace's own times, all stretched alike so that their mean rate is the run's.
    case trace
    /// At random, one independent of the other.
    case poisson
}

/// The times of arrivals, without end, at one mean rate.
///
/// By the trace: the seed draws the request that a run begins with, so that seeds differ in more than dice; after the
/// last one the first follows again, one mean gap later. Requests of one instant are spread at random until the next
/// instant, since traces round their times. A trace without times gives Poisson arrivals.
struct ArrivalTimes: Sendable {
    /// The place of the first request in the trace.
    let first: Int
    private let rate: Double
    /// Seconds from each request to the next one; empty for Poisson arrivals.
    private var gaps: [Seconds] = []
    private var place: Int
    private var clock: Seconds = 0
    private var dice: SeededGenerator

    /// `times` are sorted, in seconds, and not empty; `rate` is in requests per second.
    init(_ process: ArrivalProcess, of times: [Seconds], rate: Double, seed: UInt64) {
        self.rate = rate
        self.dice = SeededGenerator(seed: seed)
        let span = (times.last ?? 0) - (times.first ?? 0)
        guard process == .trace, span > 0, times.count > 1 else {
            self.first = 0
            self.place = 0
            return
        }
        let meanGap = span / Double(times.count - 1)
        let spread = Self.spread(times, last: meanGap, using: &self.dice)
        let scale = 1 / (rate * meanGap)
        self.gaps = spread.indices.map { place in
            let next = place + 1 < spread.count ? spread[place + 1] : spread[0] + span + meanGap
            return (next - spread[place]) * scale
        }
        self.first = Int.random(in: 0..<times.count, using: &self.dice)
        self.place = self.first
    }

    mutating func next() -> Seconds {
        guard !self.gaps.isEmpty else {
            self.clock -= Math.log(1 - Double.random(in: 0..<1, using: &self.dice)) / self.rate
            return self.clock
        }
        defer {
            self.clock += self.gaps[self.place]
            self.place = (self.place + 1) % self.gaps.count
        }
        return self.clock
    }

    /// Gives requests of one instant times of their own; the first one keeps its time.
    private static func spread(_ times: [Seconds], last: Seconds, using dice: inout SeededGenerator) -> [Seconds] {
        var spread = times
        var start = 0
        while start < times.count {
            let end = times[start...].firstIndex { $0 > times[start] } ?? times.count
            let next = end < times.count ? times[end] : times[start] + last
            let others = (start + 1..<end).map { _ in Double.random(in: times[start]..<next, using: &dice) }
            spread.replaceSubrange(start + 1..<end, with: others.sorted())
            start = end
        }
        return spread
    }
}
