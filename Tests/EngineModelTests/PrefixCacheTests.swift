import EngineModel
import FleetModel
import Testing

@Suite struct `A prefix cache` {
    @Test func `spares the second request what the first has computed, but for one token`() throws {
        var machine = EngineMachine(profile: .plain())
        let prefix: [UInt64] = [1, 2, 3, 4]
        try machine.submit(EngineRequest(id: 1, promptTokens: 64, outputTokens: 1, prefix: prefix), now: 0)
        _ = machine.drain()
        try machine.submit(EngineRequest(id: 2, promptTokens: 64, outputTokens: 1, prefix: prefix), now: 1)
        // Three units of 16 tokens are found; the last unit is computed for the sake of its last token.
        #expect(abs(try #require(machine.drain().first).at - 1.016) < 1e-9)
        #expect(machine.metrics.prefixQueriedTokens == 128)
        #expect(machine.metrics.prefixHitTokens == 48)
        #expect(machine.metrics.cachedPromptTokens == 48)
        #expect(machine.metrics.promptTokens == 128)
    }

    @Test func `stops at the first unit that differs`() throws {
        var machine = EngineMachine(profile: .plain())
        try machine.submit(EngineRequest(id: 1, promptTokens: 64, outputTokens: 1, prefix: [1, 2, 3, 4]), now: 0)
        _ = machine.drain()
        try machine.submit(EngineRequest(id: 2, promptTokens: 64, outputTokens: 1, prefix: [1, 9, 3, 4]), now: 1)
        _ = machine.drain()
        #expect(machine.metrics.prefixHitTokens == 16)
    }

    @Test func `shares blocks between requests that run together`() throws {
        var machine = EngineMachine(profile: .plain(blocks: 12))
        let prefix: [UInt64] = [1, 2, 3, 4, 5, 6, 7, 8]
        for id: EngineRequestID in 1...2 {
            try machine.submit(EngineRequest(id: id, promptTokens: 130, outputTokens: 9, prefix: prefix), now: 0)
        }
        _ = machine.advance(to: 0)
        // 8 shared blocks and one of its own each: without sharing, 18 would be needed.
        #expect(machine.metrics.running == 2)
        #expect(abs(machine.metrics.kvUse - 10.0 / 12) < 1e-9)
    }

    @Test func `forgets what was used longest ago when memory is needed`() throws {
        var machine = EngineMachine(profile: .plain(blocks: 10))
        func ask(_ id: EngineRequestID, _ family: UInt64) throws -> Int {
            let before = machine.metrics.prefixHitTokens
            let prefix = (0..<4).map { family * 10 + UInt64($0) }
            let request = EngineRequest(id: id, promptTokens: 65, outputTokens: 1, prefix: prefix)
            try machine.submit(request, now: Seconds(id))
            _ = machine.drain()
            return machine.metrics.prefixHitTokens - before
        }
        #expect(try ask(1, 1) == 0)
        #expect(try ask(2, 2) == 0)
        #expect(try ask(3, 1) == 64)
        #expect(try ask(4, 3) == 0)
        // Family 1 was used after family 2, which had to make room for family 3.
        #expect(try ask(5, 1) == 64)
        #expect(try ask(6, 2) < 64)
    }
}
