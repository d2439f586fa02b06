import CertificateAuthority
import FleetModel
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import GossipTransport
import Logging
import Synchronization
import TestKit
import Testing
import WireProtocol

@testable import WireTransport

/// A hub that registers whoever may be.
private final class Registry: AgentRegistry {
    let clusters = Mutex<[ClusterName]>([])

    func register(cluster: ClusterName, region: RegionName, agent: AgentName) async throws -> AgentRegistration {
        self.clusters.withLock { $0.append(cluster) }
        return AgentRegistration(agent: 1, incarnation: 1, key: Array(repeating: 1, count: 32))
    }
}

/// A folder with the certificates of fleet `acme`.
private struct Certificates: Sendable {
    private let folder: TemporaryFolder
    let authority: AuthorityFolder

    init(fleet: String = "acme", now: Date = Date()) throws {
        self.folder = try TemporaryFolder()
        self.authority = AuthorityFolder(path: self.folder.file("pki"))
        _ = try self.authority.create(fleet: try FleetName(fleet), lifetime: 86_400_000, now: now)
    }

    func issue(_ role: Role, _ name: String, lifetime: TimeInterval = 86_400, now: Date = Date()) throws -> LinkFiles {
        let held = try self.authority.issue(role: role, name: name, lifetime: lifetime, now: now)
        return LinkFiles(
            certificate: held.certificateFile,
            key: held.keyFile,
            authority: self.authority.authorityFile
        )
    }
}

private func credentials(_ files: LinkFiles) throws -> LinkCredentials {
    try LinkCredentials(files: files, logger: Logger(label: "test"))
}

@Suite("Mutual TLS")
struct MutualTLSTests {
    private typealias Client = GRPCClient<WireClient.Transport>

