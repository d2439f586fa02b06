import EngineModel
import FleetModel
import TestKit
import Testing

@Suite struct `An engine` {
    @Test func `prefills, then decodes one token a step`() throws {
        var machine = EngineMachine(profile: .plain())
        try machine.submit(EngineRequest(id: 7, promptTokens: 100, outputTokens: 3), now: 1)
        #expect(machine.nextEventAt == 1)
        let life = try #require(lives(machine.drain())[7])
        #expect(life.tokens == [1, 2, 3])
        #expect(zip(life.times, [1.1, 1.101, 1.102]).allSatisfy { abs($0 - $1) < 1e-9 })
        #expect(life.finish == .length)
        #expect(machine.nextEventAt == nil)
    }

    @Test func `shows a request to its scheduler only after the API's overhead`() throws {
        var profile = EngineProfile.plain()
        profile.apiOverhead = 0.006
        var machine = EngineMachine(profile: profile)
        try machine.submit(EngineRequest(id: 1, promptTokens: 10, outputTokens: 1), now: 0)
        #expect(machine.advance(to: 0.005).isEmpty)
        #expect(machine.metrics.waiting == 0 && machine.unfinished == 1)
        #expect(machine.nextEventAt == 0.006)
        #expect(abs(try #require(machine.drain().first).at - 0.016) < 1e-9)
    }

    @Test func `computes a long prompt in chunks, and the first token comes with the last chunk`() throws {
        var machine = EngineMachine(profile: .plain(blocks: 2_000))
        try machine.submit(EngineRequest(id: 1, promptTokens: 20_000, outputTokens: 2), now: 0)
        var ends: [Seconds] = []
        var events: [EngineEvent] = []
        while let at = machine.nextEventAt {
            ends.append(at)
            events += machine.advance(to: at)
        }
        // 0 is the arrival; then 8,192 + 8,192 + 3,616 tokens and one decode, at 1 ms a token.
        #expect(zip(ends, [0, 8.192, 16.384, 20, 20.001]).allSatisfy { abs($0 - $1) < 1e-9 })
        #expect(abs(try #require(events.first).at - 20) < 1e-9)
    }

    @Test func `serves those that run before it admits others, and admits in order of arrival`() throws {
        var profile = EngineProfile.plain()
        profile.maxSequences = 2
        var machine = EngineMachine(profile: profile, reportsEveryToken: false)
        for id in 1...4 {
            try machine.submit(EngineRequest(id: UInt64(id), promptTokens: 16, outputTokens: 10), now: 0)
        }
        _ = machine.advance(to: 0)
        #expect(machine.metrics.running == 2 && machine.metrics.waiting == 2)
        let firsts = machine.drain().filter { $0.kind == .token(number: 1, finish: nil) }
        #expect(firsts.map(\.request) == [1, 2, 3, 4])
    }

    @Test func `preempts the youngest when memory is full, and nothing is lost`() throws {
        // Each request needs 5 blocks at its end; two of them fit at first, and not at the end.
        var machine = EngineMachine(profile: .plain(blocks: 8))
        for id in 1...2 {
            try machine.submit(EngineRequest(id: UInt64(id), promptTokens: 40, outputTokens: 40), now: 0)
        }
        let lives = lives(machine.drain())
        #expect(lives[1]?.preemptions == 0)
        #expect((lives[2]?.preemptions ?? 0) > 0)
        #expect(lives[1]?.tokens == Array(1...40))
        #expect(lives[2]?.tokens == Array(1...40))
        #expect(machine.metrics.preemptions == lives[2]?.preemptions)
        #expect(machine.metrics.kvUse == 0)
    }

