import Foundation
import LoopbackPorts
import NIOHTTP1
import ProcessKit
import TestKit
import Testing

/// One region over real processes: an engine, an agent, a hub and a gateway, each with its own file.
private struct Region: Sendable {
    let folder: TemporaryFolder
    let engine: Int
    let hub: Int
    let hubAdmin: Int
    let agent: Int
    let agentAdmin: Int
    let gateway: Int
    let gatewayAdmin: Int
    /// Where the second agent of the same cluster listens.
    let twin: Int

    init() async throws {
        self.folder = try TemporaryFolder()
        let ports = try FreePorts.take(8)
        (self.engine, self.hub, self.hubAdmin) = (ports[0], ports[1], ports[2])
        (self.agent, self.gateway, self.gatewayAdmin) = (ports[3], ports[4], ports[5])
        (self.agentAdmin, self.twin) = (ports[6], ports[7])
        try self.write(
            "hub",
            "listen: 127.0.0.1:\(self.hub)\nadmin: 127.0.0.1:\(self.hubAdmin)\nstate: \(self.folder.file("hub.sqlite"))"
        )
        for (file, name, listen, admin) in [
            ("agent", "us-east-a-0", self.agent, "admin: \"127.0.0.1:\(self.agentAdmin)\","),
            ("twin", "us-east-a-1", self.twin, ""),
        ] {
            try self.write(
                file,
                """
                {cluster: us-east-a, region: us-east, agent: \(name), listen: "127.0.0.1:\(listen)", \(admin)
                 hub: ["127.0.0.1:\(self.hub)"], interval: 0.2,
                 pools: [{name: llama, endpoints: ["127.0.0.1:\(self.engine)"]}]}
                """
            )
        }
        try self.write(
            "gateway",
            """
            {gateway: us-east-gw, region: us-east, listen: "127.0.0.1:\(self.gateway)",
             admin: "127.0.0.1:\(self.gatewayAdmin)", hub: ["127.0.0.1:\(self.hub)"],
             agents: ["127.0.0.1:\(self.agent)", "127.0.0.1:\(self.twin)"], planFile: "\(self.folder.file("gw.plan"))", pools: [{name: llama}]}
            """
        )
    }

    private func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: self.folder.file("\(name).yaml")))
    }

    /// Runs one program until the task is cancelled; its log goes to a file of its name.
    func run(_ program: String, _ options: [String]? = nil, file: String? = nil) async throws {
        try await Binary.serve(
            [program] + (options ?? ["--config", self.folder.file("\(file ?? program).yaml")])
                + ["--log-format", "json", "--log-level", "debug"],
            log: self.folder.file("\(file ?? program).log")
        )
    }

    /// What the hub says of the one cluster, as far as it says anything.
    func cluster() async throws -> [[String: Any]] {
        guard let answer = try? await Web.get("http://127.0.0.1:\(self.hubAdmin)/v1/status") else { return [] }
        let status = try JSONSerialization.jsonObject(with: Data(answer.body.utf8)) as? [String: Any]
        let pools = status?["pools"] as? [[String: Any]] ?? []
        return pools.flatMap { $0["clusters"] as? [[String: Any]] ?? [] }
    }

    /// The gauges that the agent derives from its engine's page.
    func gauges() async throws -> [String] {
        guard let answer = try? await Web.get("http://127.0.0.1:\(self.agentAdmin)/metrics") else { return ["?"] }
        return answer.body.split(separator: "\n").map(String.init)
            .filter { $0.hasPrefix("isobar_agent_pool_") && !$0.contains("endpoints_") }
    }

    func log(_ program: String) -> [String] {
        let text = (try? String(contentsOfFile: self.folder.file("\(program).log"), encoding: .utf8)) ?? ""
        return text.split(separator: "\n").map(String.init)
    }

    func chat() async throws -> Web.Answer {
        try await Web.post(
            "http://127.0.0.1:\(self.gateway)/v1/chat/completions",
            #"{"model":"llama","max_tokens":4,"messages":[{"role":"user","content":"hello"}]}"#,
            headers: [("x-isobar-explain", "1")]
        )
    }

    /// Whether a plan of the hub routes requests to the engine.
    func answersByPlan() async throws -> Bool {
        guard let answer = try? await self.chat() else { return false }
        return answer.status == 200 && answer.headers.first(name: "x-isobar-reason") == "plan"
    }
}

