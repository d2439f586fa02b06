import FleetModel
import Testing

@testable import EngineSignals

@Suite struct `An endpoint` {
    @Test func `that was never read is unknown, not idle`() {
        let tracker = EndpointTracker(endpoint: endpoint(1))
        let sample = tracker.sample(now: 5)
        #expect(sample.load == nil && 5 - sample.takenAt == EndpointTracker.longestAge)
        #expect(!tracker.isFresh(now: 5))
    }

    @Test func `stays fresh through two failed scrapes and is stale at the third`() {
        var tracker = EndpointTracker(endpoint: endpoint(1))
        let load = EndpointLoad(running: 3, waiting: 1, kvUse: 0.5)
        #expect(tracker.read(reading(running: 3, waiting: 1, [.kvUse: 0.5]), now: 1).load == load)
        #expect(tracker.failed(.timeout, now: 1.2).load == load)
        #expect(tracker.failed(.timeout, now: 1.4) == EndpointSample(endpoint: endpoint(1), load: load, takenAt: 1))
        #expect(tracker.failed(.refused, now: 1.6).load == nil)
        #expect(tracker.lastFault == .refused)
        #expect(tracker.read(reading(), now: 1.8).load != nil)
        #expect(tracker.failuresInARow == 0)
    }

    @Test func `goes stale with age alone`() {
        var tracker = EndpointTracker(endpoint: endpoint(1))
        _ = tracker.read(reading(), now: 1)
        #expect(tracker.isFresh(now: 3))
        #expect(!tracker.isFresh(now: 3.1))
        #expect(tracker.sample(now: 3.1).takenAt == 1, "a stall of the agent is nothing against an endpoint")
    }

    @Test func `has a window a second, with the rates of its counters`() throws {
        var engine = SteadyEngine(rate: 4)
        var tracker = EndpointTracker(endpoint: endpoint(1))
        for _ in 0..<8 { _ = tracker.read(engine.next(), now: engine.now) }
        let window = try #require(tracker.lastWindow)
        #expect(abs(window.length - 1) < 0.21)
        #expect(abs(window.finished - 4) < 1e-6)
        #expect(abs((window.uncachedPrompt ?? 0) - 3200) < 1e-6)
        #expect(abs((window.itl ?? 0) - 0.02) < 1e-9)
        #expect(window.running == 8)
    }

    @Test func `that restarts gives no window across the restart`() {
        var tracker = EndpointTracker(endpoint: endpoint(1))
        _ = tracker.read(reading(running: 1, [.finished: 1000]), now: 0)
        _ = tracker.read(reading(running: 1, [.finished: 2]), now: 1.5)
        #expect(tracker.lastWindow == nil)
        #expect(tracker.restarts == 1)
        _ = tracker.read(reading(running: 1, [.finished: 5]), now: 2.5)
        #expect(tracker.lastWindow?.finished == 3)
    }

    @Test func `with another number of ranks gives no window, since sums of ranks do not compare`() {
        var tracker = EndpointTracker(endpoint: endpoint(1))
        _ = tracker.read(reading(running: 1, [.finished: 10]), now: 0)
        var two = reading(running: 1, [.finished: 900])
        two.ranks = 2
        _ = tracker.read(two, now: 1.5)
        #expect(tracker.lastWindow == nil)
        #expect(tracker.restarts == 1)
    }

    @Test func `that counts only its busy time runs what Little's law says`() {
        var tracker = EndpointTracker(endpoint: endpoint(1))
        var first = EngineReading(engine: .triton)
        first[.waiting] = 0
        first[.busyTime] = 100
        first[.finished] = 10
        #expect(tracker.read(first, now: 0).load == nil)
        var second = first
        second[.busyTime] = 106
        second[.finished] = 13
        #expect(tracker.read(second, now: 2).load == EndpointLoad(running: 3, waiting: 0, kvUse: nil))
    }
}
