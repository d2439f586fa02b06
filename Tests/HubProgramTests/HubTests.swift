import FleetModel
import GossipCore
import GossipTransport
import Leadership
import Logging
import Observability
import PlanStream
import StateStore
import SwiftProtobuf
import Synchronization
import TestKit
import Testing
import WireProtocol

@testable import HubProgram

@Suite("The state that outlives the hub")
struct StoredStateTests {
    /// Wins an election in a store, as another replica would have to wait for.
    static func lead(_ store: any StateStore, _ name: String) async throws -> (epoch: UInt64, lease: Int64) {
        let ballot = Ballot(store: store, member: ReplicaMember(name: name, address: ""), now: { 0 })
        guard case .granted(let lease, _, _) = try await ballot.perform(.grant(timeToLive: 60)),
            case .seen(let leader?, _) = try await ballot.perform(.campaign(lease: lease)), leader.lease == lease
        else { throw StoredStateError(key: "leader", reason: "\(name) does not lead") }
        return (leader.epoch, lease)
    }

    @Test("each leader leads in a greater epoch and goes on from the plan that stands")
    func succession() async throws {
        let store = MemoryStore()
        let (firstEpoch, lease) = try await Self.lead(store, "a")
        var (first, none) = try await PlanRecord.open(store, term: firstEpoch)
        #expect(none == nil)
        let plan = try Fixtures.plan(epoch: firstEpoch, generation: 1)
        guard case .committed = try await first.accept(try EncodedPlan(plan)) else {
            Issue.record("the leader's plan was not taken")
            return
        }
        try await store.endLease(lease)
        let (secondEpoch, _) = try await Self.lead(store, "b")
        let (second, found) = try await PlanRecord.open(store, term: secondEpoch)
        #expect(found == plan)
        #expect(secondEpoch > firstEpoch)
        #expect(second.chain.next == PlanVersion(epoch: secondEpoch, generation: 2))
        #expect(second.chain.next > plan.version)
    }

    @Test("a hub that was succeeded can write no plan any more")
    func fenced() async throws {
        let store = MemoryStore()
        let (oldEpoch, lease) = try await Self.lead(store, "a")
        var (old, _) = try await PlanRecord.open(store, term: oldEpoch)
        try await store.endLease(lease)
        let (newEpoch, _) = try await Self.lead(store, "b")
        var (new, _) = try await PlanRecord.open(store, term: newEpoch)
        #expect(try await old.accept(try EncodedPlan(try Fixtures.plan(epoch: oldEpoch))) == .conflict)
        let plan = try Fixtures.plan(epoch: newEpoch)
        #expect(try await new.accept(try EncodedPlan(plan)) != .conflict)
        #expect(try await PlanRecord.open(store, term: newEpoch).plan == plan)
    }

    @Test("a plan that this version cannot read stops the start, and says what to do")
    func unreadable() async throws {
        let store = MemoryStore()
        _ = try await store.commit(StoreTransaction([.put(key: "plan", value: [1, 2, 3])]))
        let error = await #expect(throws: StoredStateError.self) { _ = try await PlanRecord.open(store, term: 1) }
        #expect(error?.description.contains("restore a backup") == true)
    }