@Suite("One region", .serialized)
struct LoopStoryTests {
    @Test("serves by plan, goes on without its hub, also across its own restart; one digest is followed by its id")
    func hubLost() async throws {
        let region = try await Region()
        try await withThrowingTaskGroup(of: Void.self) { fleet in
            fleet.addTask {
                try await region.run(
                    "engine",
                    ["--port", "\(region.engine)", "--model", "llama", "--time-scale", "10"]
                )
            }
            fleet.addTask { try await region.run("agent") }

            try await withThrowingTaskGroup(of: Void.self) { mortal in
                mortal.addTask { try await region.run("hub") }
                mortal.addTask { try await region.run("gateway") }
                try await eventually("a request is answered by plan") { try await region.answersByPlan() }
                mortal.cancelAll()
            }
            #expect(FileManager.default.fileExists(atPath: region.folder.file("gw.plan")))

            // The hub is gone, and so is the gateway's memory: it has its file and its agent.
            try await withThrowingTaskGroup(of: Void.self) { again in
                again.addTask { try await region.run("gateway") }
                try await eventually("a request is answered by the plan from the disk") {
                    guard let answer = try? await region.chat() else { return false }
                    return answer.status == 200 && answer.headers.first(name: "x-isobar-plan") != nil
                }
                again.cancelAll()
            }
            fleet.cancelAll()
        }

        func frame(_ line: String) -> String? {
            line.firstMatch(of: /"frame":"([^"]+)"/).map { String($0.output.1) }
        }
        let sent = Set(region.log("agent").filter { $0.contains("digest sent") }.compactMap(frame))
        let received = Set(region.log("hub").filter { $0.contains("digest received") }.compactMap(frame))
        let followed = sent.intersection(received)
        #expect(!followed.isEmpty)
        let plans = region.log("hub").filter { $0.contains("plan accepted") }
        #expect(followed.contains { id in plans.contains { $0.contains(id) } })
    }

    @Test("has two agents that count once, loses one and never the cluster, and takes it back")
    func twins() async throws {
        let region = try await Region()
        func speaker() async throws -> String? {
            let clusters = try await region.cluster()
            // One line for the cluster, whoever speaks.
            #expect(clusters.count <= 1)
            return clusters.first?["agent"] as? String
        }
        func agents() async throws -> Int { (try await region.cluster().first?["agents"] as? [Any])?.count ?? 0 }
        try await withThrowingTaskGroup(of: Void.self) { fleet in
            fleet.addTask { try await region.run("engine", ["--port", "\(region.engine)", "--model", "llama"]) }
            fleet.addTask { try await region.run("hub") }
            fleet.addTask { try await region.run("gateway") }
            try await withThrowingTaskGroup(of: Void.self) { mortal in
                mortal.addTask { try await region.run("agent") }
                try await eventually("the first agent speaks") { try await speaker() == "us-east-a-0" }
                fleet.addTask { try await region.run("agent", file: "twin") }
                try await eventually("both are heard") { try await agents() == 2 }
                try await eventually("the region serves by plan") { try await region.answersByPlan() }
                mortal.cancelAll()
            }
            try await eventually("the twin speaks") { try await speaker() == "us-east-a-1" }
            #expect(try await region.answersByPlan())
            fleet.addTask { try await region.run("agent") }
            try await eventually("the lost one is back, under a new incarnation") {
                let all = try await region.cluster().first?["agents"] as? [[String: Any]] ?? []
                return all.count == 2 && all.allSatisfy { ($0["age_seconds"] as? Double ?? 9) < 2 }
            }
            fleet.cancelAll()
        }
        // The twin's frames were good all the time: it never had to register again.
        #expect(region.log("twin").filter { $0.contains(#""registered""#) }.count == 1)
        #expect(!region.log("twin").contains { $0.contains("digest refused") })
    }

    @Test("forgets an engine that dies: no number of it stays at agent, hub or gateway")
    func noFrozenGauge() async throws {
        let region = try await Region()
        func usable() async throws -> Int? {
            guard let answer = try? await Web.get("http://127.0.0.1:\(region.gatewayAdmin)/v1/status") else {
                return nil
            }
            let status = try JSONSerialization.jsonObject(with: Data(answer.body.utf8)) as? [String: Any]
            return (status?["pools"] as? [[String: Any]])?.first?["endpoints_usable"] as? Int
        }
        try await withThrowingTaskGroup(of: Void.self) { fleet in
            for program in ["hub", "agent", "gateway"] { fleet.addTask { try await region.run(program) } }
            try await withThrowingTaskGroup(of: Void.self) { mortal in
                mortal.addTask { try await region.run("engine", ["--port", "\(region.engine)", "--model", "llama"]) }
                try await eventually("the region serves by plan") { try await region.answersByPlan() }
                try await eventually("agent, hub and gateway have numbers of the engine") {
                    let isKnown = try await region.cluster().first?["running"] != nil
                    let isUsable = try await usable() == 1
                    return try await region.gauges().count >= 4 && isKnown && isUsable
                }
                mortal.cancelAll()
            }
            try await eventually("the agent's gauges are gone") { try await region.gauges() == [] }
            let derived = [
                "running", "waiting", "kv_mean", "kv_max", "capacity", "free_seats", "unloaded_ttft_seconds",
                "queue_scale_seconds", "request_rate", "prompt_token_rate", "generation_token_rate",
                "reading_age_seconds",
            ]
            try await eventually("the hub says that the pool is blind, and nothing else of it") {
                guard let cluster = try await region.cluster().first else { return false }
                return cluster["state"] as? String == "down" && cluster["trouble"] as? String == "blind"
                    && cluster["endpoints_ready"] as? Int == 0 && derived.allSatisfy { cluster[$0] == nil }
            }
            try await eventually("the gateway has no endpoint") { try await usable() == 0 }
            fleet.cancelAll()
        }
    }
}
