import FleetModel
import Foundation
import GRPCCore
import GossipCore
import SwiftProtobuf
import Synchronization
import TestKit
import Testing
import WireProtocol
import WireTransport

@testable import GossipTransport

@Suite("Streams of the gossip")
struct GossipStreamsTests {
    private let certificates: Certificates
    private let keys: FrameKeys
    private let hub: SocketNode

    init() throws {
        self.certificates = try Certificates()
        self.keys = try FrameKeys(secret: FrameKeys.makeSecret())
        self.hub = try SocketNode(
            TransportWorld.introductions[0],
            try self.certificates.issue(.hub, "hub-0"),
            keys: self.keys
        )
    }

    /// A stream on which a test says what it wants to, as the holder of some agent's certificate.
    private func raw(
        as cluster: String,
        says messages: [[UInt8]],
        then: @escaping @Sendable () async throws -> Void = {}
    ) async throws -> RPCError? {
        let credentials = try self.certificates.issue(.agent, cluster)
        let address = try await eventually("the hub listens") { self.hub.bound.current }
        let client = try WireClient(to: address, field: "hub", role: .hub, credentials: credentials)
        let error = Mutex<RPCError?>(nil)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await credentials.run() }
            group.addTask { try await client.run() }
            let request = StreamingClientRequest<[UInt8]>(metadata: [:]) { writer in
                for message in messages { try await writer.write(message) }
                try await then()
            }
            do {
                try await client.client.bidirectionalStreaming(
                    request: request,
                    descriptor: Isobar_V1_Gossip.Method.Talk.descriptor,
                    serializer: RawMessages(),
                    deserializer: RawMessages(),
                    options: .defaults
                ) { response in
                    for try await _ in response.messages {}
                }
            } catch let caught as RPCError {
                error.withLock { $0 = caught }
            }
            group.cancelAll()
        }
        return error.withLock { $0 }
    }

    private func hello(_ cluster: String, agent: UInt32, key: AgentRegistration? = nil) throws -> [UInt8] {
        let name = try ClusterName(cluster)
        let registration = key ?? self.keys.registration(of: name, agent: agent, incarnation: 1)
        let seal = try FrameSeal(cluster: name, registration: registration)
        let own = Introduction(.agent(AgentID(agent)), name: "x-0", cluster: name, proof: seal.proof)
        return try own.wire.serializedBytes()
    }

    private func withHub(_ story: () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.hub.run() }
            try await story()
            group.cancelAll()
        }
    }

    @Test("a message that cannot be read is counted and dropped, and the stream goes on")
    func badMessage() async throws {
        try await self.withHub {
            let good: [UInt8] = try GossipMessage.ping(sentAt: 3).wire.serializedBytes()
            let proof = try FrameSeal(
                cluster: try ClusterName("a"),
                registration: self.keys.registration(of: try ClusterName("a"), agent: 1, incarnation: 1)
            ).proof
            var push = Isobar_V1_GossipMessage()
            push.push.carried.sealed = Data(proof)
            let bad: [[UInt8]] = [[255, 255, 255], [], try push.serializedBytes(), try self.hello("a", agent: 1)]
            let error = try await self.raw(as: "a", says: [try self.hello("a", agent: 1)] + bad + [good])
            #expect(error == nil)
            #expect(self.hub.streams.counts[.unreadable] == 4)
            _ = try await TransportLaws.read("the ping after them", from: self.hub.streams) {
                TransportLaws.pings($0, from: .agent(AgentID(1))) == [3]
            }
        }
    }

    @Test("a stolen certificate opens no stream under another cluster, another number or with another key")
    func unproven() async throws {
        try await self.withHub {
            let own = self.keys.registration(of: try ClusterName("a"), agent: 1, incarnation: 1)
            let stolen: [([UInt8], RPCError.Code)] = [
                (try self.hello("b", agent: 2), .permissionDenied),
                (try self.hello("b", agent: 2, key: own), .permissionDenied),
                (
                    try self.hello("a", agent: 2, key: AgentRegistration(agent: 2, incarnation: 1, key: own.key)),
                    .unauthenticated
                ),
                (try Introduction(TransportLaws.west, name: "hub-1").wire.serializedBytes(), .permissionDenied),
                ([1, 2, 3], .invalidArgument),
            ]
            for (hello, code) in stolen {
                let error = try await self.raw(as: "a", says: [hello])
                #expect(error?.code == code)
            }
            #expect(self.hub.streams.counts[.unproven] == 4)
            #expect(self.hub.streams.openStreams.peers == 0)
        }
    }

    @Test("an agent whose key a hub does not know hears that it has to register again")
    func unrecognized() async throws {
        let agent = try SocketNode(
            agentNamed: "a-0",
            of: "a",
            number: 1,
            try self.certificates.issue(.agent, "a"),
            keys: try FrameKeys(secret: FrameKeys.makeSecret())
        )
        try await self.withHub {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await agent.run() }
                let address = try await eventually("the hub listens") { self.hub.bound.current }
                group.addTask { await agent.stay(connectedTo: self.hub.own.peer, at: address) }
                _ = try await TransportLaws.read("the hub's word", from: agent.streams) { $0.contains(.unrecognized) }
                group.cancelAll()
            }
        }
    }

    @Test("a flood is dropped before it is read, waits at its source, and costs other peers nothing")
    func flood() async throws {
        try await self.withHub {
            let good: [UInt8] = try GossipMessage.ping(sentAt: 3).wire.serializedBytes()
            let hello = try self.hello("a", agent: 1)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    _ = try await self.raw(as: "a", says: [hello] + Array(repeating: good, count: 200_000))
                }
                try await eventually("the flood is counted") { self.hub.streams.counts[.flood] > 2 }
                let other = try self.hello("b", agent: 2)
                _ = try await self.raw(as: "b", says: [other, good])
                _ = try await TransportLaws.read("the other's ping", from: self.hub.streams) {
                    TransportLaws.pings($0, from: .agent(AgentID(2))) == [3]
                }
                #expect(self.hub.streams.counts.received < 20_000, "the flood was read as fast as it came")
                group.cancelAll()
            }
        }
    }

    @Test("a relay is connected to when it is first needed, by its address, and hears only what is for it")
    func relays() async throws {
        let relay = try SocketNode(
            agentNamed: "b-0",
            of: "b",
            number: 2,
            try self.certificates.issue(.agent, "b"),
            keys: self.keys
        )
        let agent = try SocketNode(
            agentNamed: "a-0",
            of: "a",
            number: 1,
            try self.certificates.issue(.agent, "a"),
            keys: self.keys
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            for node in [relay, agent] { group.addTask { try await node.run() } }
            let address = try await eventually("the relay listens") { relay.bound.current }
            try await eventually("a stream to the relay") {
                agent.streams.send(.ping(sentAt: 1), to: relay.own.peer, at: address.description)
                return relay.streams.counts.received > 0
            }
            _ = try await TransportLaws.read("the first message, which waited for the connection", from: relay.streams)
            {
                TransportLaws.pings($0, from: agent.own.peer) == [1]
            }
            relay.streams.send(.pong(sentAt: 1, reach: HubSet()), to: agent.own.peer, at: nil)
            _ = try await TransportLaws.read("the answer", from: agent.streams) {
                $0.contains(.heard(relay.own.peer, .pong(sentAt: 1, reach: HubSet())))
            }
            // The same address under another number: what answers there is not whom the message is for.
            agent.streams.send(.ping(sentAt: 2), to: .agent(AgentID(9)), at: address.description)
            try await eventually("the fault is known") {
                agent.streams.fault(of: .agent(AgentID(9)))?.contains("in the place of agent 9") == true
            }
            group.cancelAll()
        }
    }
}
