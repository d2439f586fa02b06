import Foundation
import LoopbackPorts
import ProcessKit
import TestKit
import Testing

/// Two regions over real processes, and an operator at a terminal.
private struct TwoRegions: Sendable {
    let folder: TemporaryFolder
    let hub: Int
    let ports: [Int]
    static let regions = ["us-east", "europe-west"]

    init() async throws {
        self.folder = try TemporaryFolder()
        self.ports = try FreePorts.take(9)
        self.hub = self.ports[8]
        try self.write("hub.yaml", "listen: 127.0.0.1:\(self.hub)\nstate: \(self.folder.file("hub.sqlite"))\n")
        try self.write("hub-new.yaml", "listen: 127.0.0.1:\(self.hub)\nstate: \(self.folder.file("new.sqlite"))\n")
        for (place, region) in Self.regions.enumerated() {
            let (engine, agent, gateway) = (self.ports[place], self.ports[2 + place], self.ports[4 + place])
            try self.write(
                "agent-\(region).yaml",
                """
                {cluster: \(region)-a, region: \(region), agent: \(region)-a-0, listen: "127.0.0.1:\(agent)",
                 hub: ["127.0.0.1:\(self.hub)"], interval: 0.2,
                 pools: [{name: llama, endpoints: ["127.0.0.1:\(engine)"]}]}
                """
            )
            try self.write(
                "gateway-\(region).yaml",
                """
                {gateway: \(region)-gw, region: \(region), listen: "127.0.0.1:\(gateway)",
                 hub: ["127.0.0.1:\(self.hub)"], agents: ["127.0.0.1:\(agent)"],
                 planFile: "\(self.folder.file("\(region).plan"))", pools: [{name: llama}],
                 peers: [{region: \(Self.regions[1 - place]), address: "127.0.0.1:\(self.ports[5 - place])"}]}
                """
            )
        }
    }

    func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: self.folder.file(name)))
    }

    /// Runs everything but the hub until the task is cancelled.
    func runFleet() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (place, region) in Self.regions.enumerated() {
                let engine = ["engine", "--port", "\(self.ports[place])", "--model", "llama", "--time-scale", "10"]
                for arguments in [
                    engine, ["agent", "--config", self.folder.file("agent-\(region).yaml")],
                    ["gateway", "--config", self.folder.file("gateway-\(region).yaml")],
                ] {
                    group.addTask { try await Binary.serve(arguments, log: self.folder.file("\(region).log")) }
                }
            }
            try await group.waitForAll()
        }
    }

    func runHub(_ file: String) async throws {
        try await Binary.serve(["hub", "--config", self.folder.file(file)], log: self.folder.file("\(file).log"))
    }

    /// A command of an operator.
    func isobar(_ arguments: String...) async throws -> Binary.Ended {
        try await Binary.run(arguments + ["--hub", "127.0.0.1:\(self.hub)"])
    }

    /// The JSON that a command prints; empty when it fails.
    func json(_ arguments: String...) async throws -> [String: Any] {
        let ended = try await Binary.run(arguments + ["--hub", "127.0.0.1:\(self.hub)", "-o", "json"])
        guard ended.code == 0 else { return [:] }
        return try JSONSerialization.jsonObject(with: Data(ended.output.utf8)) as? [String: Any] ?? [:]
    }

    /// Sends a request of an objective to the first region.
    func chat() async {
        _ = try? await Web.post(
            "http://127.0.0.1:\(self.ports[4])/v1/chat/completions",
            #"{"model":"llama","max_tokens":2,"messages":[{"role":"user","content":"hello"}]}"#,
            headers: [("x-llm-d-inference-objective", "chat")]
        )
    }

    /// The generation of the plan that all gateways are in sync with.
    func planInSync() async throws -> Int? {
        let status = try await self.json("status")
        let gateways = status["gateways"] as? [[String: Any]] ?? []
        let clusters = status["clusters"] as? [[String: Any]] ?? []
        guard gateways.count == 2, clusters.count == 2, gateways.allSatisfy({ $0["in_sync"] as? Bool == true }),
            gateways.allSatisfy({ $0["acknowledged"] != nil })
        else { return nil }
        return (status["plan"] as? [String: Any])?["generation"] as? Int
    }

    /// What the operator sees, for a failure.
    func story() async -> String {
        let status = (try? await self.isobar("status"))?.output ?? ""
        let logs = ["hub.yaml", "hub-new.yaml"] + Self.regions
        return logs.reduce(status) { story, name in
            let log = (try? String(contentsOfFile: self.folder.file("\(name).log"), encoding: .utf8)) ?? ""
            return story + "\n--- \(name)\n" + log.suffix(1_500)
        }
    }
}