    @Test("every hub replica makes the same keys, whoever comes first")
    func oneSecret() async throws {
        let store = MemoryStore()
        let cluster = try ClusterName("a")
        let keys = try await withThrowingTaskGroup(of: [UInt8].self) { group in
            for _ in 0..<8 {
                group.addTask {
                    try await FrameSecret(store: store).keys().registration(of: cluster, agent: 1, incarnation: 1).key
                }
            }
            return try await group.reduce(into: Set()) { $0.insert($1) }
        }
        #expect(keys.count == 1)
        let other = try await FrameSecret(store: MemoryStore()).keys().registration(
            of: cluster,
            agent: 1,
            incarnation: 1
        ).key
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

    @Test("an incarnation is above the one that is heard, when somebody put an older copy in the store's place")
    func incarnationsOfAnOldStore() async throws {
        let incarnations = Incarnations(store: MemoryStore())
        let cluster = try ClusterName("a")
        #expect(try await incarnations.next(of: cluster) == 1)
        #expect(try await incarnations.next(of: cluster, above: 40) == 41)
        #expect(try await incarnations.next(of: cluster) == 42)
    }

    @Test("of a cluster's agents so many names are kept; the first of them makes room, and its number stays its own")
    func agentNames() async throws {
        let store = MemoryStore()
        let numbers = AgentNumbers(store: store)
        let (a, b) = (try ClusterName("a"), try ClusterName("b"))
        let first = try await numbers.number(of: try AgentName("x-0"), in: a)
        let other = try await numbers.number(of: try AgentName("x-0"), in: b)
        var given: Set<UInt32> = [first, other]
        for count in 1...AgentNumbers.namesMax + 40 {
            given.insert(try await numbers.number(of: try AgentName("x-\(count)"), in: a))
        }
        #expect(given.count == AgentNumbers.namesMax + 42)
        #expect(try await store.list(prefix: "agents/a/").count == AgentNumbers.namesMax)
        #expect(try await numbers.number(of: try AgentName("x-0"), in: b) == other)
        let again = try await numbers.number(of: try AgentName("x-0"), in: a)
        #expect(!given.contains(again))
    }

    @Test("an agent keeps its number, and nobody else gets it, however many ask at once")
    func agentNumbers() async throws {
        let numbers = AgentNumbers(store: MemoryStore())
        let (a, b) = (try ClusterName("a"), try ClusterName("b"))
        let given = try await withThrowingTaskGroup(of: UInt32.self) { group in
            for count in 0..<10 {
                for cluster in [a, b] {
                    group.addTask { try await numbers.number(of: try AgentName("x-\(count)"), in: cluster) }
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(given.sorted() == Array(1...20))
        let again = try await numbers.number(of: try AgentName("x-3"), in: a)
        #expect(again == (try await numbers.number(of: try AgentName("x-3"), in: a)) && again <= 20)
    }

    @Test("a hub replica keeps its number; the seventeenth gets that of one that is gone, and none while all are there")
    func hubNumbers() async throws {
        let store = MemoryStore()
        let numbers = HubNumbers(store: store)
        for count in 0..<16 {
            #expect(try await numbers.number(of: "hub-\(count)").number == count)
            let member = StoreTransaction([.put(key: Ballot.membersPrefix + "hub-\(count)", value: [])])
            _ = try await store.commit(member)
        }
        #expect(try await numbers.number(of: "hub-5").number == 5)
        await #expect(throws: StoredStateError.self) { _ = try await numbers.number(of: "hub-16") }
        _ = try await store.commit(StoreTransaction([.delete(key: Ballot.membersPrefix + "hub-9")]))
        #expect(try await numbers.number(of: "hub-16").number == 9)
    }

    @Test("an agent for which the hub has no place is refused, and told why and what to do")
    func noRoom() async throws {
        let desk = try await RegistrationDesk(agentsMax: 2)
        for name in ["a-0", "a-1"] { _ = try await desk.register(name) }
        let refusal = await #expect(throws: RegistrationRefusal.self) { _ = try await desk.register("a-2") }
        #expect(refusal?.description.hasPrefix("the hub holds 2 agents, as many as it can") == true)
        #expect(refusal?.description.contains("stop those that nobody needs") == true)
        #expect(try await desk.register("a-1").agent == 2)
        // Another copy of the store, older than what the hub has heard.
        desk.mesh.withMesh { $0.know(AgentID(1), region: desk.region, address: "", incarnation: 70) }
        #expect(try await desk.register("a-0").incarnation == 71)
    }

    @Test("a cluster takes its own share of the places and no more, whatever names its agents make up")
    func crowdedCluster() async throws {
        let desk = try await RegistrationDesk()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await desk.mesh.run() }
            for count in 0..<Hub.agentsOfClusterMax { try await desk.speak("a-\(count)") }
            try await eventually("every agent is heard") { desk.mesh.cards.count == Hub.agentsOfClusterMax }
            let refusal = await #expect(throws: RegistrationRefusal.self) { _ = try await desk.register("one-more") }
            #expect(refusal?.description.hasPrefix("cluster a has 64 agents, as many as one may have") == true)
            #expect(try await desk.register("a-7").agent == 8, "one that is there already may come back")
            _ = try await desk.register("b-0", of: "b")
            group.cancelAll()
        }
    }

    @Test("of a fleet that starts, each agent is registered with a few requests to the store, however many ask at once")
    func crowd() async throws {
        let store = CountingStore()
        let hub = Hub(name: "hub-0", store: store, clock: MonotonicClock(), logger: Logger(label: "test"))
        let region = try RegionName("us-east")
        let given = try await withThrowingTaskGroup(of: AgentRegistration.self) { group in
            for count in 0..<100 {
                group.addTask {
                    let cluster = try ClusterName("c-\(count % 5)")
                    return try await hub.register(cluster: cluster, region: region, agent: try AgentName("x-\(count)"))
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(given.map(\.agent).sorted() == Array(1...100))
        #expect(Set(given.map(\.incarnation)) == Set(1...20))
        #expect(store.commits.withLock { $0 } <= 201, "\(store.commits.withLock { $0 }) commits")
    }
}

/// A hub, and agents that come to it by way of a network without sockets.
private struct RegistrationDesk {
    let hub = Hub(name: "hub-0", store: MemoryStore(), clock: MonotonicClock(), logger: Logger(label: "test"))
    let mesh: MeshHub
    let network = MemoryNetwork()
    let peer: Peer
    let region: RegionName

    init(agentsMax: Int = GossipSettings().agentsMax) async throws {
        let number = try #require(HubID(0))
        var settings = GossipSettings()
        settings.agentsMax = agentsMax
        self.peer = .hub(number)
        self.region = try RegionName("us-east")
        self.mesh = MeshHub(
            hub: number,
            region: nil,
            keys: try await self.hub.frameKeys(),
            settings: settings,
            transport: self.network.join(Introduction(self.peer, name: "hub-0")),
            owner: self.hub,
            now: { 0 }
        )
        self.hub.begin(self.mesh)
    }

    /// Registers an agent, of which the hub then knows that it is there.
    func register(_ name: String, of cluster: String = "a") async throws -> AgentRegistration {
        let given = try await self.hub.register(
            cluster: try ClusterName(cluster),
            region: self.region,
            agent: try AgentName(name)
        )
        self.mesh.withMesh { mesh in
            mesh.know(AgentID(given.agent), region: self.region, address: "", incarnation: given.incarnation)
        }
        return given
    }

    /// Registers an agent, and sends its first frame.
    func speak(_ name: String, of cluster: String = "a") async throws {
        let given = try await self.register(name, of: cluster)
        let (agent, cluster) = (AgentID(given.agent), try ClusterName(cluster))
        let frame = DigestFrame(
            id: FrameID(cluster: cluster, incarnation: UInt64(given.incarnation), sequence: 1),
            region: self.region,
            agent: try AgentName(name),
            interval: 1,
            digests: []
        )
        var seal = try FrameSeal(cluster: cluster, registration: given)
        let bytes = try seal.seal(try Isobar_V1_Frame(frame).serializedBytes(), sequence: 1)
        let stamp = FrameStamp(incarnation: UInt32(given.incarnation), sequence: 1)
        let header = FrameHeader(agent: agent, stamp: stamp, interval: 1)
        let carried = CarriedFrame(frame: SealedFrame(header: header, bytes: bytes), age: 0)
        self.network.join(Introduction(.agent(agent), name: name, cluster: cluster))
            .send(.push(FramePush(carried: carried, sentAt: 0)), to: self.peer, at: nil)
    }
}

/// Counts the commits, which take a moment.
private final class CountingStore: StoreDouble {
    let store = MemoryStore()
    let commits = Mutex(0)

    func commit(_ transaction: StoreTransaction) async throws(StoreError) -> CommitOutcome {
        self.commits.withLock { $0 += 1 }
        await Task.yield()
        return try await self.store.commit(transaction)
    }
}
