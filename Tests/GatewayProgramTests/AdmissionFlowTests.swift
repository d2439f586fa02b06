import ArgumentParser
import FleetModel
import Foundation
import Logging
import Observability
import PlanStream
import ReverseProxy
import TestKit
import Testing

@testable import GatewayProgram

/// A gateway behind its own proxy, with model servers that answer what the test says.
@Suite("Through the gateway", .serialized)
struct AdmissionFlowTests {
    private static let file = """
        gateway: us-east-gw
        region: us-east
        listen: 127.0.0.1:0
        waitingMax: 2
        objectives:
          - {name: chat, pool: default/llama, priority: 5}
          - {name: nightly, priority: -1}
        pools:
          - name: default/llama
            model: llama
            objective: nightly
            rewrites:
              - model: old
                targets: [{model: llama}]
        """

    @Test("a request waits for the first endpoint, its model is rewritten, and the answer comes back")
    func waitsForEndpoint() async throws {
        try await World.with(Self.file) { world in
            async let answer = world.post(#"{"model":"old","messages":[{"role":"user","content":"hi"}]}"#)
            try await world.waits(1)
            try world.show(waiting: 0)
            let (status, body) = (try await answer.status, try await answer.body)
            #expect(status == 200 && body.contains(#""model":"llama""#), "\(body)")
            #expect(body.contains("x-gateway-model-name: old"), "\(body)")
        }
    }

    @Test("the only endpoint is tried again before the client is told, and told that it failed, not that none is there")
    func onlyOne() async throws {
        try await World.with(Self.file) { world in
            // Nobody serves there.
            try world.show(waiting: 0, at: EndpointAddress(host: "127.0.0.1", port: 1))
            let answer = try await world.post(#"{"model":"llama","messages":[{"role":"user","content":"hi"}]}"#)
            #expect(answer.status == 502 && answer.body.contains("upstream_unreachable"), "\(answer)")
            #expect(answer.body.contains("4 tried"), "\(answer)")
        }
    }

    @Test("when the agent hears nothing of the only endpoint either, the client is told that there is none")
    func noneIsHeard() async throws {
        try await World.with(Self.file) { world in
            try world.show(waiting: nil, at: EndpointAddress(host: "127.0.0.1", port: 1))
            let answer = try await world.post(#"{"model":"llama","messages":[{"role":"user","content":"hi"}]}"#)
            #expect(answer.status == 503 && answer.headers["retry-after"] != nil, "\(answer)")
            #expect(answer.headers["x-llm-d-request-dropped-reason"] == "rejected-no-endpoints", "\(answer)")
        }
    }

    @Test("a full pool keeps requests in line, the lowest gives way to a higher one, and room lets them go")
    func waitsForRoom() async throws {
        try await World.with(Self.file) { world in
            try world.show(waiting: 500)
            let body = #"{"model":"llama","messages":[{"role":"user","content":"hi"}]}"#
            async let batch = world.post(body)
            try await world.waits(1)
            async let chat = world.post(body, headers: ["x-llm-d-inference-objective": "chat"])
            try await world.waits(2)
            async let other = world.post(body, headers: ["x-gateway-inference-objective": "chat"])
            let evicted = try await batch
            #expect(evicted.status == 429 && evicted.body.contains("evicted-priority"), "\(evicted)")
            try await world.waits(2)
            let refused = try await world.post(body, headers: ["x-llm-d-inference-objective": "chat"])
            #expect(refused.status == 429 && refused.headers["retry-after"] != nil)
            #expect(refused.headers["x-llm-d-request-dropped-reason"] == "rejected-saturated")
            try world.show(waiting: 0)
            let statuses = [try await chat.status, try await other.status]
            #expect(statuses == [200, 200])
            let page = world.gateway.metrics(ProxyCounters())
            #expect(page.contains(#"isobar_gateway_dropped_total{"#) && page.contains("evicted-priority"), "\(page)")
        }
    }

    @Test("what a model server says of its load in an answer counts at once, and is for those who ask for it")
    func loadReports() async throws {
        try await World.with(Self.file) { world in
            try world.show(waiting: 0)
            let body = #"{"model":"llama","messages":[{"role":"user","content":"hi"}]}"#
            let idle = "TEXT named_metrics.kv_cache_usage_perc=0.1, named_metrics.num_requests_waiting=0"
            let full = #"JSON {"named_metrics": {"num_requests_running": 200, "num_requests_waiting": 500}}"#
            let asked = try await world.post(
                body,
                headers: ["x-test-load": idle, "endpoint-load-metrics-format": "TEXT"]
            )
            #expect(asked.headers["endpoint-load-metrics"] == idle)
            let unasked = try await world.post(body, headers: ["x-test-load": full])
            #expect(unasked.status == 200 && unasked.headers["endpoint-load-metrics"] == nil)
            // The only endpoint has filled meanwhile, which no agent has seen.
            async let late = world.post(body)
            try await world.waits(1)
            let page = world.gateway.metrics(ProxyCounters())
            #expect(page.contains(#"isobar_gateway_load_reports_total{result="used"} 2.0"#), "\(page)")
            // A newer reading of its agent undoes that.
            try world.show(waiting: 0)
            #expect(try await late.status == 200)
        }
    }

    @Test("a client that goes away leaves the queue, and one whose deadline passes is told so")
    func leaves() async throws {
        try await World.with(Self.file) { world in
            try world.show(waiting: 500)
            let late = try await world.post("{}", headers: ["x-isobar-deadline-ms": "200"])
            #expect(late.status == 429 && late.body.contains("rejected-ttl-expired"), "\(late)")
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = try await world.post("{}") }
                try await world.waits(1)
                group.cancelAll()
            }
            try await world.waits(0)
        }
    }

    @Test("the access log has a line for each request, and nothing of what was said")
    func accessLog() async throws {
        let folder = try TemporaryFolder()
        try await World.with(Self.file, accessLog: folder.file("access.jsonl")) { world in
            try world.show(waiting: 0)
            let secret = #"{"model":"llama","stream":false,"messages":[{"role":"user","content":"my secret"}]}"#
            _ = try await world.post(
                secret,
                headers: ["traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"]
            )
            try await eventually("the line is written") { world.gateway.accessLog?.written == 1 }
            let text = try String(contentsOfFile: folder.file("access.jsonl"), encoding: .utf8)
            #expect(
                text.contains(#""status":200"#)
                    && text.contains("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
                    && !text.contains("secret")
            )
            #expect(text.contains(#""band":"batch""#) && text.contains(#""cluster":"us-east-a""#))
            let line = try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
            #expect(line["tries"] as? Int == 1 && line["hop"] as? Bool == false && line["dropped"] == nil)
            #expect(line["request_bytes"] as? Int == secret.utf8.count && line["model"] as? String == "llama")
            #expect(try #require(line["time"] as? String).wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/) != nil)
        }
    }

    @Test("a line of JSON survives whatever a client writes")
    func escapes() throws {
        var line = JSONLine()
        let text = "a \"model\" \\ \n \u{1} é 😺 /"
        line.begin()
        line.add("model", text)
        line.add("none", String?.none)
        line.add("seconds", Double.infinity)
        line.add("share", 0.25)
        line.end()
        let object = try JSONSerialization.jsonObject(with: Data(line.bytes)) as? [String: Any]
        #expect(object?["model"] as? String == text && object?["share"] as? Double == 0.25 && object?.count == 2)
    }
}

@Suite("isobar pick")
struct PickCommandTests {
    private func snapshot() throws -> GatewaySnapshot {
        let folder = try TemporaryFolder()
        let text = """
            gateway: us-east-gw
            region: us-east
            listen: 127.0.0.1:0
            peers: [{region: europe-west, address: 127.0.0.1:8180}]
            pools: [{name: default/llama}]
            """
        try Data(text.utf8).write(to: URL(fileURLWithPath: folder.file("gateway.yaml")))
        let plan = try Fixtures.plan()
        let gateway = Gateway(
            configuration: try GatewayConfiguration(file: folder.file("gateway.yaml")),
            plan: (plan, try EncodedPlan(plan)),
            clock: MonotonicClock(),
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        )
        return try GatewaySnapshot(json: try gateway.snapshot(), from: "test")
    }

    @Test("says where a request would go and what it was chosen from")
    func answers() throws {
        let command = try PickCommand.parse(["--pool", "llama", "--from", "us-east", "--explain", "--snapshot", "x"])
        let text = try command.answer(try self.snapshot())
        #expect(text.hasPrefix("127.0.0.1:8180  in europe-west-a, through its gateway"), "\(text)")
        #expect(text.contains("because failover") && text.contains("* europe-west-a"), "\(text)")
        let json = try PickCommand.parse(["--pool", "llama", "-o", "json", "--snapshot", "x"])
        #expect(try json.answer(try self.snapshot()).contains(#""target" : "127.0.0.1:8180""#))
    }

    @Test(
        "a wrong question is answered with the fix",
        arguments: [
            (["--pool", "qwen"], "--pool: the gateway does not serve default/qwen; known: default/llama"),
            (["--pool", "llama", "--from", "mars"], "this gateway is of us-east, not mars: ask a gateway of mars"),
        ]
    )
    func refuses(arguments: [String], message: String) throws {
        let command = try PickCommand.parse(arguments + ["--snapshot", "x"])
        let error = #expect(throws: PickError.self) { try command.answer(try self.snapshot()) }
        #expect(error?.description == message)
        #expect(throws: PickError.self) { try GatewaySnapshot(json: Data("{}".utf8), from: "x") }
    }
}
