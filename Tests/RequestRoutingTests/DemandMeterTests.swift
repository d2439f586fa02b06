import FleetModel
import RequestRouting
import TestKit
import Testing

@Suite("Measuring demand")
struct DemandMeterTests {
    private func rate(_ meter: DemandMeter, now: Seconds) -> Double { meter.rates(now: now).first?.rate ?? 0 }

    @Test("a steady stream is read as its rate, also in the first seconds")
    func steady() throws {
        let pool = try PoolName("llama")
        var meter = DemandMeter(start: 0)
        for step in 1...200 {
            let now = Double(step) / 10
            meter.arrived(pool: pool, band: .standard, now: now)
            if step >= 20 { #expect((8.5...12).contains(self.rate(meter, now: now)), "at \(now) s") }
        }
    }

    @Test("premium answers a burst within a second and forgets it slowly")
    func burst() throws {
        let pool = try PoolName("llama")
        var meter = DemandMeter(start: 0)
        func feed(_ rate: Double, from start: Double, to end: Double, _ band: Band) {
            var now = start
            while now < end {
                meter.arrived(pool: pool, band: band, now: now)
                now += 1 / rate
            }
        }
        feed(5, from: 0, to: 60, .premium)
        feed(20, from: 60, to: 61.5, .premium)
        #expect(self.rate(meter, now: 61.5) > 15)
        feed(5, from: 61.5, to: 66, .premium)
        #expect(self.rate(meter, now: 66) > 5)
    }

    @Test("demand that stops decays to nothing")
    func stops() throws {
        var meter = DemandMeter(start: 0)
        for step in 1...100 { meter.arrived(pool: try PoolName("llama"), band: .standard, now: Double(step) / 10) }
        #expect(self.rate(meter, now: 60) < 0.01)
    }
}
