import FleetModel
import Testing

@testable import GossipCore

@Suite struct FloodGateTests {
    @Test func `a peer that keeps to its rate is always read, and one that does not gets that rate`() {
        var honest = FloodGate(for: .agent(AgentID(1)))
        let honestVerdicts = (0..<3_000).map { honest.judge(bytes: 400, now: Double($0) / FloodGate.agentRate) }
        #expect(honestVerdicts.allSatisfy { $0 == .take })

        var flood = FloodGate(for: .agent(AgentID(2)))
        var (now, taken, pauses) = (0.0, 0.0, 0.0)
        while now < 60 {
            switch flood.judge(bytes: 400, now: now) {
            case .take:
                taken += 1
                now += 1e-6
            case .dropAndPause:
                pauses += 1
                now += FloodGate.pause
            }
        }
        #expect(abs(taken - FloodGate.agentRate * 62) < FloodGate.agentRate, "\(taken) taken in a minute")
        #expect(pauses <= 60 / FloodGate.pause, "\(pauses)")
    }

    @Test func `a long message costs as much as many`() {
        var gate = FloodGate(for: .agent(AgentID(1)))
        let bytes = FloodGate.agentBytes * 100
        let taken = (0..<100).count { _ in gate.judge(bytes: bytes, now: 0) == .take }
        #expect(taken == Int(2 * FloodGate.agentRate) / 101)
    }
}
