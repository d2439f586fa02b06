import Foundation
import LoopbackPorts
import ProcessKit
import TestKit
import Testing

/// Two engines behind a gateway, real processes, of which one is killed under load.
@Suite("Killed under load", .serialized)
struct KillStoryTests {
    /// How often engines wrote down an event, by request.
    private func count(_ event: String, _ logs: [String]) -> [String: Int] {
        let lines = logs.flatMap { log in
            ((try? String(contentsOfFile: log, encoding: .utf8)) ?? "").split(separator: "\n").map(String.init)
        }
        return lines.filter { $0.contains(#""event":"\#(event)""#) }.reduce(into: [:]) { counts, line in
            if let id = line.firstMatch(of: /"id":"([^"]+)"/) { counts[String(id.output.1), default: 0] += 1 }
        }
    }

    @Test("an engine that is killed loses no request that had not begun, and none is executed twice")
    func engine() async throws {
        let folder = try TemporaryFolder()
        let ports = try FreePorts.take(6)
        let (agent, gateway, admin, hub) = (ports[2], ports[3], ports[4], ports[5])
        func write(_ name: String, _ text: String) throws -> [String] {
            try Data(text.utf8).write(to: URL(fileURLWithPath: folder.file("\(name).yaml")))
            return [name, "--config", folder.file("\(name).yaml")]
        }
        let logs = (0..<2).map { folder.file("engine-\($0).requests") }
        let engines = (0..<2).map { number in
            ChildProcess(
                Binary.path,
                ["engine", "--port", "\(ports[number])", "--model", "llama", "--request-log", logs[number]],
                log: folder.file("engine-\(number).log")
            )
        }
        let others = [
            try write("hub", "{listen: \"127.0.0.1:\(hub)\", state: \"\(folder.file("hub.sqlite"))\"}"),
            try write(
                "agent",
                """
                {cluster: us-east-a, region: us-east, agent: us-east-a-0, listen: "127.0.0.1:\(agent)",
                 hub: ["127.0.0.1:\(hub)"],
                 pools: [{name: llama, endpoints: ["127.0.0.1:\(ports[0])", "127.0.0.1:\(ports[1])"]}]}
                """
            ),
            try write(
                "gateway",
                """
                {gateway: us-east-gw, region: us-east, listen: "127.0.0.1:\(gateway)",
                 admin: "127.0.0.1:\(admin)", hub: ["127.0.0.1:\(hub)"], agents: ["127.0.0.1:\(agent)"],
                 pools: [{name: llama}]}
                """
            ),
        ].map { ChildProcess(Binary.path, $0, log: folder.file("\($0[0]).log")) }

        @Sendable func status() async throws -> [String: Any] {
            guard let answer = try? await Web.get("http://127.0.0.1:\(admin)/v1/status") else { return [:] }
            return try JSONSerialization.jsonObject(with: Data(answer.body.utf8)) as? [String: Any] ?? [:]
        }
        /// One client's requests, one after the other: the ids of those answered whole, and how many were not.
        @Sendable func ask(_ client: Int) async throws -> (whole: [String], lost: [String]) {
            var (whole, lost): ([String], [String]) = ([], [])
            for number in 0..<12 {
                let id = "\(client)-\(number)"
                // Without a stream an answer begins when it is whole, so every request may be tried elsewhere.
                let answer = try? await Web.post(
                    "http://127.0.0.1:\(gateway)/v1/chat/completions",
                    #"{"model":"llama","max_tokens":12,"messages":[{"role":"user","content":"hello \#(id)"}]}"#,
                    headers: [("x-request-id", id)]
                )
                if answer?.status == 200 { whole.append(id) } else { lost.append("\(id): \(answer.debugDescription)") }
            }
            return (whole, lost)
        }

        try await withThrowingTaskGroup(of: Void.self) { fleet in
            for process in engines + others { fleet.addTask { try await process.run() } }
            try await eventually("both engines may take requests") {
                (try await status()["pools"] as? [[String: Any]])?.first?["endpoints_usable"] as? Int == 2
            }
            let answers = try await withThrowingTaskGroup(of: (whole: [String], lost: [String]).self) { clients in
                for client in 0..<16 { clients.addTask { try await ask(client) } }
                try await eventually("both engines are at work") {
                    logs.allSatisfy { self.count("finished", [$0]).count > 8 }
                }
                engines[0].signal(SIGKILL)
                return try await clients.reduce(into: []) { $0.append($1) }
            }
            #expect(answers.flatMap(\.lost) == [])
            #expect(answers.flatMap(\.whole).count == 16 * 12)
            try await eventually("nothing is in flight at the gateway") {
                try await status()["in_flight"] as? Int == 0
            }
            fleet.cancelAll()
        }
        #expect(self.count("finished", logs).count == 16 * 12)
        // Whoever is taken twice had the killed engine first: nobody alive does what is done elsewhere.
        #expect(self.count("taken", [logs[1]]).filter { $0.value > 1 } == [:])
        #expect(self.count("taken", [logs[0]]).filter { $0.value > 1 } == [:])
        let cancelled = self.count("cancelled", logs)
        #expect(cancelled == [:])
    }
}