    @Test func `refuses what could never fit, and what asks for nothing`() throws {
        var machine = EngineMachine(profile: .plain(blocks: 4))
        #expect(throws: EngineRefusal.tooLong(tokens: 65, kvTokens: 64)) {
            try machine.submit(EngineRequest(id: 1, promptTokens: 60, outputTokens: 5), now: 0)
        }
        #expect(throws: EngineRefusal.empty) {
            try machine.submit(EngineRequest(id: 1, promptTokens: 0, outputTokens: 5), now: 0)
        }
        try machine.submit(EngineRequest(id: 1, promptTokens: 60, outputTokens: 4), now: 0)
        #expect(lives(machine.drain())[1]?.finish == .length)
    }

    @Test func `forgets a cancelled request wherever it stands`() throws {
        var profile = EngineProfile.plain()
        profile.maxSequences = 1
        profile.apiOverhead = 0.010
        var machine = EngineMachine(profile: profile)
        for (id, at) in [(1, 0.0), (2, 0.0), (3, 0.020)] {
            try machine.submit(EngineRequest(id: UInt64(id), promptTokens: 16, outputTokens: 10), now: at)
        }
        _ = machine.advance(to: 0.020)
        #expect(machine.metrics.running == 1 && machine.metrics.waiting == 1 && machine.unfinished == 3)
        let cancelled = ([1, 2, 3, 1] as [EngineRequestID]).map { machine.cancel($0) }
        #expect(cancelled == [true, true, true, false])
        let events = machine.drain()
        #expect(events.isEmpty)
        #expect(machine.unfinished == 0 && machine.metrics.kvUse == 0)
        #expect(machine.metrics.finished == [.abort: 3])
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `conserves requests, tokens and blocks under random load and cancellation`(seed: UInt64) throws {
        var dice = SeededGenerator(seed: seed)
        var profile = EngineProfile.plain(blocks: 60)
        profile.tokenBudget = 64
        profile.maxSequences = 8
        profile.prefixUnitTokens = 32
        var machine = EngineMachine(profile: profile)
        var outputs: [EngineRequestID: Int] = [:]
        var cancelled: Set<EngineRequestID> = []
        var events: [EngineEvent] = []
        var now: Seconds = 0
        for id: EngineRequestID in 1...400 {
            now += Seconds.random(in: 0...0.2, using: &dice)
            events += machine.advance(to: now)
            let prompt = Int.random(in: 1...300, using: &dice)
            let output = Int.random(in: 1...100, using: &dice)
            let family = UInt64.random(in: 1...5, using: &dice)
            let prefix = (0..<(prompt / 32)).map { family * 1_000 + UInt64($0) }
            outputs[id] = output
            try machine.submit(
                EngineRequest(id: id, promptTokens: prompt, outputTokens: output, prefix: prefix),
                now: now
            )
            let victim = EngineRequestID.random(in: 1...id, using: &dice)
            if Int.random(in: 0..<10, using: &dice) == 0, machine.cancel(victim) { cancelled.insert(victim) }
            #expect((0...1).contains(machine.metrics.kvUse))
        }
        events += machine.drain()
        let lives = lives(events)
        for (id, output) in outputs where !cancelled.contains(id) {
            #expect(lives[id]?.tokens == Array(1...output))
            #expect(lives[id]?.finish == .length)
        }
        let metrics = machine.metrics
        #expect(metrics.finished == [.length: 400 - cancelled.count, .abort: cancelled.count])
        #expect(metrics.preemptions > 0 && metrics.prefixHitTokens > 0 && !cancelled.isEmpty)
        #expect(metrics.kvUse == 0 && machine.unfinished == 0)
        // A request of the whole memory still fits, so no block has leaked.
        try machine.submit(EngineRequest(id: 1_000, promptTokens: 950, outputTokens: 10), now: now)
        #expect(machine.drain().last?.finish == .length)
    }

    @Test func `lives the same life twice from the same input, however it is stepped`() throws {
        func life(inSteps: Bool) throws -> [EngineEvent] {
            var dice = SeededGenerator(seed: 11)
            var machine = EngineMachine(profile: .plain(blocks: 40))
            var events: [EngineEvent] = []
            var now: Seconds = 0
            for id: EngineRequestID in 1...100 {
                now += Seconds.random(in: 0...0.1, using: &dice)
                if inSteps {
                    while let at = machine.nextEventAt, at <= now { events += machine.advance(to: at) }
                }
                events += machine.advance(to: now)
                let prompt = Int.random(in: 1...200, using: &dice)
                try machine.submit(EngineRequest(id: id, promptTokens: prompt, outputTokens: 30), now: now)
            }
            return events + machine.drain()
        }
        let events = try life(inSteps: false)
        #expect(events.count > 3_000)
        #expect(try life(inSteps: false) == events)
        #expect(try life(inSteps: true) == events)
        #expect(zip(events, events.dropFirst()).allSatisfy { $0.at <= $1.at })
    }
}
