import FleetModel
import Foundation
import PlanStream
import TestKit
import Testing

@Suite("A plan on the wire and on disk")
struct EncodedPlanTests {
    @Test("comes back as it went")
    func roundTrip() throws {
        let plan = try Fixtures.plan(epoch: 3, generation: 17)
        let encoded = try EncodedPlan(plan)
        #expect(try Plan(bytes: try encoded.bytes()) == plan)
    }

    @Test("with any byte changed it is refused, never half read")
    func damage() throws {
        let bytes = try EncodedPlan(try Fixtures.plan()).bytes()
        var dice = SeededGenerator(seed: 5)
        for _ in 0..<500 {
            var damaged = bytes
            let place = Int.random(in: damaged.indices, using: &dice)
            damaged[place] ^= UInt8.random(in: 1...255, using: &dice)
            #expect(throws: PlanUnreadable.self) { try Plan(bytes: damaged) }
        }
        for length in [0, 1, bytes.count / 2, bytes.count - 1] {
            #expect(throws: PlanUnreadable.self) { try Plan(bytes: Array(bytes.prefix(length))) }
        }
    }

    @Test("is found again after a restart, and the newest one wins")
    func file() throws {
        let folder = try TemporaryFolder()
        let file = PlanFile(path: folder.file("gw.plan"))
        #expect(try file.load()?.plan == nil)
        for generation in 1...3 as ClosedRange<UInt64> {
            try file.save(try EncodedPlan(try Fixtures.plan(generation: generation)))
        }
        #expect(try file.load()?.plan == (try Fixtures.plan(generation: 3)))
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["gw.plan"])
    }

    @Test("damaged on disk it is named and refused; a folder that is not there is named too")
    func badFile() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("gw.plan")
        try Data("not a plan".utf8).write(to: URL(fileURLWithPath: path))
        let damaged = #expect(throws: PlanUnreadable.self) { try PlanFile(path: path).load() }
        #expect(damaged?.reason.hasPrefix(path) == true)
        let nowhere = #expect(throws: PlanUnreadable.self) {
            try PlanFile(path: folder.file("no/gw.plan")).save(try EncodedPlan(try Fixtures.plan()))
        }
        #expect(nowhere?.reason.contains("no/gw.plan") == true)
    }
}
