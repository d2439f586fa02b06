import FleetModel
import Foundation
import GRPCCore
import Logging
import LoopbackPorts
import ProcessKit
import SwiftProtobuf
import TestKit
import Testing
import WireProtocol
import WireTransport

/// One hub on SQLite and one agent, of cluster b, over mutual TLS; the files of everybody's certificates are at hand.
private struct SecuredFleet: Sendable {
    let folder: TemporaryFolder
    let pki: String
    let hub: Int
    let admin: Int
    let processes: [ChildProcess]

    init() async throws {
        let folder = try TemporaryFolder()
        let pki = folder.file("pki")
        for arguments in [
            ["init", "--fleet", "acme"], ["issue", "hub", "hub-0", "--lifetime", "30d"],
            ["issue", "agent", "b", "--lifetime", "30d"], ["issue", "agent", "a"], ["issue", "operator", "ann"],
        ] {
            let ended = try await Binary.run(["pki"] + arguments + ["--pki", pki])
            #expect(ended.code == 0, "\(ended)")
        }
        let ports = try FreePorts.take(4)
        func process(_ name: String, _ program: [String], _ yaml: String? = nil) throws -> ChildProcess {
            if let yaml { try Data(yaml.utf8).write(to: URL(fileURLWithPath: folder.file("\(name).yaml"))) }
            let config = yaml == nil ? [] : ["--config", folder.file("\(name).yaml")]
            return ChildProcess(
                Binary.path,
                program + config + ["--log-format", "json", "--log-level", "debug"],
                log: folder.file("\(name).log")
            )
        }
        func tls(_ name: String) -> String {
            "tls: {certificate: \(pki)/\(name).crt, key: \(pki)/\(name).key, authority: \(pki)/ca.crt}"
        }
        self.processes = [
            try process(
                "hub",
                ["hub"],
                """
                {replica: hub-0, listen: "127.0.0.1:\(ports[0])", admin: "127.0.0.1:\(ports[1])",
                 region: us-east, state: \(folder.file("hub.sqlite")), \(tls("hub-hub-0"))}
                """
            ),
            try process("engine", ["engine", "--port", "\(ports[2])", "--model", "llama"]),
            try process(
                "agent",
                ["agent"],
                """
                {cluster: b, region: us-east, agent: b-0, listen: "127.0.0.1:\(ports[3])",
                 hub: ["127.0.0.1:\(ports[0])"], interval: 0.5, \(tls("agent-b")),
                 pools: [{name: llama, endpoints: ["127.0.0.1:\(ports[2])"]}]}
                """
            ),
        ]
        (self.folder, self.pki, self.hub, self.admin) = (folder, pki, ports[0], ports[1])
    }

    /// Runs the programs until the agent's digest is with the hub, and then the story.
    func run(_ story: () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for process in self.processes { group.addTask { try await process.run() } }
            defer { group.cancelAll() }
            try await eventually("the hub hears the agent", within: .seconds(90)) {
                try await self.digest()?["path"] as? String == "direct"
            }
            try await story()
        }
    }

    /// What the hub knows of the agent, as an operator asks for it.
    func digest() async throws -> [String: Any]? {
        let ended = try await Binary.run([
            "gossip", "members", "--hub", "127.0.0.1:\(self.hub)", "--certificate", "\(self.pki)/operator-ann.crt",
            "-o", "json",
        ])
        guard ended.code == 0 else { return nil }
        let status = try JSONSerialization.jsonObject(with: Data(ended.output.utf8)) as? [String: Any]
        return (status?["agents"] as? [[String: Any]])?.first { $0["cluster"] as? String == "b" }
    }

    /// A line of the hub's `/metrics`; 0 when there is none.
    func metric(_ line: String) async throws -> Double {
        let page = try await Web.get("http://127.0.0.1:\(self.admin)/metrics").body
        return page.split(separator: "\n").first { $0.hasPrefix("\(line) ") }
            .flatMap { Double($0.dropFirst(line.count + 1)) } ?? 0
    }
}

/// Somebody with the files of a certificate, who says to the hub what no program of ours would.
private struct Intruder: Sendable {
    let files: LinkFiles
    let hub: Int

    init(_ fleet: SecuredFleet, _ certificate: String) {
        self.init(fleet, files: "\(fleet.pki)/\(certificate)")
    }

    init(_ fleet: SecuredFleet, files: String) {
        self.files = LinkFiles(certificate: "\(files).crt", key: "\(files).key", authority: "\(fleet.pki)/ca.crt")
        self.hub = fleet.hub
    }

