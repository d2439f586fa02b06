import FleetModel
import TestKit
import Testing

@testable import EngineSignals

@Suite struct `A scrape schedule` {
    @Test func `keeps its beat to within a tenth of the period, without drift`() {
        var dice = SeededGenerator(seed: 7)
        var schedule = ScrapeSchedule(now: 50, using: &dice)
        let first = schedule.first
        #expect((50..<50.2).contains(first))
        var due = first
        for beat in 1...500 {
            due = schedule.next(after: .success(reading(running: 3)), now: due + 0.01, using: &dice)
            #expect(abs(due - (first + 0.2 * Double(beat))) <= 0.02 + 1e-9)
        }
    }

    @Test func `doubles the period with each failure but the first, up to two seconds, and returns at once`() {
        var dice = SeededGenerator(seed: 7)
        var schedule = ScrapeSchedule(now: 0, using: &dice)
        var due = schedule.first
        var gaps: [Double] = []
        for _ in 0..<7 {
            let next = schedule.next(after: .failure(.refused), now: due, using: &dice)
            gaps.append(next - due)
            due = next
        }
        for (gap, expected) in zip(gaps, [0.2, 0.4, 0.8, 1.6, 2, 2, 2]) {
            let least = expected > 0.2 ? 0.5 : 0.8
            #expect((least * expected - 0.25..<1.2 * expected + 0.25).contains(gap), "\(gap) instead of \(expected)")
        }
        #expect(abs(schedule.next(after: .success(reading(running: 3)), now: due, using: &dice) - due) <= 0.45)
    }

    @Test func `leaves out the beats that a slow scrape slept through`() {
        var dice = SeededGenerator(seed: 7)
        var schedule = ScrapeSchedule(now: 0, using: &dice)
        let next = schedule.next(after: .success(reading(running: 3)), now: 10, using: &dice)
        #expect((10...10.25).contains(next))
    }

    @Test func `spreads a hundred endpoints over the period`() {
        var dice = SeededGenerator(seed: 7)
        var tenths = Array(repeating: 0, count: 10)
        for _ in 0..<100 { tenths[Int(ScrapeSchedule(now: 0, using: &dice).first / 0.02)] += 1 }
        #expect(tenths.allSatisfy { (2...22).contains($0) }, "\(tenths)")
    }

    private func gap(_ readings: [EngineReading], every period: Seconds = 0.2) -> Seconds {
        var dice = SeededGenerator(seed: 7)
        var schedule = ScrapeSchedule(now: 0, using: &dice)
        var (due, gap) = (schedule.first, 0.0)
        for reading in readings {
            let next = schedule.next(after: .success(reading), now: due, using: &dice)
            (due, gap) = (next, next - due)
        }
        return gap
    }

    @Test func `reads a busy endpoint twice as often, at once, and an idle one less often once it is steady`() {
        let busy = Array(repeating: reading(running: 3, waiting: 1), count: 20)
        let full = Array(repeating: reading(running: 3, [.kvUse: 0.85]), count: 20)
        let idle = Array(repeating: reading(), count: 60)
        #expect(abs(self.gap(busy) - 0.1) <= 0.021)
        #expect(abs(self.gap(full) - 0.1) <= 0.021)
        #expect(abs(self.gap([reading(running: 3)]) - 0.2) <= 0.041)
        #expect(abs(self.gap(Array(idle.prefix(20))) - 0.2) <= 0.041)
        #expect(abs(self.gap(idle) - 0.5) <= 0.101)
        #expect(abs(self.gap(idle + [reading(running: 1)]) - 0.2) <= 0.075)
        // An engine that does not say how many run is not idle.
        #expect(abs(self.gap(Array(repeating: EngineReading(engine: .triton), count: 60)) - 0.2) <= 0.041)
    }

    @Test func `does not gather a thousand endpoints that a cut network gives back`() {
        var dice = SeededGenerator(seed: 7)
        var slots = Array(repeating: 0, count: 10)
        for _ in 0..<1000 {
            var schedule = ScrapeSchedule(now: 0, using: &dice)
            var due = schedule.first
            while due < 60 { due = schedule.next(after: .failure(.timeout), now: due + 1, using: &dice) }
            slots[min(9, Int((due - 60) / 0.2))] += 1
        }
        // Each waits one to two seconds; what the first second holds must be spread over it.
        #expect(slots.prefix(5).allSatisfy { (60...240).contains($0) }, "\(slots)")
    }
}