    /// A hub with mutual TLS on a free port, for as long as a story lasts.
    private func withHub(
        _ hub: LinkCredentials,
        _ story: @escaping @Sendable (EndpointAddress, Registry) async throws -> Void
    ) async throws {
        let registry = Registry()
        let bound = NewestWins<EndpointAddress>()
        let server = try WireServer(
            listen: try EndpointAddress(listening: "127.0.0.1:0"),
            services: [
                RegistryService(registry: registry), SampleService(batches: NewestWins<[SampleBatch]>(), now: { 0 }),
            ],
            credentials: hub
        ) { bound.send($0) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await hub.run() }
            group.addTask { try await server.run() }
            let address = try await eventually("the hub listens") { bound.current }
            try await story(address, registry)
            group.cancelAll()
        }
    }

    /// One registration over a link of its own; returns the error's code, or `nil` when it was answered.
    private func register(
        _ cluster: String,
        at address: EndpointAddress,
        as agent: LinkCredentials?,
        role: Role = .hub
    ) async throws -> RPCError.Code? {
        let client = try WireClient(to: address, field: "hub", role: role, credentials: agent)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await client.run() }
            if let agent { group.addTask { try await agent.run() } }
            defer { group.cancelAll() }
            return try await Self.register(cluster, client.client)
        }
    }

    private static func register(_ cluster: String, _ client: Client) async throws -> RPCError.Code? {
        var request = Isobar_V1_RegisterAgent()
        (request.cluster, request.region, request.agent) = (cluster, "us-east", "agent-0")
        var options = CallOptions.defaults
        options.timeout = .seconds(20)
        options.waitForReady = false
        do {
            _ = try await Isobar_V1_Registry.Client(wrapping: client).register(request, options: options)
            return nil
        } catch let error as RPCError {
            return error.code
        }
    }

    @Test("an agent registers its own cluster and no other: a stolen certificate of one moves nothing of another")
    func ownClusterOnly() async throws {
        let files = try Certificates()
        let hub = try credentials(try files.issue(.hub, "hub-0"))
        let agent = try files.issue(.agent, "a")
        try await self.withHub(hub) { address, registry in
            let code1 = try await self.register("a", at: address, as: try credentials(agent))
            #expect(code1 == nil)
            let code2 = try await self.register("b", at: address, as: try credentials(agent))
            #expect(code2 == .permissionDenied)
            #expect(hub.counts[.wrongName] == 1)

            #expect(registry.clusters.withLock { $0.map(\.text) } == ["a"])
        }
    }

    @Test("a gateway may not call what is for agents")
    func wrongRole() async throws {
        let files = try Certificates()
        let hub = try credentials(try files.issue(.hub, "hub-0"))
        let gateway = try credentials(try files.issue(.gateway, "us-east"))
        try await self.withHub(hub) { address, _ in
            let code3 = try await self.register("us-east", at: address, as: gateway)
            #expect(code3 == .permissionDenied)
            #expect(hub.counts[.wrongRole] == 1)
        }
    }

    @Test("a server that is no hub is not taken for one, whoever signed its certificate")
    func serverOfWrongRole() async throws {
        let files = try Certificates()
        let impostor = try credentials(try files.issue(.agent, "b"))
        let agent = try credentials(try files.issue(.agent, "a"))
        try await self.withHub(impostor) { address, _ in
            let code4 = try await self.register("a", at: address, as: agent)
            #expect(code4 != nil)
            #expect(agent.counts[.wrongRole] > 0)
        }
    }

    @Test("an expired certificate, one not yet valid, and one of another fleet or authority are refused by name")
    func refused() async throws {
        let files = try Certificates(now: Date(timeIntervalSinceNow: -8_640_000))
        let hub = try credentials(try files.issue(.hub, "hub-0"))
        let stale = try files.issue(.agent, "a", lifetime: 60, now: Date(timeIntervalSinceNow: -3_600))
        let early = try files.issue(.agent, "b", now: Date(timeIntervalSinceNow: 3_600))
        let strangers = try Certificates()
        var stranger = try strangers.issue(.agent, "c")
        // It trusts this fleet's hub, so that it is the hub that refuses.
        stranger.authority = files.authority.authorityFile
        let (expired, future, other) = (
            try credentials(stale), try credentials(early), try credentials(stranger)
        )
        try await self.withHub(hub) { address, _ in
            let code5 = try await self.register("a", at: address, as: expired)
            #expect(code5 != nil)
            try await eventually("expired is counted") { hub.counts[.expired] > 0 }
            let code6 = try await self.register("b", at: address, as: future)
            #expect(code6 != nil)
            try await eventually("not yet valid is counted") { hub.counts[.notYetValid] > 0 }
            let code7 = try await self.register("c", at: address, as: other)
            #expect(code7 != nil)
            try await eventually("the other authority is counted") { hub.counts[.otherAuthority] > 0 }
            #expect(hub.counts.handshakes == 0)
        }
    }

    @Test("nobody comes in without a certificate, or without TLS")
    func nothingShown() async throws {
        let files = try Certificates()
        let hub = try credentials(try files.issue(.hub, "hub-0"))
        try await self.withHub(hub) { address, _ in
            let code8 = try await self.register("a", at: address, as: nil)
            #expect(code8 != nil)
            try await eventually("plain text is counted") { hub.counts[.handshake] > 0 }
            let bare = Client(
                transport: try HTTP2ClientTransport.Posix(
                    target: .ipv4(address: "127.0.0.1", port: address.port),
                    transportSecurity: .tls { $0.serverCertificateVerification = .noVerification }
                )
            )
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await bare.runConnections() }
                let code = try await Self.register("a", bare)
                #expect(code != nil)
                group.cancelAll()
            }
            try await eventually("no certificate is counted") { hub.counts[.noCertificate] > 0 }
        }
    }

    @Test("a rotated certificate serves the next handshake, and an open stream goes on")
    func rotates() async throws {
        let files = try Certificates()
        let hubFiles = try files.issue(.hub, "hub-0", lifetime: 1_000)
        let hub = try credentials(hubFiles)
        let agentFiles = try files.issue(.agent, "a")
        let agent = try credentials(agentFiles)
        try await self.withHub(hub) { address, _ in
            let client = try WireClient(to: address, field: "hub", role: .hub, credentials: agent)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await client.run() }
                group.addTask { try await agent.run() }
                let code9 = try await Self.register("a", client.client)
                #expect(code9 == nil)
                #expect(client.peer?.name == "hub-0")
                let held = try #require(try files.authority.certificates().first { $0.identity.role == .hub })
                _ = try files.authority.rotate(held, lifetime: 86_400, now: Date())
                try await eventually("the new files are seen without being told") { hub.counts.reloads == 1 }
                #expect(hub.expiresIn > 80_000)
                let before = hub.counts.handshakes
                let code10 = try await Self.register("a", client.client)
                #expect(code10 == nil)
                #expect(hub.counts.handshakes == before, "the open connection was dropped")
                let code11 = try await self.register("a", at: address, as: try credentials(agentFiles))
                #expect(code11 == nil)
                #expect(hub.counts.handshakes == before + 1)
                group.cancelAll()
            }
        }
    }

    @Test("files that cannot be used leave the ones in use, and are counted")
    func badFiles() throws {
        let files = try Certificates()
        let hubFiles = try files.issue(.hub, "hub-0")
        let hub = try credentials(hubFiles)
        let other = try files.issue(.hub, "hub-1")
        try FileManager.default.removeItem(atPath: hubFiles.key)
        try FileManager.default.copyItem(atPath: other.key, toPath: hubFiles.key)
        hub.look()
        #expect(hub.counts.reloadFailures == 1)
        #expect(hub.identity.name == "hub-0")
        let fault = #expect(throws: LinkFilesFault.self) { _ = try credentials(hubFiles) }
        #expect(fault?.description == "\(hubFiles.key): is not the key of \(hubFiles.certificate)")
    }
}
