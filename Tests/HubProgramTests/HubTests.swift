import FleetModel
import GossipCore
import Leadership
import PlanStream
import StateStore
import TestKit
import Testing
import WireProtocol

@testable import HubProgram

@Suite("The state that outlives the hub")
struct StoredStateTests {
    @Test("each start leads in a greater epoch and goes on from the plan that stands")
    func restart() async throws {
        let store = MemoryStore()
        var (first, none) = try await PlanRecord.lead(in: store)
        #expect(none == nil)
        let plan = try Fixtures.plan(epoch: first.chain.epoch, generation: 1)
        #expect(try await first.accept(try EncodedPlan(plan)))

        let (second, found) = try await PlanRecord.lead(in: store)
        #expect(found == plan)
        #expect(second.chain.epoch > first.chain.epoch)
        #expect(second.chain.next == PlanVersion(epoch: second.chain.epoch, generation: 2))
        #expect(second.chain.next > plan.version)
    }

    @Test("a hub that was succeeded can write no plan any more")
    func fenced() async throws {
        let store = MemoryStore()
        var (old, _) = try await PlanRecord.lead(in: store)
        var (new, _) = try await PlanRecord.lead(in: store)
        #expect(try await old.accept(try EncodedPlan(try Fixtures.plan(epoch: old.chain.epoch))) == false)
        let plan = try Fixtures.plan(epoch: new.chain.epoch)
        #expect(try await new.accept(try EncodedPlan(plan)))
        #expect(try await PlanRecord.lead(in: store).plan == plan)
    }

    @Test("a plan that this version cannot read stops the start, and says what to do")
    func unreadable() async throws {
        let store = MemoryStore()
        _ = try await store.commit(StoreTransaction([.put(key: "plan", value: [1, 2, 3])]))
        let error = await #expect(throws: StoredStateError.self) { _ = try await PlanRecord.lead(in: store) }
        #expect(error?.description.contains("restore a backup") == true)
    }

    @Test("every hub replica makes the same keys, whoever comes first")
    func oneSecret() async throws {
        let store = MemoryStore()
        let cluster = try ClusterName("a")
        let keys = try await withThrowingTaskGroup(of: [UInt8].self) { group in
            for _ in 0..<8 {
                group.addTask { try await FrameSecret(store: store).keys().key(of: cluster, incarnation: 1) }
            }
            return try await group.reduce(into: Set()) { $0.insert($1) }
        }
        #expect(keys.count == 1)
        let other = try await FrameSecret(store: MemoryStore()).keys().key(of: cluster, incarnation: 1)
        #expect(!keys.contains(other))
    }

    @Test("an incarnation is never given twice, however many ask at once")
    func incarnations() async throws {
        let incarnations = Incarnations(store: MemoryStore())
        let cluster = try ClusterName("a")
        let given = try await withThrowingTaskGroup(of: UInt64.self) { group in
            for _ in 0..<20 { group.addTask { try await incarnations.next(of: cluster) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(given.sorted() == Array(1...20))
        #expect(try await incarnations.next(of: try ClusterName("b")) == 1)
    }
}
