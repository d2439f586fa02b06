import FleetModel
import TestKit
import Testing

@testable import GossipCore

@Suite struct LivenessTests {
    static func speakers(_ agents: ClosedRange<UInt32>, hub: Int = 0) -> [UInt32: (incarnation: UInt32, hub: Int)] {
        Dictionary(uniqueKeysWithValues: agents.map { ($0, (incarnation: 1, hub: hub)) })
    }

    @Test func `φ is 5, 8 and 12 after 2.07, 2.40 and 2.76 seconds of silence at one frame a second`() {
        var detector = SilenceDetector(interval: 1)
        for _ in 0..<500 { detector.observe(interval: 1) }
        let settings = GossipSettings()
        for (phi, silence) in [(5.0, 2.066), (8, 2.403), (12, 2.759)] {
            #expect(abs(detector.phi(silence: silence, announced: 1, settings: settings) - phi) < 0.02)
        }
        let limits = detector.thresholds(announced: 1, settings: settings)
        #expect(abs(limits.aging - 2.066) < 0.001 && abs(limits.suspect - 2.403) < 0.001)
        #expect(detector.phi(silence: 0.5, announced: 1, settings: settings) < 0.1)
        #expect(detector.phi(silence: 3_600, announced: 1, settings: settings) == 300)
    }

    @Test func `frames at once on changes make no habit of hurry, and an outage none of patience`() {
        var detector = SilenceDetector(interval: 1)
        for _ in 0..<500 { detector.observe(interval: 0.2) }
        #expect(detector.thresholds(announced: 1, settings: GossipSettings()).suspect > 2.4)
        for _ in 0..<500 { detector.observe(interval: 1) }
        detector.observe(interval: 3_600)
        #expect(detector.thresholds(announced: 1, settings: GossipSettings()).suspect < 6)
    }

    @Test func `a dead agent is aging, suspect, and with the others' word unreachable, within five seconds`() {
        var mesh = Mesh(hubs: 5)
        mesh.pass(60, speakers: Self.speakers(1...10))
        mesh.changes = Array(repeating: [], count: 5)
        mesh.pass(4.6, speakers: Self.speakers(2...10))
        for changes in mesh.changes {
            #expect(changes.map(\.to) == [.aging, .suspect, .unreachable])
            #expect(changes.allSatisfy { $0.agent == AgentID(1) && $0.silence < 3.5 })
        }
        mesh.pass(2, speakers: Self.speakers(1...10))
        #expect(mesh.hubs.allSatisfy { $0.liveness(of: AgentID(1)) == .fresh }, "one newer frame refutes it")
    }

    @Test func `a hub that alone is deaf suspects, but does not condemn before eight seconds`() {
        var settings = GossipSettings()
        settings.massShare = 1
        var mesh = Mesh(hubs: 3, settings: settings)
        mesh.pass(60, speakers: Self.speakers(1...5))
        mesh.cut = [[0, 2], [1, 2]]
        mesh.changes = Array(repeating: [], count: 3)
        mesh.pass(7, speakers: Self.speakers(1...5))
        #expect(Set(mesh.changes[2].map(\.to)) == [.aging, .suspect])
        #expect(mesh.changes[0].isEmpty)
    }

    @Test func `when much falls silent that the others still hear, shares freeze instead of falling`() {
        var mesh = Mesh(hubs: 3)
        mesh.pass(60, speakers: Self.speakers(1...10))
        mesh.cut = [[0, 2], [1, 2]]
        mesh.pass(6, speakers: Self.speakers(1...10))
        #expect(mesh.hubs[2].isFrozen)
        #expect(!mesh.hubs[0].isFrozen)
        #expect(mesh.hubs[2].views(now: mesh.now).allSatisfy { $0.admission > 0.85 && $0.liveness != .unreachable })
        mesh.cut = []
        mesh.pass(3, speakers: Self.speakers(1...10))
        #expect(!mesh.hubs[2].isFrozen)
    }

    @Test func `when a majority of hubs confirms it, the loss of a third of the fleet is a loss`() {
        var mesh = Mesh(hubs: 3)
        mesh.pass(60, speakers: Self.speakers(1...9))
        mesh.pass(5, speakers: Self.speakers(4...9))
        for hub in mesh.hubs {
            #expect(!hub.isFrozen)
            #expect(hub.liveness(of: AgentID(1)) == .unreachable)
        }
    }

    @Test func `a share halves each second of suspicion, and comes back from a tenth, doubling`() throws {
        var mesh = Mesh(hubs: 3)
        mesh.pass(60, speakers: Self.speakers(1...10))
        func share(_ agent: UInt32) throws -> Double {
            try #require(mesh.hubs[0].views(now: mesh.now).first { $0.agent == AgentID(agent) }).admission
        }
        #expect(try share(1) == 1)
        mesh.pass(10, speakers: Self.speakers(2...10))
        #expect(try share(1) < 0.02)
        mesh.pass(1.9, speakers: Self.speakers(1...10))
        #expect((0.1...0.4).contains(try share(1)))
        mesh.pass(4, speakers: Self.speakers(1...10))
        #expect(try share(1) == 1)
    }

    @Test func `silence takes nothing of a share while somebody gets answers, and all of it afterwards`() throws {
        var mesh = Mesh(hubs: 3)
        mesh.pass(60, speakers: Self.speakers(1...10))
        for _ in 0..<20 {
            for hub in mesh.hubs.indices { mesh.hubs[hub].serves(AgentID(1), now: mesh.now) }
            mesh.pass(1, speakers: Self.speakers(2...10))
        }
        let view = try #require(mesh.hubs[0].views(now: mesh.now).first { $0.agent == AgentID(1) })
        #expect(view.liveness == .unreachable)
        #expect(view.admission == 1)
        mesh.pass(20, speakers: Self.speakers(2...10))
        let later = try #require(mesh.hubs[0].views(now: mesh.now).first { $0.agent == AgentID(1) })
        #expect(later.admission < 0.001)
    }

    @Test func `a hub that was stopped for ten seconds accuses nobody, and trusts itself less for a while`() {
        var mesh = Mesh(hubs: 3)
        mesh.pass(60, speakers: Self.speakers(1...10))
        mesh.changes = Array(repeating: [], count: 3)
        let alive = mesh
        mesh.now += 10
        mesh.pass(0.2)
        #expect(mesh.hubs.allSatisfy { $0.health.score > 0 })
        mesh.pass(1.5, speakers: Self.speakers(1...10))
        #expect(mesh.changes.allSatisfy { changes in !changes.contains { $0.to >= .suspect } })
        #expect(alive.hubs.allSatisfy { $0.health.score == 0 })
    }

    @Test func `after ten minutes only the stamp is kept, and it still refuses the past`() {
        var mesh = Mesh(hubs: 1)
        mesh.push(Mesh.frame(1, 3, 7), to: 0)
        mesh.pass(610)
        #expect(mesh.hubs[0].liveness(of: AgentID(1)) == .gone)
        mesh.push(Mesh.frame(1, 3, 7), to: 0)
        #expect(mesh.learned[0].count == 1)
        #expect(mesh.hubs[0].stamp(of: AgentID(1)) == FrameStamp(incarnation: 3, sequence: 7))
    }
}
