import Testing

@testable import RequestRouting

@Suite("The budget for tries after the first")
struct RetryBudgetTests {
    @Test("what is under way when half a fleet dies may all be tried once more")
    func massLoss() {
        var budget = RetryBudget()
        let granted = (0..<5_000).count { _ in budget.take(underWay: 2_000, now: 0) }
        #expect(granted == 2_100)
    }

    @Test("a storm that goes on is held to a share of the requests")
    func storm() {
        var budget = RetryBudget(share: 0.2)
        var (requests, granted) = (0, 0)
        // A thousand requests a second for a minute, each of which fails again and again.
        for tick in 0..<60_000 {
            budget.arrived()
            requests += 1
            for _ in 0..<2 where budget.take(underWay: 100, now: Double(tick) / 1_000) { granted += 1 }
        }
        let share = Double(granted) / Double(requests)
        #expect(share > 0.19 && share < 0.22)
    }

    @Test("a quiet gateway pays back what it spent by itself")
    func payback() {
        var budget = RetryBudget(share: 0.2)
        while budget.take(underWay: 0, now: 0) {}
        let (atOnce, later) = (budget.take(underWay: 0, now: 0), budget.take(underWay: 0, now: 1))
        #expect(!atOnce && later)
    }
}
