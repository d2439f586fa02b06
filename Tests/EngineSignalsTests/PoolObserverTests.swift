import FleetModel
import Testing

@testable import EngineSignals

@Suite struct `A pool` {
    let name: PoolName

    init() throws { self.name = try PoolName("llm/chat") }

    private func observer(_ ports: Int..., settings: SignalSettings = SignalSettings()) -> PoolObserver {
        PoolObserver(pool: self.name, endpoints: ports.map(endpoint), settings: settings)
    }

    @Test func `without a fresh endpoint is down and knows nothing`() {
        var pool = self.observer(1, 2)
        func unknown(_ trouble: PoolTrouble) -> PoolDigest {
            PoolDigest(pool: self.name, state: .down, trouble: trouble, endpointsReady: 0, endpointsKnown: 2)
        }
        #expect(pool.digest(now: 0) == unknown(.unread))
        pool.take(.success(reading(running: 4)), from: endpoint(1), now: 0)
        #expect(pool.digest(now: 0).state == .active)
        #expect(pool.digest(now: 0).trouble == nil)
        #expect(pool.digest(now: 10) == unknown(.blind))
    }

    @Test func `counts fresh endpoints only`() {
        var pool = self.observer(1, 2, 3)
        pool.take(.success(reading(running: 4, waiting: 2, [.kvUse: 0.2])), from: endpoint(1), now: 0)
        pool.take(.success(reading(running: 6, [.kvUse: 0.9])), from: endpoint(2), now: 1)
        pool.take(.failure(.refused), from: endpoint(3), now: 1)
        let digest = pool.digest(now: 1)
        #expect(digest.endpointsReady == 2 && digest.endpointsKnown == 3)
        #expect(digest.running == 10 && digest.waiting == 2)
        #expect(digest.kvMean == 0.55 && digest.kvMax == 0.9)
        #expect(digest.readingAge == 1)
        #expect(digest.capacity == nil && digest.freeSeats == nil && digest.unloadedTTFT == nil)
        let later = pool.digest(now: 2.5)
        #expect(later.endpointsReady == 1 && later.running == 6)
        #expect(pool.samples(now: 2.5).map { $0.load?.running } == [4, 6, nil])
        #expect(pool.samples(now: 2.5).map(\.takenAt) == [0, 1, 2.5 - EndpointTracker.longestAge])
    }

    @Test func `that the operator drains says so while it has fresh endpoints`() {
        var pool = self.observer(1)
        pool.wanted = .draining
        #expect(pool.digest(now: 0).state == .down)
        pool.take(.success(reading()), from: endpoint(1), now: 0)
        #expect(pool.digest(now: 0).state == .draining)
    }

