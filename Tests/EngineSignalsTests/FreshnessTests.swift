import FleetModel
import Testing

@testable import EngineSignals

/// Nothing that was read stays when it is not read again: it vanishes, or it has an age that grows.
@Suite struct `What an engine said` {
    private let name: PoolName

    init() throws { self.name = try PoolName("llm/chat") }

    /// A pool of one endpoint that has served for a minute.
    private func served(_ engine: inout SteadyEngine) -> PoolObserver {
        var pool = PoolObserver(pool: self.name, endpoints: [endpoint(1)], settings: SignalSettings(maxRunning: 64))
        for _ in 0..<300 { pool.take(.success(engine.next()), from: endpoint(1), now: engine.now) }
        return pool
    }

    /// The fields that hold a number, by reflection: a field that is new is in this test without being named here.
    private func numbers(in digest: PoolDigest) -> [String] {
        let plain: Set = ["pool", "state", "trouble", "endpointsReady", "endpointsKnown", "loraSet"]
        return Mirror(reflecting: digest).children.compactMap { child in
            guard let label = child.label, !plain.contains(label) else { return nil }
            return Mirror(reflecting: child.value).children.isEmpty ? nil : label
        }.sorted()
    }

    @Test func `is all there while it is read`() {
        var engine = SteadyEngine(rate: 4)
        let digest = self.served(&engine).digest(now: engine.now)
        #expect(
            self.numbers(in: digest) == [
                "capacity", "errorShare", "freeSeats", "generationTokenRate", "kvMax", "kvMean", "promptTokenRate",
                "queueScale", "readingAge", "requestRate", "running", "unloadedTTFT", "waiting",
            ]
        )
    }

    @Test func `is gone from the digest when the engine hangs, and its age grows until then`() {
        var engine = SteadyEngine(rate: 4)
        let pool = self.served(&engine)
        let young = pool.digest(now: engine.now + 0.5)
        let old = pool.digest(now: engine.now + 1.5)
        #expect(abs((young.readingAge ?? 0) - 0.5) < 1e-9 && abs((old.readingAge ?? 0) - 1.5) < 1e-9)
        let gone = pool.digest(now: engine.now + 2.1)
        #expect(self.numbers(in: gone) == [])
        #expect(gone.state == .down && gone.trouble == .blind)
        // A sample says how old it is, and a gateway takes none that old for load.
        #expect(pool.samples(now: engine.now + 2.1).allSatisfy { engine.now + 2.1 - $0.takenAt > 2 })
    }

    @Test(arguments: [ScrapeFault.refused, .timeout, .status(500), .tooLarge, .noKnownSeries, .unreadable("x")])
    func `is gone when the engine fails three times`(fault: ScrapeFault) {
        var engine = SteadyEngine(rate: 4)
        var pool = self.served(&engine)
        for failure in 1...3 {
            #expect(self.numbers(in: pool.digest(now: engine.now + 0.1)).isEmpty == false, "before failure \(failure)")
            pool.take(.failure(fault), from: endpoint(1), now: engine.now + 0.1)
        }
        #expect(self.numbers(in: pool.digest(now: engine.now + 0.1)) == [])
    }

    @Test func `is gone when its names change: an engine that answers without its counters has no rates`() {
        var engine = SteadyEngine(rate: 4)
        var pool = self.served(&engine)
        for _ in 0..<25 {
            var page = engine.next()
            for signal in [EngineSignal.finished, .failed, .promptTokens, .generationTokens] { page[signal] = nil }
            pool.take(.success(page), from: endpoint(1), now: engine.now)
        }
        let digest = pool.digest(now: engine.now)
        #expect(digest.state == .active && digest.running == 8)
        #expect(digest.errorShare == nil)
        #expect(digest.requestRate == nil && digest.promptTokenRate == nil && digest.generationTokenRate == nil)
    }

    @Test func `is gone when it stops saying how many run or wait`() {
        var engine = SteadyEngine(rate: 4)
        var pool = self.served(&engine)
        var page = engine.next()
        page[.waiting] = nil
        pool.take(.success(page), from: endpoint(1), now: engine.now)
        #expect(self.numbers(in: pool.digest(now: engine.now)) == [])
        #expect(pool.digest(now: engine.now).trouble == .blind)
    }

    @Test func `does not hide in the sum: one dead endpoint of two takes its share with it`() {
        var pool = PoolObserver(pool: self.name, endpoints: [endpoint(1), endpoint(2)])
        var (live, dead) = (SteadyEngine(rate: 4), SteadyEngine(rate: 4))
        for _ in 0..<300 {
            pool.take(.success(live.next()), from: endpoint(1), now: live.now)
            pool.take(.success(dead.next()), from: endpoint(2), now: dead.now)
        }
        let both = pool.digest(now: live.now)
        for _ in 0..<11 { pool.take(.success(live.next()), from: endpoint(1), now: live.now) }
        let one = pool.digest(now: live.now)
        #expect(both.endpointsReady == 2 && one.endpointsReady == 1)
        #expect(both.running == 16 && one.running == 8)
        #expect(abs((both.requestRate ?? 0) - 8) < 1e-6 && abs((one.requestRate ?? 0) - 4) < 1e-6)
        #expect(abs((one.capacity ?? 0) / (both.capacity ?? 1) - 0.5) < 0.05)
    }
}
