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

    @Test func `shows the adapters that its requests use`() throws {
        var tracker = EndpointTracker(endpoint: endpoint(1))
        let sample = tracker.read(try EngineReader().read(try constructedPage("vllm-lora")), now: 1)
        #expect(sample.load?.adapters == LoRAAdapters(running: ["chat", "sql"], waiting: ["legal"], most: 4))
        #expect(tracker.read(reading(), now: 2).load?.adapters == nil)
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
        let window = try #require(tracker.window(now: engine.now))
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
        #expect(tracker.window(now: 1.5) == nil)
        #expect(tracker.restarts == 1 && tracker.upgrades == 0)
        _ = tracker.read(reading(running: 1, [.finished: 5]), now: 2.5)
        #expect(tracker.window(now: 2.5)?.finished == 3)
        _ = tracker.read(reading(running: 1, [.finished: 0]), now: 2.7)
        #expect(tracker.window(now: 2.7) == nil)
    }

    @Test func `that restarts idle is told by its start time, though no counter fell`() {
        var tracker = EndpointTracker(endpoint: endpoint(1))
        _ = tracker.read(reading([.finished: 0, .startTime: 1000]), now: 0)
        _ = tracker.read(reading([.finished: 0]), now: 0.5)
        #expect(tracker.restarts == 0)
        _ = tracker.read(reading([.finished: 0, .startTime: 1000]), now: 0.6)
        _ = tracker.read(reading([.finished: 0, .startTime: 2000]), now: 60)
        #expect(tracker.restarts == 1 && tracker.upgrades == 0)
    }

    @Test func `that comes back as another engine, or with other sizes, is learned anew`() throws {
        var engine = SteadyEngine(rate: 4)
        var tracker = EndpointTracker(endpoint: endpoint(1))
        for _ in 0..<40 { _ = tracker.read(engine.next(), now: engine.now) }
        #expect(tracker.capacity != nil)
        // The KV cache is measured at each start, so a little difference says nothing.
        _ = tracker.read(reading([.finished: 0, .blocks: 1040, .blockSize: 16]), now: engine.now + 1)
        #expect(tracker.restarts == 1 && tracker.upgrades == 0 && tracker.capacity != nil)
        _ = tracker.read(reading([.startTime: 5, .finished: 0, .blocks: 1040]), now: engine.now + 2)
        _ = tracker.read(reading([.startTime: 6, .finished: 0, .blocks: 4000]), now: engine.now + 3)
        #expect(tracker.restarts == 2 && tracker.upgrades == 1 && tracker.capacity == nil)
        var other = EngineReading(engine: .sglang)
        other[.waiting] = 0
        _ = tracker.read(other, now: engine.now + 4)
        #expect(tracker.restarts == 3 && tracker.upgrades == 2)
    }

    @Test func `whose page has the names of another version is an upgrade`() throws {
        let reader = EngineReader(engine: .vllm)
        func page(_ kvUse: String) throws -> EngineReading {
            try reader.read(Array("vllm:num_requests_running 1\nvllm:num_requests_waiting 0\n\(kvUse) 0.5\n".utf8))
        }
        var tracker = EndpointTracker(endpoint: endpoint(1))
        _ = tracker.read(try page("vllm:gpu_cache_usage_perc"), now: 0)
        _ = tracker.read(try page("vllm:gpu_cache_usage_perc"), now: 1)
        #expect(tracker.upgrades == 0)
        _ = tracker.read(try page("vllm:kv_cache_usage_perc"), now: 2)
        #expect(tracker.upgrades == 1)
    }

    @Test func `with another number of ranks gives no window, since sums of ranks do not compare`() {
        var tracker = EndpointTracker(endpoint: endpoint(1))
        _ = tracker.read(reading(running: 1, [.finished: 10]), now: 0)
        var two = reading(running: 1, [.finished: 900])
        two.ranks = [RankReading(name: "0"), RankReading(name: "1")]
        _ = tracker.read(two, now: 1.5)
        #expect(tracker.window(now: 1.5) == nil)
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