    @Test func `sums capacities, and lets a new endpoint count as its least able peer`() throws {
        var pool = self.observer(1, 2, 3, settings: SignalSettings(maxRunning: 64))
        var slow = SteadyEngine(rate: 4)
        var quick = SteadyEngine(rate: 8)
        for _ in 0..<300 {
            pool.take(.success(slow.next()), from: endpoint(1), now: slow.now)
            pool.take(.success(quick.next()), from: endpoint(2), now: quick.now)
        }
        let two = pool.digest(now: slow.now)
        pool.take(.success(reading()), from: endpoint(3), now: slow.now)
        let three = pool.digest(now: slow.now)
        let capacities = try [1, 2].map { try #require(pool[endpoint($0)]?.capacity) }
        let least = try #require(capacities.min())
        #expect(abs((two.capacity ?? 0) - 0.95 * (capacities[0] + capacities[1])) < 1e-9)
        #expect(abs((three.capacity ?? 0) - 0.95 * (capacities[0] + capacities[1] + least)) < 1e-9)
        #expect(two.freeSeats == (64 - 8) + (64 - 16))
        #expect(three.freeSeats == (64 - 8) + (64 - 16) + 64)
        #expect(abs((two.requestRate ?? 0) - 12) < 1e-6)
        #expect(abs((two.promptTokenRate ?? 0) - 9600) < 1e-3)
        #expect(abs((two.generationTokenRate ?? 0) - 1200) < 1e-3)
        #expect(abs((two.unloadedTTFT ?? 0) - 0.05) < 1e-6)
        #expect(two.queueScale != nil)
    }

    @Test func `says what share of the requests ends in an error, of the engines that say it`() throws {
        var pool = self.observer(1, 2, 3)
        var (sound, failing) = (SteadyEngine(rate: 6), SteadyEngine(rate: 2))
        failing.failing = 0.5
        for _ in 0..<100 {
            pool.take(.success(sound.next()), from: endpoint(1), now: sound.now)
            pool.take(.success(failing.next()), from: endpoint(2), now: sound.now)
            var silent = sound.next(after: 0)
            silent[.failed] = nil
            pool.take(.success(silent), from: endpoint(3), now: sound.now)
        }
        let digest = pool.digest(now: sound.now)
        #expect(abs((digest.errorShare ?? 0) - 1.0 / 8) < 1e-6)
        // What failed was not finished: 6 and 1, and 6 of the one that does not say.
        #expect(abs((digest.requestRate ?? 0) - 13) < 1e-6)
    }

    @Test func `says no share of errors of an engine that does not say it, or at which nothing ends any more`() {
        var pool = self.observer(1)
        var engine = SteadyEngine(rate: 4)
        engine.failing = 1
        for _ in 0..<100 { pool.take(.success(engine.next()), from: endpoint(1), now: engine.now) }
        #expect(pool.digest(now: engine.now).errorShare == 1)
        engine.rate = 0
        for _ in 0..<250 { pool.take(.success(engine.next()), from: endpoint(1), now: engine.now) }
        #expect(pool.digest(now: engine.now).errorShare == nil)
        for _ in 0..<100 {
            var page = engine.next()
            page[.failed] = nil
            pool.take(.success(page), from: endpoint(1), now: engine.now)
        }
        #expect(pool.digest(now: engine.now).errorShare == nil)
    }

    /// The hub multiplies the capacity with what does not fail, so that the capacity is that of a sound engine.
    @Test(arguments: [0.0, 50], [(true, 6.0), (false, 12)])
    func `counts an error once, wherever in a request it comes`(
        waiting: Double,
        failing: (isLate: Bool, rate: Double)
    ) throws {
        // The broken engine works on six requests a second as well: all of its six, or those of its twelve that it
        // does not refuse.
        var (sound, broken) = (SteadyEngine(rate: 6), SteadyEngine(rate: failing.rate))
        (sound.waiting, broken.waiting) = (waiting, waiting)
        (broken.failing, broken.failsLate) = (0.5, failing.isLate)
        var (whole, part) = (self.observer(1), self.observer(1))
        for _ in 0..<400 {
            whole.take(.success(sound.next()), from: endpoint(1), now: sound.now)
            part.take(.success(broken.next()), from: endpoint(1), now: broken.now)
        }
        let (wholly, partly) = (whole.digest(now: sound.now), part.digest(now: broken.now))
        #expect(wholly.errorShare == 0 && abs((partly.errorShare ?? 0) - 0.5) < 1e-6)
        let ratio = try #require(partly.capacity) / #require(wholly.capacity)
        #expect(abs(ratio - 1) < 0.02, "\(ratio)")
    }

    @Test func `has no free seat where a queue stands`() {
        var pool = self.observer(1, 2, settings: SignalSettings(maxRunning: 64))
        pool.take(.success(reading(running: 10, waiting: 1)), from: endpoint(1), now: 0)
        pool.take(.success(reading(running: 10)), from: endpoint(2), now: 0)
        #expect(pool.digest(now: 0).freeSeats == 54)
    }

    @Test func `keeps what it knows of the endpoints that stay`() {
        var pool = self.observer(1, 2)
        pool.take(.success(reading(running: 4)), from: endpoint(1), now: 0)
        pool.replace(endpoints: [endpoint(1), endpoint(3)])
        #expect(pool.endpoints == [endpoint(1), endpoint(3)])
        #expect(pool.digest(now: 0).running == 4)
        #expect(pool.take(.success(reading(running: 4)), from: endpoint(2), now: 0) == nil)
        #expect(pool.digest(now: 0).endpointsReady == 1)
    }

    @Test func `sends at once what cannot wait for the period`() {
        func digest(
            _ state: ClusterState = .active,
            ready: Int = 4,
            waiting: Int = 0,
            errors: Double? = nil,
            capacity: Double? = 100
        ) -> PoolDigest {
            PoolDigest(
                pool: self.name,
                state: state,
                endpointsReady: ready,
                endpointsKnown: 4,
                waiting: waiting,
                errorShare: errors,
                capacity: capacity
            )
        }
        #expect(digest().isSignificant(after: nil))
        #expect(!digest().isSignificant(after: digest()))
        #expect(digest(.draining).isSignificant(after: digest()))
        #expect(digest(ready: 3).isSignificant(after: digest()))
        #expect(!digest(waiting: 3).isSignificant(after: digest()))
        #expect(digest(waiting: 4).isSignificant(after: digest()))
        #expect(!digest(waiting: 40).isSignificant(after: digest(waiting: 4)))
        #expect(digest().isSignificant(after: digest(waiting: 4)))
        #expect(!digest(errors: 0.1).isSignificant(after: digest()))
        #expect(digest(errors: 0.3).isSignificant(after: digest(errors: 0)))
        #expect(!digest(capacity: 119).isSignificant(after: digest()))
        #expect(digest(capacity: 121).isSignificant(after: digest()))
        #expect(digest(capacity: nil).isSignificant(after: digest()))
    }
}
