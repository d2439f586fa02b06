import ArgumentParser
import FleetModel
import Foundation
import GRPCCore
import GossipCore
import GossipTransport
import Logging
import SwiftProtobuf
import Synchronization
import WireProtocol
import WireTransport

/// Many agents in one process, each with the agent's own end of the gossip and its own connections to real hubs.
///
/// They read no engines, so what they cost is what the gossip costs. Every frame is a change. `testenv/bench-gossip`
/// starts the hubs and makes the certificates.
struct GossipBench: AsyncParsableCommand, Bench {
    static let name = "gossip"
    static let configuration = CommandConfiguration(
        commandName: "gossip",
        abstract: "Agents that gossip with hubs: processor time, bytes and time of a change; or a flood."
    )

    @Option(help: "The hubs' addresses, with commas.")
    var hubs: String
    @Option(help: "The folder of `isobar pki`, with a certificate for each of the clusters c-0, c-1, ….")
    var certificates: String
    @Option(help: "Clusters.")
    var clusters = 25
    @Option(help: "Agents of each cluster.")
    var agents = 8
    @Option(help: "Measured seconds, once every agent reaches every hub.")
    var seconds = 20.0
    @Option(help: "What the hubs bear meanwhile, for the figures' names.")
    var under = ""
    @Option(help: "No honest agents: offer so many forged messages under the certificate of c-0.")
    var flood = 0
    @Option(help: "Agents that bring the forged messages, a stream each.")
    var floodStreams = 24

    /// Nothing takes longer, in seconds, unless it does not work.
    private static let patience = 120.0
    /// A flood waits at its source: a million messages take minutes.
    private static let floodPatience = 600.0

    func measure() -> [Figure] { [] }

    func run() async throws {
        let addresses = try self.hubs.split(separator: ",").map { try EndpointAddress(String($0)) }
        let clusters = try (0..<self.clusters).map { try ClusterName("c-\($0)") }
        let credentials = try clusters.map { cluster in
            let path = "\(self.certificates)/agent-\(cluster)"
            let files = LinkFiles(
                certificate: "\(path).crt",
                key: "\(path).key",
                authority: "\(self.certificates)/ca.crt"
            )
            return try LinkCredentials(files: files, logger: Logger(label: "bench") { _ in SwiftLogNoOpLogHandler() })
        }
        let region = try RegionName("us-east")
        if self.flood > 0 {
            try await self.bringFlood(to: addresses, of: clusters, from: region, credentials[0])
            return
        }
        let fleet = try (0..<self.clusters * self.agents).map { place in
            try BenchAgent(
                cluster: clusters[place % self.clusters],
                name: AgentName("a-\(place / self.clusters)"),
                region: region,
                hubs: addresses,
                credentials: credentials[place % self.clusters]
            )
        }
        let figures = try await withThrowingTaskGroup(of: Void.self) { group in
            for credentials in credentials { group.addTask { try await credentials.run() } }
            for agent in fleet { group.addTask { try await agent.run() } }
            try await self.wait("agents that do not reach every hub") {
                fleet.count { $0.hubsReached < addresses.count }
            }
            try await Task.sleep(for: .seconds(2))
            print("{\"phase\":\"measuring\"}")
            fflush(nil)
            let (before, began) = ((processorSeconds(), fleet.map(\.bytes).reduce(0, +)), monotonic())
            for agent in fleet { agent.begin() }
            try await Task.sleep(for: .seconds(self.seconds))
            let after = (processorSeconds(), fleet.map(\.bytes).reduce(0, +))
            let elapsed = monotonic() - began
            let times = fleet.flatMap { $0.end() }.sorted()
            print("{\"phase\":\"measured\"}")
            fflush(nil)
            // Whoever looks at the hubs does it now, before the agents go.
            try await Task.sleep(for: .seconds(1))
            group.cancelAll()
            return self.figures(
                processor: after.0 - before.0,
                bytes: after.1 - before.1,
                times: times,
                elapsed: elapsed
            )
        }
        self.report(figures)
    }

