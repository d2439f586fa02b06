import Foundation
import NIOHTTP1
import TestKit
import Testing

/// One region over real processes: an engine, an agent, a hub and a gateway, each with its own file.
private struct Region: Sendable {
    let folder: TemporaryFolder
    let engine: Int
    let hub: Int
    let hubAdmin: Int
    let agent: Int
    let gateway: Int
    let gatewayAdmin: Int

    init() async throws {
        self.folder = try TemporaryFolder()
        let ports = try await StoryPorts.free(6)
        (self.engine, self.hub, self.hubAdmin) = (ports[0], ports[1], ports[2])
        (self.agent, self.gateway, self.gatewayAdmin) = (ports[3], ports[4], ports[5])
        try self.write(
            "hub",
            "listen: 127.0.0.1:\(self.hub)\nadmin: 127.0.0.1:\(self.hubAdmin)\nstate: \(self.folder.file("hub.sqlite"))"
        )
        try self.write(
            "agent",
            """
            {cluster: us-east-a, region: us-east, agent: us-east-a-0, listen: "127.0.0.1:\(self.agent)",
             hub: ["127.0.0.1:\(self.hub)"], interval: 0.2,
             pools: [{name: llama, endpoints: ["127.0.0.1:\(self.engine)"]}]}
            """
        )
        try self.write(
            "gateway",
            """
            {gateway: us-east-gw, region: us-east, listen: "127.0.0.1:\(self.gateway)",
             admin: "127.0.0.1:\(self.gatewayAdmin)", hub: ["127.0.0.1:\(self.hub)"],
             agents: ["127.0.0.1:\(self.agent)"], planFile: "\(self.folder.file("gw.plan"))", pools: [{name: llama}]}
            """
        )
    }

    private func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: self.folder.file("\(name).yaml")))
    }

    /// Runs one program until the task is cancelled; its log goes to a file of its name.
    func run(_ program: String, _ options: [String]? = nil) async throws {
        try await Binary.serve(
            [program] + (options ?? ["--config", self.folder.file("\(program).yaml")])
                + ["--log-format", "json", "--log-level", "debug"],
            log: self.folder.file("\(program).log")
        )
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
}
