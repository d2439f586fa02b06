import EngineModel
import Exposition
import FleetModel
import Testing

@Suite struct `Engine profiles` {
    @Test(arguments: ["8b-h100", "8b-a100", "8b-l40s", "32b-h100-tp2", "70b-h100-tp4", "70b-a100-tp4"])
    func `are found by name`(name: String) throws {
        #expect(try EngineProfile(named: name).name == name)
    }

    @Test func `an unknown name is told which names there are`() {
        let error = #expect(throws: UnknownProfile.self) { try EngineProfile(named: "8b-abacus") }
        #expect(
            error?.description
                == """
                profile "8b-abacus" is not known: use one of \
                8b-h100, 8b-a100, 8b-l40s, 32b-h100-tp2, 70b-h100-tp4, 70b-a100-tp4
                """
        )
    }

    @Test(arguments: [(1, 0.0069), (64, 0.0080)])
    func `an 8B model on an H100 decodes as fast as measured`(batch: Int, stepTime: Seconds) throws {
        var machine = EngineMachine(profile: try EngineProfile(named: "8b-h100"))
        for id in 0..<batch {
            try machine.submit(EngineRequest(id: UInt64(id), promptTokens: 100, outputTokens: 200), now: 0)
        }
        _ = machine.drain()
        let gaps = machine.metrics.interTokenLatency
        #expect(abs(gaps.sum / Double(gaps.count) - stepTime) < 0.0002)
    }

    @Test func `ten times the speed is the same life in a tenth of the time`() throws {
        let profile = try EngineProfile(named: "70b-a100-tp4")
        func lastEvent(_ profile: EngineProfile) throws -> Seconds {
            var machine = EngineMachine(profile: profile)
            try machine.submit(EngineRequest(id: 1, promptTokens: 20_000, outputTokens: 50), now: 0)
            return try #require(machine.drain().last?.at)
        }
        #expect(abs(try lastEvent(profile) / 10 - lastEvent(profile.faster(by: 10))) < 1e-9)
    }
}
