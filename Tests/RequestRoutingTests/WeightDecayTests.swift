import Testing

@testable import RequestRouting

@Suite("A plan that nobody confirms any more")
struct WeightDecayTests {
    @Test("keeps its local share; the remote one goes from the plan's split to one by distance")
    func decays() {
        // At home, near, far; the plan prefers the far one.
        let plan = [0.5, 0.1, 0.4, 0.0]
        let trips = [0.0, 0.05, 0.1, 0.01]
        func weights(overdue: Double) -> [Double] {
            var weights = plan
            decay(&weights, overdue: overdue, timeToLive: 60, isLocal: { $0 == 0 }, roundTrip: { trips[$0] })
            return weights
        }
        #expect(weights(overdue: 0) == plan)
        var near = plan[1]
        for overdue in stride(from: 10.0, through: 600, by: 10) {
            let now = weights(overdue: overdue)
            #expect(now[0] == 0.5 && now[3] == 0)
            #expect(abs(now.reduce(0, +) - 1) < 1e-12)
            #expect(now[1] >= near)
            near = now[1]
        }
        // 1/50² to 1/100² is four to one; after one time to live 1/e of the plan is left.
        #expect(abs(weights(overdue: 60_000)[1] - 0.4) < 1e-9)
        #expect(abs(weights(overdue: 60)[1] - (0.1 * 0.367_879 + 0.4 * 0.632_121)) < 1e-5)
    }
}
