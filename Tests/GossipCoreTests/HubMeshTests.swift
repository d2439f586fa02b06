import FleetModel
import TestKit
import Testing

@testable import GossipCore

@Suite struct HubMeshTests {
    @Test func `a frame that one hub hears is with all of them after a flush or two`() {
        var mesh = Mesh(hubs: 5)
        mesh.pass(1)
        mesh.push(Mesh.frame(1, 1, 1), to: 3)
        mesh.pass(0.3)
        for hub in mesh.hubs { #expect(hub.stamp(of: AgentID(1)) == FrameStamp(incarnation: 1, sequence: 1)) }
        #expect(mesh.learned.map(\.count) == [1, 1, 1, 1, 1], "each learns it once")
    }

    @Test func `an old frame never wins, whatever its sequence, and whoever brings it`() {
        var mesh = Mesh(hubs: 2)
        mesh.push(Mesh.frame(1, 2, 5), to: 0)
        mesh.push(Mesh.frame(1, 2, 5), to: 0)
        mesh.push(Mesh.frame(1, 2, 4), to: 0)
        mesh.push(Mesh.frame(1, 1, 900), to: 0)
        #expect(mesh.hubs[0].stamp(of: AgentID(1)) == FrameStamp(incarnation: 2, sequence: 5))
        #expect(mesh.hubs[0].counts.stale == 3)
        let answer = mesh.push(Mesh.frame(1, 1, 901), to: 0).messages.first?.message
        guard case .acknowledge(let told) = answer else {
            Issue.record("a late frame is answered with what is held, found \(String(describing: answer))")
            return
        }
        #expect(told.stamp == FrameStamp(incarnation: 2, sequence: 5))
    }

    @Test func `the store's incarnation is a floor even before the first frame`() {
        var mesh = Mesh(hubs: 1)
        mesh.hubs[0].know(AgentID(1), region: Mesh.east, address: "a:1", incarnation: 4)
        mesh.push(Mesh.frame(1, 3, 50), to: 0)
        #expect(mesh.learned[0].isEmpty)
        mesh.push(Mesh.frame(1, 4, 1), to: 0)
        #expect(mesh.learned[0].count == 1)
    }

    @Test func `a forged frame is counted, not answered and changes nothing; a copy is not even checked`() {
        var mesh = Mesh(hubs: 1)
        mesh.push(Mesh.frame(1, 1, 1), to: 0)
        func push(_ sequence: UInt32) -> GossipMessage {
            .push(FramePush(carried: CarriedFrame(frame: Mesh.frame(1, 1, sequence), age: 0), sentAt: 0))
        }
        var checks = 0
        let forged = mesh.hubs[0].receive(push(9), from: .agent(AgentID(1)), now: 0) { _ in
            checks += 1
            return false
        }
        #expect(forged.messages.isEmpty && forged.learned.isEmpty)
        _ = mesh.hubs[0].receive(push(1), from: .agent(AgentID(1)), now: 0) { _ in
            checks += 1
            return false
        }
        #expect(checks == 1)
        #expect(mesh.hubs[0].counts.forged == 1)
        #expect(mesh.hubs[0].stamp(of: AgentID(1)) == FrameStamp(incarnation: 1, sequence: 1))
    }

    @Test func `nobody speaks for another: a push under another name, a relay's own frame, a stranger's flush`() {
        var mesh = Mesh(hubs: 1)
        let push = FramePush(carried: CarriedFrame(frame: Mesh.frame(1, 1, 1), age: 0), sentAt: 0)
        _ = mesh.hubs[0].receive(.push(push), from: .agent(AgentID(2)), now: 0)
        _ = mesh.hubs[0].receive(.forward(push), from: .agent(AgentID(1)), now: 0)
        let flush = MeshFlush(run: 1, sentAt: 0, frames: [push.carried], have: [], isComplete: true)
        if let stranger = HubID(9) { _ = mesh.hubs[0].receive(.flush(flush), from: .hub(stranger), now: 0) }
        #expect(mesh.hubs[0].counts.misdirected == 3)
        #expect(mesh.learned[0].isEmpty)
    }

    @Test func `hubs that were cut off from each other agree as soon as they meet, and a restarted hub is filled`() {
        var mesh = Mesh(hubs: 3)
        mesh.cut = [[0, 1], [0, 2]]
        for agent in 1...40 as ClosedRange<UInt32> {
            mesh.push(Mesh.frame(agent, 1, 1), to: agent % 2 == 0 ? 0 : 1)
        }
        mesh.pass(20)
        #expect(mesh.hubs[0].stamp(of: AgentID(1)) == nil)
        mesh.cut = []
        mesh.pass(1.5)
        for hub in mesh.hubs { #expect(hub.views(now: mesh.now).count == 40) }
        let ids = mesh.hubs.map(\.hub)
        mesh.hubs[2] = HubMesh(hub: ids[2], region: Mesh.east, others: ids, now: mesh.now, dice: &mesh.dice)
        mesh.pass(1)
        #expect(mesh.hubs[2].views(now: mesh.now).count == 40)
    }

    @Test func `a frame is not flushed to a hub that its agent reaches and that says it has it`() {
        var mesh = Mesh(hubs: 2)
        mesh.pass(1)
        var both = HubSet()
        for hub in mesh.hubs { both.insert(hub.hub) }
        for hub in 0...1 { mesh.push(Mesh.frame(1, 1, 1, reach: both), to: hub) }
        mesh.pass(3)
        #expect(mesh.hubs.map(\.counts.flushed) == [0, 0])
    }

    @Test func `age counts the way and every wait`() {
        var mesh = Mesh(hubs: 2)
        mesh.push(Mesh.frame(1, 1, 1), to: 0, age: 0.4)
        mesh.pass(2)
        for hub in mesh.hubs {
            let age = hub.views(now: mesh.now).first?.age ?? 0
            #expect(abs(age - 2.4) < 0.01, "\(hub.hub): \(age)")
        }
    }

    @Test func `a frame too large, and agents too many, are refused and counted`() {
        var settings = GossipSettings()
        settings.agentsMax = 2
        settings.frameBytesMax = 10
        var mesh = Mesh(hubs: 1, settings: settings)
        mesh.push(Mesh.frame(1, 1, 1, bytes: Array(repeating: 0, count: 11)), to: 0)
        for agent in 1...3 as ClosedRange<UInt32> { mesh.push(Mesh.frame(agent, 1, 1), to: 0) }
        #expect(mesh.hubs[0].counts.oversized == 1)
        #expect(mesh.hubs[0].counts.full == 1)
        #expect(mesh.hubs[0].counts.accepted == 2)
    }

    @Test func `when all places are taken, a new agent gets that of one that is gone, and no old frame returns`() {
        var settings = GossipSettings()
        settings.agentsMax = 2
        settings.goneAfter = 20
        var mesh = Mesh(hubs: 2, settings: settings)
        mesh.push(Mesh.frame(1, 9, 9), to: 0)
        mesh.pass(5, speakers: [2: (1, 1)])
        let isRefused = mesh.hubs.allSatisfy { !$0.hasRoom(for: AgentID(3)) && $0.hasRoom(for: AgentID(1)) }
        #expect(isRefused, "both were heard lately")
        mesh.push(Mesh.frame(3, 1, 1), to: 0)
        #expect(mesh.hubs[0].counts.full == 1)
        mesh.pass(25, speakers: [2: (1, 1)])
        #expect(mesh.hubs.allSatisfy { $0.liveness(of: AgentID(1)) == .gone && $0.hasRoom(for: AgentID(3)) })
        mesh.push(Mesh.frame(3, 1, 1), to: 0)
        mesh.pass(1, speakers: [2: (1, 1)])
        for hub in mesh.hubs {
            #expect(hub.stamp(of: AgentID(3)) == FrameStamp(incarnation: 1, sequence: 1))
            #expect(hub.stamp(of: AgentID(1)) == nil && hub.agentCount == 2 && hub.liveness(of: AgentID(3)) == .fresh)
        }
        // What was in the air for so long comes after all, when there is room again.
        mesh.pass(25)
        mesh.push(Mesh.frame(1, 9, 9), to: 0, age: 51)
        #expect(mesh.hubs[0].stamp(of: AgentID(1)) == nil)
        #expect(mesh.hubs[0].counts.stale == 1)
    }
}
