import Foundation
import LoopbackPorts
import ProcessKit
import TestKit
import Testing

/// Three hub replicas on one real etcd and two agents, one of which reaches them through links that can be cut.
private struct GossipFleet: Sendable {
    let folder: TemporaryFolder
    let etcd: EtcdCluster
    let links: [CutLink]
    let hubs: [Int]
    let admins: [Int]
    let agentAdmin: Int
    let processes: [ChildProcess]

    init() async throws {
        let folder = try TemporaryFolder()
        let etcd = try await EtcdCluster()
        let ports = try FreePorts.take(10)
        let (hubs, admins) = (Array(ports[0..<3]), Array(ports[3..<6]))
        var links: [CutLink] = []
        for port in hubs { links.append(try await CutLink.open(to: port)) }
        func process(_ name: String, _ program: [String], _ yaml: String? = nil) throws -> ChildProcess {
            if let yaml { try Data(yaml.utf8).write(to: URL(fileURLWithPath: folder.file("\(name).yaml"))) }
            let config = yaml == nil ? [] : ["--config", folder.file("\(name).yaml")]
            return ChildProcess(
                Binary.path,
                program + config + ["--log-format", "json", "--log-level", "debug"],
                log: folder.file("\(name).log")
            )
        }
        var processes = try (0..<3).map { place in
            try process(
                "hub-\(place)",
                ["hub"],
                """
                {replica: hub-\(place), listen: "127.0.0.1:\(hubs[place])", admin: "127.0.0.1:\(admins[place])",
                 region: us-east, store: etcd, etcd: ["\(etcd.endpoints.joined(separator: "\",\""))"]}
                """
            )
        }
        processes.append(try process("engine", ["engine", "--port", "\(ports[6])", "--model", "llama"]))
        func addresses(_ ports: [Int]) -> String { ports.map { "\"127.0.0.1:\($0)\"" }.joined(separator: ",") }
        for (place, name) in ["a", "b"].enumerated() {
            processes.append(
                try process(
                    "agent-\(name)",
                    ["agent"],
                    """
                    {cluster: \(name), region: us-east, agent: \(name)-0, listen: "127.0.0.1:\(ports[7 + place])",
                     \(place == 0 ? "admin: \"127.0.0.1:\(ports[9])\"," : "")
                     hub: [\(addresses(place == 0 ? links.map(\.port) : hubs))], interval: 0.5,
                     pools: [{name: llama, endpoints: ["127.0.0.1:\(ports[6])"]}]}
                    """
                )
            )
        }
        (self.folder, self.etcd, self.links, self.hubs, self.admins) = (folder, etcd, links, hubs, admins)
        (self.agentAdmin, self.processes) = (ports[9], processes)
    }

    /// What a replica knows, as an operator asks for it.
    func gossip(_ hub: Int, _ command: String...) async throws -> [String: Any] {
        let ended = try await Binary.run(["gossip"] + command + ["--hub", "127.0.0.1:\(hub)", "-o", "json"])
        guard ended.code == 0 else { return [:] }
        return try JSONSerialization.jsonObject(with: Data(ended.output.utf8)) as? [String: Any] ?? [:]
    }

    /// The cluster's agent as a replica sees it.
    func agent(of cluster: String, at hub: Int) async throws -> [String: Any]? {
        let agents = try await self.gossip(hub, "members")["agents"] as? [[String: Any]]
        return agents?.first { $0["cluster"] as? String == cluster }
    }

    /// How long after it was made each of the cluster's newest frames was with a replica, by replica and sequence; looks
    /// until each replica has taken so many that came otherwise than directly.
    func arrivals(of cluster: String, count: Int) async throws -> [[Int: Double]] {
        var arrivals = self.hubs.map { _ in [Int: Double]() }
        try await eventually("every replica takes \(count) frames by way of others", within: .seconds(120)) {
            for (place, hub) in self.hubs.enumerated() {
                guard let agent = try await self.agent(of: cluster, at: hub), agent["path"] as? String != "direct",
                    let sequence = agent["sequence"] as? Int, let age = agent["age"] as? Double,
                    let held = agent["held"] as? Double
                else { continue }
                // Both are the replica's, at one moment: how long this command takes is not in their difference.
                arrivals[place][sequence] = age - held
            }
            return arrivals.allSatisfy { $0.count >= count }
        }
        return arrivals
    }

    /// The oldest that the cluster's digest is with any replica, in seconds.
    func oldestDigest(of cluster: String) async throws -> Double? {
        var oldest = 0.0
        for admin in self.admins {
            let page = try await Web.get("http://127.0.0.1:\(admin)/metrics").body
            let name = "isobar_hub_digest_age_seconds{cluster=\"\(cluster)\"} "
            guard let line = page.split(separator: "\n").first(where: { $0.hasPrefix(name) }),
                let age = Double(line.dropFirst(name.count))
            else { return nil }
            oldest = max(oldest, age)
        }
        return oldest
    }
}

@Suite(
    "Gossip",
    .serialized,
    .enabled(if: EtcdCluster.isExpected, Comment(rawValue: EtcdCluster.advice))
)
struct GossipStoryTests {
    @Test("an agent whose links to every hub replica are cut is heard all the same, by way of another agent")
    func allCut() async throws {
        let fleet = try await GossipFleet()
        try await fleet.etcd.run {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for process in fleet.processes { group.addTask { try await process.run() } }
                defer { group.cancelAll() }

                try await eventually("every replica hears both agents directly", within: .seconds(90)) {
                    for hub in fleet.hubs {
                        for cluster in ["a", "b"] {
                            guard try await fleet.agent(of: cluster, at: hub)?["path"] as? String == "direct" else {
                                return false
                            }
                        }
                    }
                    return true
                }
                try await eventually("the agent knows a relay", within: .seconds(90)) {
                    let status = try await Web.get("http://127.0.0.1:\(fleet.agentAdmin)/v1/status").body
                    return status.contains("\"knows_relays\":true") || status.contains("\"knows_relays\" : true")
                }

                for link in fleet.links { link.set(.silent) }
                try await eventually("every replica hears it through the other agent") {
                    for hub in fleet.hubs {
                        let path = try await fleet.agent(of: "a", at: hub)?["path"] as? String
                        guard let path, path != "direct" else { return false }
                    }
                    return true
                }
                let arrivals = try await fleet.arrivals(of: "a", count: 10)
                for replica in arrivals {
                    let late = replica.filter { $0.value >= 1 }
                    #expect(late.isEmpty, "later than a second after they were made, by sequence: \(late)")
                }
                var oldest = 0.0
                for _ in 0..<20 { oldest = max(oldest, try await fleet.oldestDigest(of: "a") ?? .infinity) }
                #expect(oldest < 2, "its digest is \(oldest) s old somewhere")
                // Which replica hears a frame from the relay and which from another replica changes with every frame.
                let explained = try await eventually("one of them says that it heard the relay") {
                    let ended = try await Binary.run([
                        "gossip", "explain", "a", "--hub", "127.0.0.1:\(fleet.hubs[0])",
                    ])
                    return ended.code == 0 && ended.output.contains("via relay b-0") ? ended.output : nil
                }
                #expect(explained.split(separator: "\n").count == 4, "\(explained)")

                for link in fleet.links { link.set(.open) }
                try await eventually("every replica hears it directly again", within: .seconds(60)) {
                    for hub in fleet.hubs {
                        guard try await fleet.agent(of: "a", at: hub)?["path"] as? String == "direct" else {
                            return false
                        }
                    }
                    return true
                }
            }
        }
        for link in fleet.links { await link.close() }
    }
}
