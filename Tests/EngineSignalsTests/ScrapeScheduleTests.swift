import TestKit
import Testing

@testable import EngineSignals

@Suite struct `A scrape schedule` {
    @Test func `keeps its beat to within a tenth of the period, without drift`() {
        var dice = SeededGenerator(seed: 7)
        var schedule = ScrapeSchedule(period: 0.2, now: 50, using: &dice)
        let first = schedule.first
        #expect((50..<50.2).contains(first))
        var due = first
        for beat in 1...500 {
            due = schedule.next(succeeded: true, now: due + 0.01, using: &dice)
            #expect(abs(due - (first + 0.2 * Double(beat))) <= 0.02 + 1e-9)
        }
    }

    @Test func `doubles the period with each failure but the first, up to two seconds, and returns at once`() {
        var dice = SeededGenerator(seed: 7)
        var schedule = ScrapeSchedule(period: 0.2, now: 0, using: &dice)
        var due = schedule.first
        var gaps: [Double] = []
        for _ in 0..<7 {
            let next = schedule.next(succeeded: false, now: due, using: &dice)
            gaps.append(next - due)
            due = next
        }
        for (gap, expected) in zip(gaps, [0.2, 0.4, 0.8, 1.6, 2, 2, 2]) {
            #expect(abs(gap - expected) <= 0.2 * expected + 0.05, "\(gap) instead of \(expected)")
        }
        #expect(abs(schedule.next(succeeded: true, now: due, using: &dice) - due) <= 0.45)
    }

    @Test func `leaves out the beats that a slow scrape slept through`() {
        var dice = SeededGenerator(seed: 7)
        var schedule = ScrapeSchedule(period: 0.2, now: 0, using: &dice)
        let next = schedule.next(succeeded: true, now: 10, using: &dice)
        #expect((10...10.25).contains(next))
    }

    @Test func `spreads a hundred endpoints over the period`() {
        var dice = SeededGenerator(seed: 7)
        var tenths = Array(repeating: 0, count: 10)
        for _ in 0..<100 { tenths[Int(ScrapeSchedule(period: 0.2, now: 0, using: &dice).first / 0.02)] += 1 }
        #expect(tenths.allSatisfy { (2...22).contains($0) }, "\(tenths)")
    }
}
