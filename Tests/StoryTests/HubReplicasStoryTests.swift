import AsyncHTTPClient
import Foundation
import LoopbackPorts
import ProcessKit
import TestKit
import Testing

/// Three hub replicas on one real etcd, with an engine, an agent and a gateway, all of them processes.
private struct ReplicatedFleet: Sendable {
    struct Hub: Sendable {
        let name: String
        let admin: Int
        let process: ChildProcess

        func status() async throws -> [String: Any]? {
            guard let answer = try? await Web.get("http://127.0.0.1:\(self.admin)/v1/status") else { return nil }
            return try JSONSerialization.jsonObject(with: Data(answer.body.utf8)) as? [String: Any]
        }

        /// The epoch in which it says that it leads.
        func leads() async throws -> Int? {
            guard let status = try await self.status(), status["is_leading"] as? Bool == true else { return nil }
            return (status["leader"] as? [String: Any])?["epoch"] as? Int
        }
    }

    let folder: TemporaryFolder
    let etcd: EtcdCluster
    let hubs: [Hub]
    let engine: ChildProcess
    let agent: ChildProcess
    let gateway: ChildProcess
    let gatewayPort: Int
    let gatewayAdmin: Int

    init() async throws {
        let folder = try TemporaryFolder()
        let etcd = try await EtcdCluster()
        let ports = try FreePorts.take(10)
        let addresses = (0..<3).map { "\"127.0.0.1:\(ports[$0])\"" }.joined(separator: ",")
        func process(_ program: String, _ name: String, _ options: [String], yaml: String? = nil) throws -> ChildProcess
        {
            if let yaml { try Data(yaml.utf8).write(to: URL(fileURLWithPath: folder.file("\(name).yaml"))) }
            let config = yaml == nil ? [] : ["--config", folder.file("\(name).yaml")]
            return ChildProcess(
                Binary.path,
                [program] + config + options + ["--log-format", "json", "--log-level", "debug"],
                log: folder.file("\(name).log")
            )
        }
        self.hubs = try (0..<3).map { place in
            Hub(
                name: "hub-\(place)",
                admin: ports[3 + place],
                process: try process(
                    "hub",
                    "hub-\(place)",
                    ["--store", "etcd", "--etcd-endpoints", etcd.endpoints.joined(separator: ",")],
                    yaml: """
                        {replica: hub-\(place), listen: "127.0.0.1:\(ports[place])", lease: 2, tick: 0.5,
                         admin: "127.0.0.1:\(ports[3 + place])"}
                        """
                )
            )
        }
        self.engine = try process(
            "engine",
            "engine",
            ["--port", "\(ports[6])", "--model", "llama", "--time-scale", "10"]
        )
        self.agent = try process(
            "agent",
            "agent",
            [],
            yaml: """
                {cluster: us-east-a, region: us-east, agent: us-east-a-0, listen: "127.0.0.1:\(ports[7])",
                 hub: [\(addresses)], interval: 0.2, pools: [{name: llama, endpoints: ["127.0.0.1:\(ports[6])"]}]}
                """
        )
        self.gateway = try process(
            "gateway",
            "gateway",
            [],
            yaml: """
                {gateway: us-east-gw, region: us-east, listen: "127.0.0.1:\(ports[8])",
                 admin: "127.0.0.1:\(ports[9])", hub: [\(addresses)],
                 agents: ["127.0.0.1:\(ports[7])"], planFile: "\(folder.file("gw.plan"))", pools: [{name: llama}]}
                """
        )
        (self.folder, self.etcd, self.gatewayPort, self.gatewayAdmin) = (folder, etcd, ports[8], ports[9])
    }

    /// The one hub that says that it leads.
    func leader(other than: String? = nil) async throws -> (hub: Hub, epoch: Int)? {
        var leaders: [(Hub, Int)] = []
        for hub in self.hubs where hub.process.isRunning && hub.name != than {
            if let epoch = try await hub.leads() { leaders.append((hub, epoch)) }
        }
        return leaders.count == 1 ? leaders[0] : nil
    }

