import FleetModel
import GossipCore
import GossipTransport
import SwiftProtobuf
import Synchronization
import TestKit
import Testing
import WireProtocol

/// An agent with one number to tell.
private final class Teller: MeshAgentOwner {
    let agent: AgentName
    let value = Mutex(1)
    let acknowledged = Mutex<[(FrameID, Peer)]>([])

    init(_ agent: AgentName) { self.agent = agent }

    func payload(of frame: FrameID) -> [UInt8]? {
        let digest = PoolDigest(
            pool: PoolName(namespace: "default", name: "llama"),
            state: .active,
            endpointsReady: self.value.withLock { $0 },
            endpointsKnown: 9
        )
        let made = DigestFrame(
            id: frame,
            region: RegionName(unchecked: "us-east"),
            agent: self.agent,
            interval: 0.2,
            digests: [digest]
        )
        var message = Isobar_V1_Frame(made)
        message.address = "\(self.agent):1"
        return try? message.serializedBytes()
    }
    func published(_ frame: FrameID) {}
    func acknowledged(_ frame: FrameID, by hub: HubID, through: Peer) {
        self.acknowledged.withLock { $0.append((frame, through)) }
    }
}

private final class Listener: MeshHubOwner {
    let learned = Mutex<[(frame: DigestFrame, via: Peer)]>([])
    let faults = Mutex(0)

    func learned(_ frame: DigestFrame, of agent: AgentID, age: Seconds, via: Peer) {
        self.learned.withLock { $0.append((frame, via)) }
    }
    func unreadable(_ error: WireError) { self.faults.withLock { $0 += 1 } }
    func changed(_ change: LivenessChange) {}

    func value(of agent: AgentName) -> Int? {
        self.learned.withLock { $0.last { $0.frame.agent == agent }?.frame.digests.first?.endpointsReady }
    }
}

/// Two hubs and two agents of two clusters, run by the shells, without sockets.
private struct Fleet {
    let network = MemoryNetwork()
    let keys: FrameKeys
    var hubs: [(listener: Listener, mesh: MeshHub)] = []
    var agents: [(teller: Teller, mesh: MeshAgent, peer: Peer)] = []

    init(agents count: Int = 2) throws {
        self.keys = try FrameKeys(secret: FrameKeys.makeSecret())
        for number in 0..<2 {
            guard let hub = HubID(number) else { continue }
            let listener = Listener()
            let transport = self.network.join(Introduction(.hub(hub), name: "hub-\(number)"))
            let mesh = MeshHub(
                hub: hub,
                region: nil,
                keys: self.keys,
                transport: transport,
                owner: listener,
                now: { SocketNode.now }
            )
            self.hubs.append((listener, mesh))
        }
        for number in 1...UInt32(count) { try self.start(agent: number, named: "a-\(number)", incarnation: 1) }
    }

    mutating func start(agent number: UInt32, named name: String, incarnation: UInt32) throws {
        let cluster = try ClusterName("c-\(number)")
        let registration = self.keys.registration(of: cluster, agent: number, incarnation: incarnation)
        let teller = Teller(try AgentName(name))
        let peer = Peer.agent(AgentID(number))
        var settings = GossipSettings()
        settings.interval = 0.2
        let mesh = try MeshAgent(
            cluster: cluster,
            region: RegionName(unchecked: "us-east"),
            registration: registration,
            settings: settings,
            transport: self.network.join(Introduction(peer, name: name, cluster: cluster)),
            owner: teller,
            now: { SocketNode.now }
        )
        self.agents.append((teller, mesh, peer))
    }

    func run(_ story: () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for hub in self.hubs { group.addTask { await hub.mesh.run() } }
            for agent in self.agents { group.addTask { _ = await agent.mesh.run() } }
            try await story()
            group.cancelAll()
        }
    }
}

@Suite("Agents and hubs that gossip")
struct MeshTests {
    @Test("a change is with every hub, and the agent learns which hub holds it")
    func spreads() async throws {
        let fleet = try Fleet()
        let name = try AgentName("a-1")
        try await fleet.run {
            for value in [1, 5] {
                fleet.agents[0].teller.value.withLock { $0 = value }
                fleet.agents[0].mesh.hasChanged()
                try await eventually("both hubs know \(value)") {
                    fleet.hubs.allSatisfy { $0.listener.value(of: name) == value }
                }
            }
            try await eventually("the agent has been answered") {
                !fleet.agents[0].teller.acknowledged.withLock { $0.isEmpty }
            }
            #expect(fleet.hubs.allSatisfy { $0.listener.faults.withLock { $0 } == 0 })
        }
    }

    @Test("what one hub does not hear itself comes by way of the other")
    func mesh() async throws {
        let fleet = try Fleet()
        let name = try AgentName("a-1")
        fleet.network.cut(fleet.agents[0].peer, TransportLaws.west)
        try await fleet.run {
            try await eventually("the second hub knows it") { fleet.hubs[1].listener.value(of: name) == 1 }
            let via = fleet.hubs[1].listener.learned.withLock { $0.last { $0.frame.agent == name }?.via }
            #expect(via == TransportLaws.east)
        }
    }

    @Test("an agent whose links to all hubs are cut goes on through another agent")
    func relayed() async throws {
        let fleet = try Fleet()
        let name = try AgentName("a-1")
        try await fleet.run {
            try await eventually("the hubs know both, and each agent knows a relay", within: .seconds(60)) {
                fleet.hubs.allSatisfy { $0.mesh.cards.count == 2 } && fleet.agents[0].mesh.knowsRelays
            }
            for hub in [TransportLaws.east, TransportLaws.west] { fleet.network.cut(fleet.agents[0].peer, hub) }
            fleet.agents[0].teller.value.withLock { $0 = 7 }
            fleet.agents[0].mesh.hasChanged()
            try await eventually("both hubs know it all the same") {
                fleet.hubs.allSatisfy { $0.listener.value(of: name) == 7 }
            }
            try await eventually("it was answered through the relay") {
                fleet.agents[0].teller.acknowledged.withLock { $0.contains { $0.1 == fleet.agents[1].peer } }
            }
            #expect(fleet.agents[1].mesh.counts.helped > 0)
        }
    }
}