    private func connected<Value: Sendable>(
        _ body: @Sendable (GRPCClient<WireClient.Transport>) async throws -> Value
    ) async throws -> Value {
        let credentials = try LinkCredentials(files: self.files, logger: Logger(label: "intruder"))
        let address = try EndpointAddress("127.0.0.1:\(self.hub)")
        let client = try WireClient(to: address, field: "hub", role: .hub, credentials: credentials)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await credentials.run() }
            group.addTask { try await client.run() }
            defer { group.cancelAll() }
            return try await body(client.client)
        }
    }

    private static var impatient: CallOptions {
        var options = CallOptions.defaults
        options.waitForReady = false
        return options
    }

    /// Registers an agent, or is refused.
    func register(_ cluster: String, _ agent: String = "x-0") async throws -> Result<AgentRegistration, RPCError> {
        try await self.connected { client in
            var request = Isobar_V1_RegisterAgent()
            (request.cluster, request.region, request.agent) = (cluster, "us-east", agent)
            do {
                let registry = Isobar_V1_Registry.Client(wrapping: client)
                let given = try await registry.register(request, options: Self.impatient)
                return .success(
                    AgentRegistration(agent: given.agent, incarnation: given.incarnation, key: Array(given.key))
                )
            } catch let error as RPCError {
                return .failure(error)
            }
        }
    }

    /// Opens a stream of the gossip with a first message, and says another so many times.
    ///
    /// - Returns: Why the hub ended the stream, if it did.
    func say(
        _ hello: Isobar_V1_GossipMessage,
        _ message: Isobar_V1_GossipMessage = Isobar_V1_GossipMessage(),
        times: Int = 0
    ) async throws -> RPCError.Code? {
        try await self.connected { client in
            do {
                try await Isobar_V1_Gossip.Client(wrapping: client).talk(options: Self.impatient) { writer in
                    try await writer.write(hello)
                    for _ in 0..<times { try await writer.write(message) }
                } onResponse: { response in
                    for try await _ in response.messages {}
                }
                return nil
            } catch let error as RPCError {
                return error.code
            }
        }
    }

    static func hello(_ cluster: String, _ registration: AgentRegistration) throws -> Isobar_V1_GossipMessage {
        let name = try ClusterName(cluster)
        var message = Isobar_V1_GossipMessage()
        message.hello.agent = registration.agent
        message.hello.name = "x-0"
        message.hello.cluster = cluster
        message.hello.proof = Data(try FrameSeal(cluster: name, registration: registration).proof)
        return message
    }

    /// Of somebody who says that it is a hub replica.
    static var helloOfHub: Isobar_V1_GossipMessage {
        var message = Isobar_V1_GossipMessage()
        message.hello.hub = 1
        message.hello.name = "hub-1"
        return message
    }

    /// A frame of cluster b with the greatest stamp there is, sealed with a key that is not its own.
    static func forged(agent: UInt32) throws -> Isobar_V1_GossipMessage {
        let stolen = AgentRegistration(agent: agent, incarnation: .max, key: Array(repeating: 7, count: 32))
        var seal = try FrameSeal(cluster: try ClusterName("b"), registration: stolen)
        var message = Isobar_V1_GossipMessage()
        message.forward.carried.sealed = Data(try seal.seal(Array(repeating: 0, count: 300), sequence: .max))
        return message
    }
}