    /// The versions of the plans that the gateway took, in their order.
    var adopted: [[Int]] {
        self.gateway.lines.compactMap { line in
            guard line.contains("plan adopted"), let found = line.firstMatch(of: /"plan":"(\d+)\.(\d+)"/) else {
                return nil
            }
            return [Int(found.1) ?? 0, Int(found.2) ?? 0]
        }
    }

    /// Waits until the gateway holds a plan of an epoch.
    func gatewayHolds(epoch: Int) async throws {
        try await eventually("the gateway holds a plan of epoch \(epoch)", within: .seconds(60)) {
            self.adopted.last?.first == epoch
        }
    }
}

@Suite(
    "Hub replicas",
    .serialized,
    .enabled(if: EtcdCluster.isExpected, Comment(rawValue: EtcdCluster.advice))
)
struct HubReplicasStoryTests {
    @Test("one leads, all serve; another leads when it is killed or told to end, and no gateway steps back")
    func succession() async throws {
        let fleet = try await ReplicatedFleet()
        try await fleet.etcd.run {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for process in [fleet.engine, fleet.agent, fleet.gateway] + fleet.hubs.map(\.process) {
                    group.addTask { try await process.run() }
                }
                defer { group.cancelAll() }

                let first = try await eventually("one hub leads", within: .seconds(60)) { try await fleet.leader() }
                try await fleet.gatewayHolds(epoch: first.epoch)
                try await eventually("every hub serves the leader's plan and knows all replicas") {
                    for hub in fleet.hubs {
                        guard let status = try await hub.status(),
                            (status["plan"] as? [String: Any])?["epoch"] as? Int == first.epoch,
                            (status["replicas"] as? [Any])?.count == 3
                        else { return false }
                    }
                    return true
                }

                first.hub.process.signal(SIGKILL)
                let second = try await eventually("another hub leads", within: .seconds(60)) {
                    try await fleet.leader(other: first.hub.name)
                }
                #expect(second.epoch > first.epoch)
                try await fleet.gatewayHolds(epoch: second.epoch)

                second.hub.process.signal(SIGTERM)
                try await eventually("the second leader has ended") { !second.hub.process.isRunning }
                let third = try await eventually("the last hub leads", within: .seconds(60)) {
                    try await fleet.leader()
                }
                #expect(third.epoch > second.epoch)
                try await fleet.gatewayHolds(epoch: third.epoch)

                let answer = try await Web.post(
                    "http://127.0.0.1:\(fleet.gatewayPort)/v1/chat/completions",
                    #"{"model":"llama","max_tokens":4,"messages":[{"role":"user","content":"hello"}]}"#
                )
                #expect(answer.status == 200)
                let adopted = fleet.adopted
                #expect(zip(adopted, adopted.dropFirst()).allSatisfy { $0.lexicographicallyPrecedes($1) })
                #expect(Set(adopted.map { $0[1] }).count == adopted.count, "a generation was given twice")
            }
        }
    }

    @Test("a hub without its etcd says what it waits for, and ends when it is told to")
    func alone() async throws {
        let folder = try TemporaryFolder()
        let ports = try FreePorts.take(2)
        try Data(#"{replica: a, listen: "127.0.0.1:\#(ports[0])", store: etcd, etcd: ["127.0.0.1:\#(ports[1])"]}"#.utf8)
            .write(to: URL(fileURLWithPath: folder.file("hub.yaml")))
        let hub = ChildProcess(
            Binary.path,
            ["hub", "--config", folder.file("hub.yaml"), "--log-format", "json"],
            log: folder.file("hub.log")
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await hub.run() }
            try await eventually("it names the member that does not answer") {
                hub.lines.contains { $0.contains("127.0.0.1:\(ports[1])") && $0.contains("no member answered") }
            }
            hub.signal(SIGTERM)
            try await eventually("it has ended") { !hub.isRunning }
            group.cancelAll()
        }
    }
}