    private func bringFlood(
        to hubs: [EndpointAddress],
        of clusters: [ClusterName],
        from region: RegionName,
        _ credentials: LinkCredentials
    ) async throws {
        let offered = Offered()
        let began = monotonic()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await credentials.run() }
            for stream in 0..<self.floodStreams {
                let attacker = try Attacker(
                    number: stream,
                    cluster: clusters[0],
                    victim: clusters[1 % clusters.count],
                    region: region,
                    hub: hubs[stream % hubs.count],
                    credentials: credentials
                )
                let share = self.flood / self.floodStreams
                group.addTask { await attacker.run(messages: share, offered: offered) }
            }
            let all = self.flood / self.floodStreams / 100 * 100 * self.floodStreams
            try await self.wait("forged messages that the hubs did not read", for: Self.floodPatience) {
                max(0, all - offered.count)
            }
            group.cancelAll()
        }
        self.report([
            Figure(figure: "forged messages offered", value: Double(offered.count), unit: ""),
            Figure(figure: "of them, a second", value: Double(offered.count) / (monotonic() - began), unit: "1/s"),
        ])
    }

    /// Waits until nothing is left.
    private func wait(_ what: String, for patience: Double = patience, _ left: () -> Int) async throws {
        let until = monotonic() + patience
        while true {
            let count = left()
            if count == 0 { return }
            guard monotonic() < until else { throw ValidationError("after \(patience) s: \(count) \(what)") }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    private func figures(
        processor: Double,
        bytes: UInt64,
        times: [Seconds],
        elapsed: Seconds
    ) -> [Figure] {
        let all = Double(self.clusters * self.agents)
        let with = self.under.isEmpty ? "" : ", under \(self.under)"
        func quantile(_ share: Double) -> Double {
            times.isEmpty ? -1 : times[min(times.count - 1, Int(share * Double(times.count)))] * 1_000
        }
        var figures = [
            Figure(figure: "a change until every hub has it and says so, p50\(with)", value: quantile(0.5), unit: "ms"),
            Figure(
                figure: "a change until every hub has it and says so, p99\(with)",
                value: quantile(0.99),
                unit: "ms"
            ),
            Figure(
                figure: "changes that every hub has had and said so, of those made\(with)",
                value: Double(times.count) / (all * elapsed) * 100,
                unit: "%"
            ),
        ]
        let perSecond = all * elapsed
        figures.append(
            Figure(
                figure: "processor time of an agent's gossip\(with)",
                value: processor / perSecond * 1_000,
                unit: "ms/s"
            )
        )
        figures.append(
            Figure(figure: "messages of an agent, both ways\(with)", value: Double(bytes) / perSecond, unit: "B/s")
        )
        return figures
    }
}

private func processorSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// Seconds since the program began.
private let began = ContinuousClock.now
@Sendable private func monotonic() -> Seconds { (ContinuousClock.now - began) / .seconds(1) }

private final class Offered: Sendable {
    private let offered = Mutex(0)
    var count: Int { self.offered.withLock { $0 } }
    func add(_ count: Int) { self.offered.withLock { $0 += count } }
}

/// An agent without engines.
private final class BenchAgent: MeshAgentOwner {
    private struct State {
        var isMeasuring = false
        var sent: [FrameID: (at: Seconds, hubs: Set<HubID>)] = [:]
        var times: [Seconds] = []
        var beats = 0
    }

    private let cluster: ClusterName
    private let name: AgentName
    private let region: RegionName
    private let clients: [WireClient]
    private let streams = GossipStreams(now: monotonic)
    private let state = Mutex(State())
    private let mesh = Mutex<MeshAgent?>(nil)

    init(
        cluster: ClusterName,
        name: AgentName,
        region: RegionName,
        hubs: [EndpointAddress],
        credentials: LinkCredentials
    ) throws {
        (self.cluster, self.name, self.region) = (cluster, name, region)
        self.clients = try hubs.map { try WireClient(to: $0, field: "hub", role: .hub, credentials: credentials) }
    }

    var bytes: UInt64 { self.streams.counts.sentBytes + self.streams.counts.receivedBytes }

    func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for client in self.clients { group.addTask { try? await client.client.keepConnections() } }
            let registrar = Registrar(client: self.clients[0].client)
            let registration = try await registrar.register(
                cluster: self.cluster,
                region: self.region,
                agent: self.name
            ) { _ in }
            let mesh = try MeshAgent(
                cluster: self.cluster,
                region: self.region,
                registration: registration,
                settings: GossipSettings(),
                transport: self.streams,
                owner: self,
                now: monotonic
            )
            self.mesh.withLock { $0 = mesh }
            self.streams.introduce(
                Introduction(
                    .agent(AgentID(registration.agent)),
                    name: self.name.text,
                    region: self.region,
                    cluster: self.cluster,
                    proof: mesh.proof
                )
            )
            for client in self.clients {
                let streams = self.streams
                group.addTask { await GossipTalk(streams, withHubOver: "\(client.address)").run(over: client.client) }
            }
            group.addTask { _ = await mesh.run() }
            try await group.waitForAll()
        }
    }

    var hubsReached: Int { self.mesh.withLock { $0 }?.hubs.count { $0.view.isReached } ?? 0 }

    func begin() { self.state.withLock { $0.isMeasuring = true } }

    /// The measured times, and nothing more is measured.
    func end() -> [Seconds] {
        self.state.withLock { state in
            state.isMeasuring = false
            return state.times
        }
    }

    func payload(of frame: FrameID) -> [UInt8]? {
        let beats = self.state.withLock { state in
            state.beats += 1
            return state.beats
        }
        let digests = (0..<4).map { number in
            PoolDigest(
                pool: PoolName(namespace: "default", name: "pool-\(number)"),
                state: .active,
                endpointsReady: 1 + beats % 8,
                endpointsKnown: 8
            )
        }
        return try? Isobar_V1_Frame(
            DigestFrame(id: frame, region: self.region, agent: self.name, interval: 1, digests: digests)
        ).serializedBytes()
    }

    func published(_ frame: FrameID) {
        let now = monotonic()
        self.state.withLock { state in
            if state.isMeasuring { state.sent[frame] = (now, []) }
            if state.sent.count > 64 { state.sent = state.sent.filter { now - $0.value.at < 30 } }
        }
    }

    func acknowledged(_ frame: FrameID, by hub: HubID, through: Peer) {
        let now = monotonic()
        self.state.withLock { state in
            guard var sent = state.sent[frame] else { return }
            sent.hubs.insert(hub)
            state.sent[frame] = sent
            guard sent.hubs.count == self.clients.count else { return }
            state.sent[frame] = nil
            state.times.append(now - sent.at)
        }
    }
}

