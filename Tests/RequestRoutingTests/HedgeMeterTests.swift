import Testing

@testable import RequestRouting

@Suite("When a second try may run beside the first")
struct HedgeMeterTests {
    @Test("not before enough is known, and then after the percentile of what was seen of late")
    func delay() {
        var meter = HedgeMeter(percentile: 0.95, share: 0.05)
        for number in 1...31 { meter.began(after: Double(number) / 100) }
        #expect(meter.delay == nil)
        for number in 32...256 { meter.began(after: Double(number) / 100) }
        let first = meter.delay ?? 0
        #expect(first > 2.3 && first < 2.56)
        // What was slow once is forgotten.
        for _ in 0..<256 { meter.began(after: 0.2) }
        #expect(meter.delay == 0.2)
        for _ in 0..<256 { meter.began(after: 0.001) }
        #expect(meter.delay == HedgeMeter.shortest)
    }

    @Test("never more second tries than their share of the requests, and a few at once")
    func budget() {
        var meter = HedgeMeter(percentile: 0.95, share: 0.05)
        var granted = 0
        for _ in 0..<10_000 {
            meter.arrived()
            if meter.take() { granted += 1 }
        }
        #expect(granted >= 500 && granted <= 501)
        for _ in 0..<10_000 { meter.arrived() }
        var atOnce = 0
        while meter.take() { atOnce += 1 }
        #expect(atOnce == 10)
    }
}
