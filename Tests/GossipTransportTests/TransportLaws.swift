import CertificateAuthority
import FleetModel
import Foundation
import GossipCore
import GossipTransport
import Logging
import Synchronization
import TestKit
import Testing
import WireProtocol
import WireTransport

/// What a transport is held to, whatever carries it: two hubs and an agent, each linked to each.
enum TransportLaws {
    static let suite: [(String, @Sendable (TransportWorld) async throws -> Void)] = [
        ("what is sent arrives, under the name of its sender, and nowhere else", Self.arrives),
        ("a slow reader gets the newest of each slot, and no slot takes another's place", Self.newestOnly),
        ("a peer that is cut off is lost, hears nothing, and is met again; others notice nothing", Self.cutAndHealed),
        ("what is sent to nobody is gone", Self.nobody),
    ]

    static let east = Peer.hub(HubID(0) ?? .first)
    static let west = Peer.hub(HubID(1) ?? .first)
    static let agent = Peer.agent(AgentID(7))

    /// Reads what comes until it has seen enough.
    static func read(
        _ what: String,
        from transport: any MeshTransport,
        until enough: @escaping @Sendable ([GossipEvent]) -> Bool
    ) async throws -> [GossipEvent] {
        let heard = Heard()
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for await events in transport.received {
                    if enough(heard.add(events)) { return }
                }
            }
            defer { group.cancelAll() }
            return try await eventually(what) {
                let all = heard.add([])
                return enough(all) ? all : nil
            }
        }
    }

    private final class Heard: Sendable {
        private let all = Mutex<[GossipEvent]>([])

        func add(_ events: [GossipEvent]) -> [GossipEvent] {
            self.all.withLock { all in
                all += events
                return all
            }
        }
    }

    static func meets(_ peer: Peer) -> @Sendable ([GossipEvent]) -> Bool {
        { events in events.contains { if case .met(let other) = $0 { other.peer == peer } else { false } } }
    }

    static func pings(_ events: [GossipEvent], from peer: Peer) -> [Seconds] {
        events.compactMap { event in
            if case .heard(peer, .ping(let sentAt)) = event { sentAt } else { nil }
        }
    }

    private static func arrives(_ world: TransportWorld) async throws {
        let met = try await Self.read("the hub meets the agent", from: world.east, until: Self.meets(Self.agent))
        let introduction = met.compactMap {
            if case .met(let other) = $0, other.peer == Self.agent { other } else { nil }
        }
        #expect(introduction.first?.name == "a-0" && introduction.first?.cluster?.text == "a")
        _ = try await Self.read("the agent meets the hub", from: world.agent, until: Self.meets(Self.east))
        world.agent.send(.ping(sentAt: 5), to: Self.east, at: nil)
        _ = try await Self.read("a ping", from: world.east) { Self.pings($0, from: Self.agent) == [5] }
        world.east.send(.pong(sentAt: 5, reach: HubSet(bits: 3)), to: Self.agent, at: nil)
        _ = try await Self.read("its answer", from: world.agent) {
            $0.contains(.heard(Self.east, .pong(sentAt: 5, reach: HubSet(bits: 3))))
        }
        // Which of the two hubs the agent meets first is open, and what is sent before is sent to nobody.
        _ = try await Self.read("the other hub meets the agent", from: world.west, until: Self.meets(Self.agent))
        world.west.send(.ping(sentAt: 6), to: Self.agent, at: nil)
        let heard = try await Self.read("the other hub", from: world.agent) { !Self.pings($0, from: Self.west).isEmpty }
        #expect(Self.pings(heard, from: Self.east).isEmpty)
    }

    private static func newestOnly(_ world: TransportWorld) async throws {
        _ = try await Self.read("the agent meets the hub", from: world.agent, until: Self.meets(Self.east))
        for count in 1...200 { world.agent.send(.ping(sentAt: Double(count)), to: Self.east, at: nil) }
        world.agent.send(.pong(sentAt: 1, reach: HubSet()), to: Self.east, at: nil)
        for number in 1...3 as ClosedRange<UInt32> {
            let stamp = FrameStamp(incarnation: 1, sequence: number)
            let refused = FrameAcknowledgement(hub: HubID(3) ?? .first, agent: AgentID(number), stamp: stamp, echo: 1)
            world.agent.send(.relayed(refused), to: Self.east, at: nil)
        }
        let heard = try await Self.read("the newest of five slots", from: world.east) { events in
            Self.pings(events, from: Self.agent).last == 200
                && events.contains(.heard(Self.agent, .pong(sentAt: 1, reach: HubSet())))
                && events.count { if case .heard(Self.agent, .relayed) = $0 { true } else { false } } == 3
        }
        let pings = Self.pings(heard, from: Self.agent)
        #expect(pings == pings.sorted(), "an older message came after a newer one")
    }

    private static func cutAndHealed(_ world: TransportWorld) async throws {
        _ = try await Self.read("the agent meets both hubs", from: world.agent) {
            Self.meets(Self.east)($0) && Self.meets(Self.west)($0)
        }
        await world.cut(Self.agent, Self.east, false)
        _ = try await Self.read("the agent loses one", from: world.agent) { $0.contains(.lost(Self.east)) }
        world.agent.send(.ping(sentAt: 1), to: Self.east, at: nil)
        world.agent.send(.ping(sentAt: 1), to: Self.west, at: nil)
        _ = try await Self.read("the other hub hears it", from: world.west) { Self.pings($0, from: Self.agent) == [1] }
        await world.cut(Self.agent, Self.east, true)
        _ = try await Self.read("they meet again", from: world.agent, until: Self.meets(Self.east))
        world.agent.send(.ping(sentAt: 2), to: Self.east, at: nil)
        let heard = try await Self.read("the hub hears it", from: world.east) {
            Self.pings($0, from: Self.agent).contains(2)
        }
        #expect(!Self.pings(heard, from: Self.agent).contains(1), "what was sent while they were cut came all the same")
    }

    private static func nobody(_ world: TransportWorld) async throws {
        _ = try await Self.read("the agent meets the hub", from: world.agent, until: Self.meets(Self.east))
        world.agent.send(.ping(sentAt: 1), to: .agent(AgentID(99)), at: nil)
        world.agent.send(.ping(sentAt: 2), to: Self.east, at: nil)
        let heard = try await Self.read("the hub hears it", from: world.east) {
            Self.pings($0, from: Self.agent) == [2]
        }
        #expect(!heard.contains { if case .heard(_, .ping(1)) = $0 { true } else { false } })
    }
}