@Suite("Gossip among strangers", .serialized)
struct GossipSecurityStoryTests {
    @Test("a stolen certificate, or a stranger's, moves nothing of another cluster, and the hub's metrics show it")
    func intruders() async throws {
        let fleet = try await SecuredFleet()
        try await fleet.run {
            let before = try #require(try await fleet.digest())
            let number = UInt32(try #require(before["number"] as? Int))

            // Another authority's certificate, for a fleet and a cluster of the same names.
            let other = fleet.folder.file("other")
            for arguments in [["init", "--fleet", "acme"], ["issue", "agent", "b"]] {
                let ended = try await Binary.run(["pki"] + arguments + ["--pki", other])
                #expect(ended.code == 0, "\(ended)")
            }
            let stranger = Intruder(fleet, files: "\(other)/agent-b")
            await #expect(throws: RPCError.self) { try await stranger.register("b").get() }
            #expect(try await fleet.metric("isobar_link_refusals_total{reason=\"other_authority\"}") > 0)

            // The certificate of cluster a, which somebody stole.
            let thief = Intruder(fleet, "agent-a")
            let asB = await #expect(throws: RPCError.self) { try await thief.register("b").get() }
            #expect(asB?.code == .permissionDenied)
            #expect(try await fleet.metric("isobar_link_refusals_total{reason=\"wrong_name\"}") > 0)

            let own = try await thief.register("a").get()
            let underItsNumber = AgentRegistration(agent: number, incarnation: 1, key: own.key)
            let refused = [
                (try Intruder.hello("b", underItsNumber), RPCError.Code.permissionDenied),
                (try Intruder.hello("a", underItsNumber), .unauthenticated),
                (Intruder.helloOfHub, .permissionDenied),
            ]
            for (hello, code) in refused { #expect(try await thief.say(hello) == code) }
            #expect(try await fleet.metric("isobar_gossip_dropped_total{reason=\"unproven\"}") == 3)

            // Under its own name it may speak, but a frame of b that it brings was not sealed by b.
            let hello = try Intruder.hello("a", own)
            #expect(try await thief.say(hello, try Intruder.forged(agent: number), times: 3) == nil)
            #expect(try await fleet.metric("isobar_hub_frames_refused_total{reason=\"forged\"}") > 0)
            var push = Isobar_V1_GossipMessage()
            push.push = try Intruder.forged(agent: number).forward
            #expect(try await thief.say(hello, push, times: 1) == nil)
            try await eventually("what only b may push is counted") {
                try await fleet.metric("isobar_hub_frames_refused_total{reason=\"misdirected\"}") > 0
            }

            try await eventually("b goes on") {
                let now = try await fleet.digest()
                guard let now, let sequence = now["sequence"] as? Int, let first = before["sequence"] as? Int else {
                    return false
                }
                #expect(now["incarnation"] as? Int == before["incarnation"] as? Int)
                #expect((now["fault"] as? String)?.hasPrefix("forged, through agent") == true, "\(now)")
                return sequence > first && now["path"] as? String == "direct" && now["liveness"] as? String == "fresh"
            }
            let clusters = try await Web.get("http://127.0.0.1:\(fleet.admin)/metrics").body
                .split(separator: "\n").filter { $0.hasPrefix("isobar_hub_digest_age_seconds{") }
            #expect(clusters.count == 1 && clusters[0].contains("cluster=\"b\""), "\(clusters)")
        }
    }

    @Test("a flood of forged messages is counted, and honest digests go on arriving")
    func flood() async throws {
        let fleet = try await SecuredFleet()
        try await fleet.run {
            let thief = Intruder(fleet, "agent-a")
            let number = UInt32(try #require(try await fleet.digest()?["number"] as? Int))
            let forged = try Intruder.forged(agent: number)
            let each = 4_000
            let received = "isobar_gossip_messages_received_total"
            let before = try await fleet.metric(received)
            let hellos = try await [thief.register("a", "x-0").get(), thief.register("a", "x-1").get()]
                .map { try Intruder.hello("a", $0) }
            async let one = thief.say(hellos[0], forged, times: each)
            async let other = thief.say(hellos[1], forged, times: each)
            var arrivals: [(sequence: Int, after: Seconds)] = []
            try await eventually("the whole flood has come", within: .seconds(180)) {
                let digest = try await fleet.digest()
                if let sequence = digest?["sequence"] as? Int, let age = digest?["age"] as? Double,
                    let held = digest?["held"] as? Double, sequence != arrivals.last?.sequence
                {
                    arrivals.append((sequence, age - held))
                }
                return try await fleet.metric(received) >= before + Double(2 * each)
            }
            let ended = try await [one, other]
            #expect(ended == [nil, nil], "the hub ended a stream")
            #expect(arrivals.count >= 3, "\(arrivals)")
            let late = arrivals.map(\.after).max() ?? .infinity
            #expect(late < 1, "a digest came \(late) s after it was made")
            let (dropped, taken) = (
                try await fleet.metric("isobar_gossip_dropped_total{reason=\"flood\"}"),
                try await fleet.metric("isobar_hub_frames_refused_total{reason=\"forged\"}")
            )
            // Each pause lets 64 more come in; so many pauses that the flood can only have waited at its source.
            #expect(dropped > Double(each) / 200, "\(dropped) pauses")
            #expect(taken > 0 && dropped + taken <= Double(2 * each), "\(taken) came to the seal")
        }
    }

    @Test("certificates are rotated on disk, and no stream of the gossip ends for it")
    func rotation() async throws {
        let fleet = try await SecuredFleet()
        try await fleet.run {
            let day = 86_400.0
            #expect(try await fleet.metric("isobar_link_certificate_expiry_seconds") < 31 * day)
            let before = try #require(try await fleet.digest()?["sequence"] as? Int)
            let rotate = try await Binary.run(["pki", "rotate", "--all", "--lifetime", "90d", "--pki", fleet.pki])
            #expect(rotate.code == 0, "\(rotate)")
            try await eventually("the hub takes its new certificate", within: .seconds(60)) {
                try await fleet.metric("isobar_link_certificate_expiry_seconds") > 80 * day
            }
            try await eventually("the agent takes its own", within: .seconds(60)) {
                let log = try String(contentsOfFile: fleet.folder.file("agent.log"), encoding: .utf8)
                return log.contains("certificate reloaded")
            }
            // The operator's command shakes hands anew, with the new certificates at both ends.
            try await eventually("digests go on") {
                let digest = try await fleet.digest()
                return (digest?["sequence"] as? Int).map { $0 > before + 4 } ?? false
            }
            #expect(try await fleet.metric("isobar_link_certificate_reloads_total") >= 1)
            #expect(try await fleet.metric("isobar_gossip_streams_lost_total") == 0)
            #expect(try await fleet.digest()?["incarnation"] as? Int == 1)
        }
    }
}