@Suite("An operator", .serialized)
struct OperatorStoryTests {
    private static let pool = """
        apiVersion: inference.networking.k8s.io/v1
        kind: InferencePool
        metadata:
          name: llama
          namespace: default
          uid: 0f3e8a6c
          creationTimestamp: "2026-11-01T10:00:00Z"
        spec:
          selector:
            matchLabels:
              app: vllm-llama
          targetPorts:
          - number: 8000
          endpointPickerRef:
            name: llama-epp
            port:
              number: 9002
        status:
          parents: []
        ---
        apiVersion: llm-d.ai/v1alpha2
        kind: InferenceObjective
        metadata: {name: chat, namespace: default}
        spec: {priority: 10, poolRef: {name: llama}}
        """

    private static let drain = """
        apiVersion: isobar.dev/v1alpha1
        kind: Drain
        metadata: {name: night}
        spec: {cluster: us-east-a, reason: new kernels}
        """

    @Test(
        "applies, drains, asks why, is told of a conflict, backs up and restores; the fleet goes on",
        .timeLimit(.minutes(5))
    )
    func night() async throws {
        let fleet = try await TwoRegions()
        try fleet.write("pool.yaml", Self.pool)
        try fleet.write("drain.yaml", Self.drain)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await fleet.runFleet() }
            let kept = try await self.firstHub(fleet)
            try await self.secondHub(fleet, kept: kept)
            group.cancelAll()
        }
    }

    /// - Returns: A generation that the first hub kept.
    private func firstHub(_ fleet: TwoRegions) async throws -> String {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await fleet.runHub("hub.yaml") }
            do {
                _ = try await eventually("both gateways are in sync", within: .seconds(120)) {
                    try await fleet.planInSync()
                }
            } catch {
                Issue.record("\(await fleet.story())")
                throw error
            }
            try await self.objective(fleet)
            let drained = try await self.drain(fleet)
            try await self.conflict(fleet)
            let backup = try await fleet.isobar("backup", fleet.folder.file("night.isobar"))
            #expect(backup.code == 0 && backup.output.contains("epoch"), "\(backup)")
            group.cancelAll()
            return drained
        }
    }

    private func objective(_ fleet: TwoRegions) async throws {
        // A fleet that has just started may have an agent that has read nothing yet.
        try await eventually("there is nothing to see to", within: .seconds(120)) {
            try await fleet.isobar("check").code == 0
        }
        let diff = try await fleet.isobar("diff", "-f", fleet.folder.file("pool.yaml"))
        #expect(diff.code == 2 && diff.output.contains("+ spec.targetPorts[0].number: 8000"), "\(diff)")
        let apply = try await fleet.isobar("apply", "-f", fleet.folder.file("pool.yaml"))
        #expect(apply.code == 0, "\(apply)")
        #expect(apply.output.contains("InferencePool default/llama      created"), "\(apply.output)")
        let again = try await fleet.isobar("diff", "-f", fleet.folder.file("pool.yaml"))
        #expect(again.code == 0 && again.output.isEmpty, "\(again)")

        // The objective's priority is its band, at the gateways: its requests are premium demand.
        try await eventually("requests of the objective are premium", within: .seconds(120)) {
            await fleet.chat()
            let shown = try await fleet.isobar("plan", "show")
            return shown.output.contains(/us-east +premium/)
        }
    }

    /// - Returns: The generation in which the drain came into force.
    private func drain(_ fleet: TwoRegions) async throws -> String {
        let dry = try await fleet.isobar("apply", "-f", fleet.folder.file("drain.yaml"), "--dry-run")
        #expect(dry.output.contains("Drain night  would be created"), "\(dry)")
        #expect(dry.output.contains(/us-east-a +[0-9.]+ % +0\.0 % +0\.0 %/), "\(dry.output)")
        #expect(try await fleet.isobar("get", "drains").output.contains("There are no drains."))

        let apply = try await fleet.isobar("apply", "-f", fleet.folder.file("drain.yaml"))
        #expect(apply.code == 0, "\(apply)")
        let why = try await eventually("the plan follows the drain", within: .seconds(120)) { () -> Binary.Ended? in
            let why = try await fleet.isobar("plan", "why", "us-east/us-east-a", "--band", "standard")
            return why.output.contains("is draining") ? why : nil
        }
        #expect(why.output.contains("us-east sends 0.0 % of its requests"), "\(why.output)")
        #expect(why.output.contains("Drain night takes us-east-a out: new kernels"), "\(why.output)")
        let history = try await fleet.isobar("plan", "history")
        let line = history.output.split(separator: "\n").first { $0.contains("Drain night created") }
        let generation = String(try #require(line?.split(separator: " ").first))
        let replay = try await fleet.isobar("plan", "replay", generation)
        #expect(replay.code == 0 && replay.output.contains("to the last bit"), "\(replay)")
        #expect(replay.output.contains("has the hash that was sent"), "\(replay)")

        let delete = try await fleet.isobar("delete", "drain", "night")
        #expect(delete.code == 0 && delete.output.contains("deleted"), "\(delete)")
        try await eventually("the cluster is back", within: .seconds(120)) {
            let why = try await fleet.isobar("plan", "why", "us-east/us-east-a", "--band", "standard")
            return !why.output.contains("is draining")
        }
        return generation
    }

    private func conflict(_ fleet: TwoRegions) async throws {
        let read = try await fleet.isobar("get", "objective", "chat", "-o", "yaml")
        try fleet.write("mine.yaml", read.output.replacing("priority: 10", with: "priority: -1"))
        try fleet.write("theirs.yaml", read.output.replacing("priority: 10", with: "priority: 5"))
        let theirs = try await fleet.isobar("apply", "-f", fleet.folder.file("theirs.yaml"))
        #expect(theirs.code == 0 && theirs.output.contains("changed"), "\(theirs)")
        let mine = try await fleet.isobar("apply", "-f", fleet.folder.file("mine.yaml"))
        #expect(mine.code == 75, "\(mine)")
        #expect(
            mine.errors.contains("mine.yaml:") && mine.errors.contains("isobar get inferenceobjectives default/chat")
        )
        let audit = try await fleet.isobar("audit", "objective", "chat")
        #expect(audit.output.contains("spec.priority: 10 → 5"), "\(audit.output)")
    }

    private func secondHub(_ fleet: TwoRegions, kept generation: String) async throws {
        let file = fleet.folder.file("hub-new.yaml")
        let backup = fleet.folder.file("night.isobar")
        let restore = try await Binary.run(["restore", "--config", file, "--from", backup])
        #expect(restore.code == 0, "\(restore)")
        let twice = try await Binary.run(["restore", "--config", file, "--from", backup])
        #expect(twice.code == 1 && twice.errors.contains("--replace"), "\(twice)")
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await fleet.runHub("hub-new.yaml") }
            // The gateways hold a plan of the old hub: they follow the new one only if its epoch is greater.
            _ = try await eventually("both gateways follow the restored hub", within: .seconds(120)) {
                try await fleet.planInSync()
            }
            let objective = try await fleet.isobar("get", "objectives")
            #expect(objective.output.contains(/default\/chat +default\/llama +5 +premium/), "\(objective.output)")
            let replay = try await fleet.isobar("plan", "replay", generation)
            #expect(replay.code == 0, "\(replay)")
            let status = try await fleet.isobar("status")
            #expect(status.output.contains("gateways  2 of 2 in sync"), "\(status.output)")
            group.cancelAll()
        }
    }

    @Test(
        "on links with identities the audit has the name in the certificate, and a gateway's certificate changes nothing"
    )
    func certificates() async throws {
        let folder = try TemporaryFolder()
        let port = try #require(try FreePorts.take(1).first)
        let pki = folder.file("pki")
        for arguments in [
            ["init", "--fleet", "night"], ["issue", "hub", "hub-0"], ["issue", "operator", "ann"],
            ["issue", "gateway", "us-east"],
        ] {
            let ended = try await Binary.run(["pki"] + arguments + ["--pki", pki])
            #expect(ended.code == 0, "\(ended)")
        }
        let tls = "{certificate: \(pki)/hub-hub-0.crt, key: \(pki)/hub-hub-0.key, authority: \(pki)/ca.crt}"
        let hub = "listen: 127.0.0.1:\(port)\nstate: \(folder.file("hub.sqlite"))\ntls: \(tls)\n"
        try Data(hub.utf8).write(to: URL(fileURLWithPath: folder.file("hub.yaml")))
        try Data(Self.drain.utf8).write(to: URL(fileURLWithPath: folder.file("drain.yaml")))
        func isobar(as certificate: String, _ arguments: String...) async throws -> Binary.Ended {
            try await Binary.run(
                arguments + ["--hub", "127.0.0.1:\(port)", "--certificate", "\(pki)/\(certificate).crt"]
            )
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await Binary.serve(["hub", "--config", folder.file("hub.yaml")], log: folder.file("hub.log"))
            }
            try await eventually("the hub answers its operator", within: .seconds(120)) {
                try await isobar(as: "operator-ann", "status").code == 0
            }
            let refused = try await isobar(as: "gateway-us-east", "apply", "-f", folder.file("drain.yaml"))
            #expect(refused.code == 77 && refused.errors.contains("wrong_role"), "\(refused)")
            let apply = try await isobar(as: "operator-ann", "apply", "-f", folder.file("drain.yaml"))
            #expect(apply.code == 0, "\(apply)")
            let audit = try await isobar(as: "operator-ann", "audit")
            #expect(audit.output.contains("Drain night created by ann ("), "\(audit.output)")
            group.cancelAll()
        }
    }

    @Test("without a hub every command says so in one line, and a manifest's mistakes have file, line and path")
    func mistakes() async throws {
        let folder = try TemporaryFolder()
        let port = try #require(try FreePorts.take(1).first)
        for arguments in [["status"], ["check"], ["get"], ["plan", "show"], ["audit"]] {
            let ended = try await Binary.run(arguments + ["--hub", "127.0.0.1:\(port)"])
            #expect(ended.code == 69, "\(arguments): \(ended)")
            #expect(ended.errors.contains("no hub listens at 127.0.0.1:\(port)"), "\(ended.errors)")
        }
        let bad = Self.pool.replacing("number: 8000", with: "number: 0")
        try Data(bad.utf8).write(to: URL(fileURLWithPath: folder.file("bad.yaml")))
        let ended = try await Binary.run(["apply", "-f", folder.file("bad.yaml"), "--hub", "127.0.0.1:\(port)"])
        #expect(ended.code == 65)
        let said = "bad.yaml:13: InferencePool default/llama: spec.targetPorts[0].number: must be 1…65535, is 0\n"
        #expect(ended.errors.hasSuffix(said), "\(ended.errors)")
    }
}