extension HubID {
    /// For tests, which name numbers that there are.
    static var first: HubID {
        guard let first = HubID(0) else { preconditionFailure("there is a hub 0") }
        return first
    }
}

/// Two hubs and an agent over one kind of transport.
struct TransportWorld: Sendable {
    let east: any MeshTransport
    let west: any MeshTransport
    let agent: any MeshTransport
    /// Cuts the link between two of them, or heals it.
    let cut: @Sendable (Peer, Peer, _ heals: Bool) async -> Void

    static let introductions = [
        Introduction(TransportLaws.east, name: "hub-0", region: RegionName(unchecked: "us-east")),
        Introduction(TransportLaws.west, name: "hub-1"),
    ]

    /// Without sockets.
    static func inMemory(_ story: (TransportWorld) async throws -> Void) async throws {
        let network = MemoryNetwork()
        let hubs = Self.introductions.map { network.join($0) }
        let agent = Introduction(TransportLaws.agent, name: "a-0", cluster: ClusterName(unchecked: "a"))
        let world = TransportWorld(east: hubs[0], west: hubs[1], agent: network.join(agent)) { one, other, heals in
            network.cut(one, other, heal: heals)
        }
        try await story(world)
    }

    /// Over sockets on loopback, with mutual TLS: every link is a stream that the agent, or each hub, opened.
    static func overSockets(_ story: @escaping @Sendable (TransportWorld) async throws -> Void) async throws {
        let certificates = try Certificates()
        let keys = try FrameKeys(secret: FrameKeys.makeSecret())
        let hubs = try Self.introductions.map { try SocketNode($0, certificates.issue(.hub, $0.name), keys: keys) }
        let agent = try SocketNode(
            agentNamed: "a-0",
            of: "a",
            number: 7,
            certificates.issue(.agent, "a"),
            keys: keys
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            for node in hubs + [agent] { group.addTask { try await node.run() } }
            for node in [agent] + hubs {
                for hub in hubs where hub !== node {
                    let address = try await eventually("the hub listens") { hub.bound.current }
                    group.addTask { await node.stay(connectedTo: hub.own.peer, at: address) }
                }
            }
            let world = TransportWorld(east: hubs[0].streams, west: hubs[1].streams, agent: agent.streams) {
                one,
                other,
                heals in
                for node in hubs + [agent] where node.own.peer == one || node.own.peer == other {
                    node.cut(from: node.own.peer == one ? other : one, heals)
                }
            }
            try await story(world)
            group.cancelAll()
        }
    }
}

/// A folder with the certificates of one fleet.
struct Certificates: Sendable {
    private let folder: TemporaryFolder
    private let authority: AuthorityFolder
    private let given = Given()

