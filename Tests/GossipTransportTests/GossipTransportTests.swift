import FleetModel
import Foundation
import GRPCCore
import GRPCInProcessTransport
import GossipTransport
import SwiftProtobuf
import Synchronization
import TestKit
import Testing
import WireProtocol

/// A hub that takes every frame of cluster `a` and refuses the others.
private final class Receiver: DigestReceiver {
    let frames = Mutex<[FrameID]>([])
    let refusals = Mutex(0)
    private let incarnation = Mutex<UInt64>(0)
    private let keys: FrameKeys

    init() throws { self.keys = try FrameKeys(secret: FrameKeys.makeSecret()) }

    func register(cluster: ClusterName, region: RegionName, agent: AgentName) async throws -> AgentRegistration {
        let incarnation = self.incarnation.withLock {
            $0 += 1
            return $0
        }
        return AgentRegistration(incarnation: incarnation, key: self.keys.key(of: cluster, incarnation: incarnation))
    }
    func open(_ sealed: [UInt8]) async throws -> OpenedFrame { try self.keys.open(sealed) }
    func sealed(_ message: Isobar_V1_Frame) throws -> [UInt8] {
        let cluster = try ClusterName(message.id.cluster)
        let key = self.keys.key(of: cluster, incarnation: message.id.incarnation)
        var seal = try FrameSeal(cluster: cluster, incarnation: message.id.incarnation, key: key)
        return try seal.seal(try message.serializedBytes(), sequence: message.id.sequence)
    }
    func receive(_ frame: DigestFrame) -> String? {
        guard frame.id.cluster.text == "a" else { return "not of this fleet" }
        self.frames.withLock { $0.append(frame.id) }
        return nil
    }
    func refused(_ error: WireError) { self.refusals.withLock { $0 += 1 } }
}

@Suite("Digests and samples between processes")
struct GossipTransportTests {
    private static func frame(_ cluster: String, _ sequence: UInt64) throws -> DigestFrame {
        DigestFrame(
            id: FrameID(cluster: try ClusterName(cluster), incarnation: 1, sequence: sequence),
            region: try RegionName("us-east"),
            agent: try AgentName("a-0"),
            interval: 1,
            digests: []
        )
    }

    private func tell(
        services: [any RegistrableRPCService],
        _ story: @escaping @Sendable (GRPCClient<InProcessTransport.Client>) async throws -> Void
    ) async throws {
        let transport = InProcessTransport()
        let server = GRPCServer(transport: transport.server, services: services)
        let client = GRPCClient(transport: transport.client)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.serve() }
            group.addTask { try await client.runConnections() }
            try await story(client)
            client.beginGracefulShutdown()
            server.beginGracefulShutdown()
            group.cancelAll()
        }
    }

    @Test("an agent gets a greater incarnation with each start, and its frames are acknowledged one by one")
    func publishes() async throws {
        let receiver = try Receiver()
        try await self.tell(services: [DigestService(receiver: receiver)]) { client in
            let events = Mutex<[String]>([])
            let publisher = DigestPublisher(client: client) { event in
                switch event {
                case .accepted(let id): events.withLock { $0.append("accepted \(id)") }
                case .refused(let id, let reason): events.withLock { $0.append("refused \(id): \(reason)") }
                case .registered, .lost: break
                }
            }
            let (cluster, region, agent) = (try ClusterName("a"), try RegionName("us-east"), try AgentName("a-0"))
            let first = try await publisher.register(cluster: cluster, region: region, agent: agent)
            let second = try await publisher.register(cluster: cluster, region: region, agent: agent)
            #expect(second.incarnation > first.incarnation && first.incarnation > 0 && first.key != second.key)

            let frames = NewestWins<[UInt8]>()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await publisher.run(frames: frames) }
                frames.send(try receiver.sealed(Isobar_V1_Frame(try Self.frame("a", 1))))
                try await eventually("the first is taken") { events.withLock { $0.contains("accepted a@1.1") } }
                frames.send(try receiver.sealed(Isobar_V1_Frame(try Self.frame("b", 1))))
                try await eventually("a stranger is refused, and the stream goes on") {
                    events.withLock { $0.contains("refused b@1.1: not of this fleet") }
                }
                frames.send(try receiver.sealed(Isobar_V1_Frame(try Self.frame("a", 2))))
                try await eventually("the next is taken") { events.withLock { $0.contains("accepted a@1.2") } }
                group.cancelAll()
            }
        }
    }

    @Test("a frame that cannot be read is counted and dropped, and the stream goes on")
    func badMessage() async throws {
        let receiver = try Receiver()
        try await self.tell(services: [DigestService(receiver: receiver)]) { client in
            let raw = Isobar_V1_Digests.Client(wrapping: client)
            var bad = Isobar_V1_Frame(try Self.frame("a", 1))
            bad.region = "NO REGION"
            var forged = try receiver.sealed(bad)
            forged[forged.count - 1] ^= 1
            let sent = [
                try receiver.sealed(bad), forged, [], try receiver.sealed(Isobar_V1_Frame(try Self.frame("a", 2))),
            ]
            let refusals = try await raw.publish { writer in
                for sealed in sent { try await writer.write(.with { $0.sealed = Data(sealed) }) }
            } onResponse: { response in
                try await response.messages.reduce(into: []) { $0.append($1.refusal) }
            }
            #expect(refusals.map(\.isEmpty) == [false, false, false, true])
            #expect(Array(refusals[1...2]) == ["seal: forged", "seal: malformed"])
            #expect(receiver.refusals.withLock { $0 } == 1)
            #expect(receiver.frames.withLock { $0.map(\.description) } == ["a@1.2"])
        }
    }

    @Test("samples reach every gateway of the region, as old as they are")
    func samples() async throws {
        let batches = NewestWins<[SampleBatch]>()
        let endpoint = try EndpointAddress("127.0.0.1:8000")
        let batch = SampleBatch(
            cluster: try ClusterName("a"),
            region: try RegionName("us-east"),
            pool: try PoolName("llama"),
            samples: [
                EndpointSample(
                    endpoint: endpoint,
                    load: EndpointLoad(running: 2, waiting: 1, kvUse: 0.5),
                    takenAt: 99
                )
            ]
        )
        try await self.tell(services: [SampleService(batches: batches, now: { 100 })]) { client in
            let received = Mutex<[SampleBatch]>([])
            let watcher = SampleWatcher(client: client, gateway: try GatewayName("gw"), now: { 7 }) { event in
                if case .batch(let batch) = event { received.withLock { $0.append(batch) } }
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await watcher.run() }
                batches.send([batch])
                try await eventually("the batch arrives") { received.withLock { !$0.isEmpty } }
                #expect(received.withLock { $0[0].samples[0].takenAt } == 6)
                group.cancelAll()
            }
        }
    }
}