/// Somebody with the certificate of one cluster, who brings forged frames of another as fast as the hub reads them.
private struct Attacker: Sendable {
    let number: Int
    let cluster: ClusterName
    let region: RegionName
    let client: WireClient
    let forged: Isobar_V1_GossipMessage

    init(
        number: Int,
        cluster: ClusterName,
        victim: ClusterName,
        region: RegionName,
        hub: EndpointAddress,
        credentials: LinkCredentials
    ) throws {
        (self.number, self.cluster, self.region) = (number, cluster, region)
        self.client = try WireClient(to: hub, field: "hub", role: .hub, credentials: credentials)
        let stolen = AgentRegistration(agent: 1, incarnation: 4_000_000, key: Array(repeating: 7, count: 32))
        var seal = try FrameSeal(cluster: victim, registration: stolen)
        var message = Isobar_V1_GossipMessage()
        message.forward.carried.sealed = Data(try seal.seal(Array(repeating: 0, count: 300), sequence: 1))
        self.forged = message
    }

    func run(messages: Int, offered: Offered) async {
        await self.client.whileConnected {
            do {
                let registrar = Registrar(client: self.client.client)
                let registration = try await registrar.register(
                    cluster: self.cluster,
                    region: self.region,
                    agent: AgentName("evil-\(self.number)")
                ) { _ in }
                let seal = try FrameSeal(cluster: self.cluster, registration: registration)
                var hello = Isobar_V1_GossipMessage()
                hello.hello.agent = registration.agent
                hello.hello.name = "evil-\(self.number)"
                hello.hello.cluster = self.cluster.text
                hello.hello.proof = Data(seal.proof)
                let first = hello
                try await Isobar_V1_Gossip.Client(wrapping: self.client.client).talk { writer in
                    try await writer.write(first)
                    for count in 1...max(1, messages) {
                        try await writer.write(self.forged)
                        if count % 100 == 0 { offered.add(100) }
                    }
                } onResponse: { response in
                    for try await _ in response.messages {}
                }
            } catch {
                return
            }
        }
    }
}
