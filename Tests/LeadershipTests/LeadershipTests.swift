import FleetModel
import Leadership
import TestKit
import Testing

@Suite("Fencing")
struct FencingTests {
    @Test("a leader that wakes up in an old term moves nobody backwards")
    func zombie() {
        var gateway = PlanFence()
        #expect(gateway.admit(PlanVersion(epoch: 3, generation: 40)) == .newer)
        #expect(gateway.admit(PlanVersion(epoch: 4, generation: 41)) == .newer)
        let held = PlanVersion(epoch: 4, generation: 41)
        #expect(gateway.admit(PlanVersion(epoch: 3, generation: 900)) == .past(held: held))
        #expect(gateway.admit(held) == .same)
        #expect(gateway.held == held)
    }

    @Test("in any order of arrival the highest version is the one held")
    func monotone() {
        var dice = SeededGenerator(seed: 1)
        var versions = (1...5).flatMap { epoch in
            (1...5).map { PlanVersion(epoch: UInt64(epoch), generation: UInt64($0)) }
        }
        versions.shuffle(using: &dice)
        var fence = PlanFence()
        for version in versions {
            let before = fence.held
            _ = fence.admit(version)
            if let before, let held = fence.held { #expect(held >= before) }
        }
        #expect(fence.held == PlanVersion(epoch: 5, generation: 5))
    }

    @Test("generations go on from term to term")
    func chain() {
        var chain = PlanChain(epoch: 7, head: PlanVersion(epoch: 5, generation: 12))
        #expect(chain.next == PlanVersion(epoch: 7, generation: 13))
        chain.accepted(chain.next)
        #expect(chain.next == PlanVersion(epoch: 7, generation: 14))
        #expect(PlanChain(epoch: 1, head: nil).next == PlanVersion(epoch: 1, generation: 1))
    }
}
