import FleetModel
import TestKit
import Testing

@testable import FleetSimulator

@Suite struct ArrivalTests {
    private func times(_ process: ArrivalProcess, _ trace: [Seconds], seed: UInt64, count: Int) -> [Seconds] {
        var times = ArrivalTimes(process, of: trace, rate: 10, seed: seed)
        return (0..<count).map { _ in times.next() }
    }

    @Test func `the trace's times keep their shape, at the rate that is asked for`() {
        // Ten requests in one second, then one in each of ten.
        let trace = (0..<10).map { Double($0) / 10 } + (1...10).map { Double($0) }
        let lap = Double(trace.count) / 10
        let times = self.times(.trace, trace, seed: 1, count: 41)
        #expect(times == times.sorted())
        #expect(abs(times[20] - times[0] - lap) < 1e-9)
        #expect(abs(times[40] - times[0] - 2 * lap) < 1e-9)
        let gaps = zip(times.dropFirst(), times).map { $0 - $1 }.sorted()
        #expect((gaps.last ?? 0) / (gaps.first ?? 1) > 9)
        #expect(self.times(.trace, trace, seed: 1, count: 41) == times)
    }

    @Test func `seeds begin at different places of a trace`() {
        let trace = (0..<1_000).map { Double($0 * $0) }
        let firsts = Set((1...5).map { ArrivalTimes(.trace, of: trace, rate: 10, seed: $0).first })
        #expect(firsts.count > 1)
    }

    @Test func `requests of one instant are spread until the next`() {
        let trace = [0, 3, 3, 3, 3, 6, 9, 12].map(Double.init)
        let times = self.times(.trace, trace, seed: 3, count: 9)
        let gaps = zip(times.dropFirst(), times).map { $0 - $1 }
        #expect(gaps.allSatisfy { $0 > 0 })
    }

    @Test func `a trace without times, and Poisson, give random times at the same rate`() {
        for (process, trace) in [(ArrivalProcess.trace, [0.0, 0, 0]), (.poisson, [0.0, 1, 2])] {
            let times = self.times(process, trace, seed: 1, count: 10_000)
            #expect(times == times.sorted())
            // The standard deviation of the last time is 1 % of its mean.
            #expect(abs((times.last ?? 0) / 1_000 - 1) < 0.05)
        }
    }

    @Test func `distance, waiting and prefill make up the time to first token`() throws {
        let comparison = try SmallWorld.comparison([.ours], load: 0.9)
        let outcome = SmallWorld.outcome(comparison, .ours).outcome
        let parts = outcome.parts
        #expect(abs(parts.distance + parts.waiting + parts.prefill - outcome.ttft.mean) < 1e-9)
        #expect(parts.distance > 0 && parts.waiting > 0.006 && parts.prefill > 0)
        #expect(abs(outcome.partsOfClusters.reduce(0) { $0 + $1.share } - 1) < 1e-9)
    }
}
