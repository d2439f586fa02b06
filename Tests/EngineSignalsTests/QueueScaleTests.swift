import EngineModel
import Exposition
import FleetModel
import Foundation
import Testing

@testable import EngineSignals

@Suite struct `The queue scale` {
    @Test func `is the time between two departures before anything was learned`() {
        #expect(QueueScale().scale(capacity: 20) == 0.05)
        #expect(QueueScale().scale(capacity: 0) == nil)
    }

    @Test func `goes to the slope that the delays have`() throws {
        var queue = QueueScale()
        for round in 0..<400 {
            let load = [0.3, 0.5, 0.7, 0.85][round % 4]
            queue.learn(delay: 0.02 * QueueScale.shape(load: load, servers: 4), load: load, servers: 4)
        }
        #expect(abs(try #require(queue.scale(capacity: 20)) - 0.02) < 0.001)
    }

    @Test func `has a shape that grows without a jump through full load`() {
        let loads = stride(from: 0, through: 1.5, by: 0.001)
        let shapes = loads.map { QueueScale.shape(load: $0, servers: 3) }
        #expect(shapes.first == 0)
        #expect(zip(shapes, shapes.dropFirst()).allSatisfy { $0 < $1 && $1 - $0 < 2 })
    }

    @Test(arguments: ["8b-h100", "8b-l40s", "70b-h100-tp4"], [0.3, 0.5, 0.7, 0.85])
    func `makes the delay curve meet a simulated engine's time to first token`(name: String, load: Double) throws {
        let profile = try EngineProfile(named: name)
        let rate = try #require(try EngineTrial.truths[name]?.get()) * load
        var trial = try EngineTrial(profile, rate: rate, seed: 11)
        var pool = PoolObserver(pool: try PoolName("chat"), endpoints: [endpoint(1)])
        while trial.now < 120 { pool.take(.success(try trial.next()), from: endpoint(1), now: trial.now) }
        let digest = pool.digest(now: trial.now)
        let before = trial.metrics.timeToFirstToken
        while trial.now < 300 { _ = try trial.next() }
        let after = trial.metrics.timeToFirstToken
        let measured = (after.sum - before.sum) / Double(after.count - before.count)

        let capacity = try #require(digest.capacity)
        let unloaded = try #require(digest.unloadedTTFT)
        let scale = try #require(digest.queueScale)
        let curve = unloaded + scale * QueueScale.shape(load: rate / capacity, servers: 1)
        print(
            String(
                format: "%@ at load %.2f: %.0f ms measured, %.0f by the curve (T %.0f, q %.0f)",
                name,
                load,
                measured * 1e3,
                curve * 1e3,
                unloaded * 1e3,
                scale * 1e3
            )
        )
        // Near full load a twentieth of the capacity doubles the curve's delay, and it errs towards the longer wait.
        #expect((0.6...(load < 0.8 ? 1.6 : 4)).contains(curve / measured))
    }
}