    init() throws {
        self.folder = try TemporaryFolder()
        self.authority = AuthorityFolder(path: self.folder.file("pki"))
        _ = try self.authority.create(fleet: try FleetName("acme"), lifetime: 86_400, now: Date())
    }

    /// Credentials of their own for each caller; who is named again shows the certificate given before.
    func issue(_ role: Role, _ name: String) throws -> LinkCredentials {
        let files = try self.given.files.withLock { given in
            if let files = given["\(role)/\(name)"] { return files }
            let held = try self.authority.issue(role: role, name: name, lifetime: 86_400, now: Date())
            let files = LinkFiles(
                certificate: held.certificateFile,
                key: held.keyFile,
                authority: self.authority.authorityFile
            )
            given["\(role)/\(name)"] = files
            return files
        }
        return try LinkCredentials(files: files, logger: Logger(label: "test"))
    }

    private final class Given: Sendable {
        let files = Mutex<[String: LinkFiles]>([:])
    }
}

/// One program with a real transport on a free port.
final class SocketNode: Sendable {
    let own: Introduction
    let streams = GossipStreams(now: { SocketNode.now })
    let bound = NewestWins<EndpointAddress>()
    let credentials: LinkCredentials
    private let links = Mutex<[Peer: NewestWins<Bool>]>([:])

    static var now: Seconds {
        let elapsed = ContinuousClock.now - Self.began
        return Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18
    }
    private static let began = ContinuousClock.now

    /// A hub.
    init(_ own: Introduction, _ credentials: LinkCredentials, keys: FrameKeys) throws {
        (self.own, self.credentials) = (own, credentials)
        self.streams.introduce(own) { try? keys.open($0).header }
    }

    /// An agent.
    init(
        agentNamed name: String,
        of cluster: String,
        number: UInt32,
        _ credentials: LinkCredentials,
        keys: FrameKeys
    ) throws {
        let cluster = try ClusterName(cluster)
        let registration = keys.registration(of: cluster, agent: number, incarnation: 1)
        let seal = try FrameSeal(cluster: cluster, registration: registration)
        self.credentials = credentials
        self.own = Introduction(.agent(AgentID(number)), name: name, cluster: cluster, proof: seal.proof)
        self.streams.introduce(self.own)
    }

    /// Serves, and connects to relays.
    func run() async throws {
        let server = try WireServer(
            listen: try EndpointAddress(listening: "127.0.0.1:0"),
            services: [GossipService(self.streams)],
            credentials: self.credentials
        ) { [bound] in bound.send($0) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.credentials.run() }
            group.addTask { try await server.run() }
            group.addTask {
                await self.streams.run { address, talk in
                    guard
                        let client = try? WireClient(
                            to: address,
                            field: "relay",
                            role: .agent,
                            credentials: self.credentials
                        )
                    else { return }
                    await client.whileConnected { await talk.run(over: client.client) }
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func link(to peer: Peer) -> NewestWins<Bool> {
        self.links.withLock { links in
            let link = links[peer] ?? NewestWins(true)
            links[peer] = link
            return link
        }
    }

    /// Cuts this end's own stream to a peer, or opens one again.
    func cut(from peer: Peer, _ heals: Bool) { self.link(to: peer).send(heals) }

    /// Talks to a hub while the link is not cut.
    func stay(connectedTo peer: Peer, at address: EndpointAddress) async {
        let link = self.link(to: peer)
        while !Task.isCancelled {
            guard link.current == true,
                let client = try? WireClient(to: address, field: "hub", role: .hub, credentials: self.credentials)
            else {
                for await isOpen in link.values() where isOpen { break }
                continue
            }
            await client.whileConnected {
                await withTaskGroup(of: Void.self) { group in
                    group.addTask { await GossipTalk(self.streams, withHubOver: "\(address)").run(over: client.client) }
                    group.addTask { for await isOpen in link.values() where !isOpen { return } }
                    await group.next()
                    group.cancelAll()
                }
            }
        }
    }
}

@Suite("Transports of the gossip")
struct TransportLawTests {
    @Test("in memory, each law holds", arguments: TransportLaws.suite.indices)
    func inMemory(law: Int) async throws {
        try await TransportWorld.inMemory { try await TransportLaws.suite[law].1($0) }
    }

    @Test("over sockets with mutual TLS, each law holds", arguments: TransportLaws.suite.indices)
    func overSockets(law: Int) async throws {
        try await TransportWorld.overSockets { try await TransportLaws.suite[law].1($0) }
    }
}
