import AsyncHTTPClient
import Foundation
import Logging
import NIOCore
import NIOHTTP1
import ServiceLifecycle
import TestKit
import Testing

@testable import Observability

@Suite("The log")
struct LogTests {
    private let facts: Logger.Metadata = ["plan": "3.17", "reason": "a \"quoted\"\nword \u{1}"]

    @Test("for machines it is one JSON object a line, with the facts beside a constant message")
    func json() throws {
        let line = LineLogHandler.line(
            time: Date(timeIntervalSince1970: 1_790_000_000.25),
            level: .warning,
            label: "isobar.hub",
            message: "plan refused",
            facts: self.facts,
            json: true
        )
        #expect(line.filter { $0 == "\n" }.count == 1)
        let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: String])
        #expect(object["time"] == "2026-09-21T14:13:20.250Z")
        #expect(object["level"] == "warning")
        #expect(object["message"] == "plan refused")
        #expect(object["plan"] == "3.17")
        #expect(object["reason"] == "a \"quoted\"\nword \u{1}")
    }

    @Test("for people it is one readable line")
    func text() {
        let line = LineLogHandler.line(
            time: Date(timeIntervalSince1970: 1_790_000_000.25),
            level: .info,
            label: "isobar.hub",
            message: "leading",
            facts: ["epoch": "2"],
            json: false
        )
        #expect(line == "14:13:20.250 INFO isobar.hub: leading epoch=2\n")
    }
}

@Suite("Admin pages")
struct AdminServerTests {
    private func pages(problem: String? = nil) -> AdminPages {
        AdminPages(
            readiness: { [ReadinessCheck("plan", problem: problem), ReadinessCheck("peers", problem: nil)] },
            metrics: { "isobar_up 1\n" },
            documents: ["/v1/status": { try AdminPages.json(["b": 1, "a": 2]) }]
        )
    }

    private func get(_ path: String, _ pages: AdminPages) async throws -> (status: Int, body: String, type: String) {
        try await withThrowingTaskGroup(of: Void.self) { group in
            let (ports, port) = AsyncStream.makeStream(of: Int.self)
            let server = AdminServer(host: "127.0.0.1", port: 0, pages: pages) { port.yield($0) }
            group.addTask { try await server.run() }
            var iterator = ports.makeAsyncIterator()
            let bound = try #require(await iterator.next())
            let response = try await HTTPClient.shared.execute(
                HTTPClientRequest(url: "http://127.0.0.1:\(bound)\(path)"),
                timeout: .seconds(20)
            )
            let body = String(buffer: try await response.body.collect(upTo: 1 << 20))
            group.cancelAll()
            return (Int(response.status.code), body, response.headers.first(name: "content-type") ?? "")
        }
    }

    @Test("say that the process lives and is ready, check by check when asked")
    func ready() async throws {
        #expect(try await self.get("/livez", self.pages()).body == "ok\n")
        let plain = try await self.get("/readyz", self.pages())
        #expect(plain.status == 200 && plain.body == "ok\n")
        #expect(try await self.get("/readyz?verbose", self.pages()).body == "[+]plan ok\n[+]peers ok\nok\n")
    }

    @Test("say what is missing while it is not ready")
    func notReady() async throws {
        let answer = try await self.get("/readyz", self.pages(problem: "no plan yet"))
        #expect(answer.status == 503)
        #expect(answer.body == "[-]plan: no plan yet\n[+]peers ok\nnot ready\n")
    }

    @Test("serve metrics and documents in their types")
    func documents() async throws {
        let metrics = try await self.get("/metrics", self.pages())
        #expect(metrics.body == "isobar_up 1\n" && metrics.type == "text/plain; version=0.0.4; charset=utf-8")
        let status = try await self.get("/v1/status", self.pages())
        #expect(status.type == "application/json" && status.body.contains("\"a\" : 2,\n"))
    }

    @Test("a port that is taken is one clear line")
    func portTaken() async throws {
        let (ports, port) = AsyncStream.makeStream(of: Int.self)
        let first = AdminServer(host: "127.0.0.1", port: 0, pages: self.pages()) { port.yield($0) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await first.run() }
            var iterator = ports.makeAsyncIterator()
            let bound = try #require(await iterator.next())
            let error = await #expect(throws: ListenRefusal.self) {
                try await AdminServer(host: "127.0.0.1", port: bound, pages: self.pages()).run()
            }
            #expect(
                error?.description
                    == "admin: cannot listen on 127.0.0.1:\(bound): Address already in use; "
                    + "stop what holds it, or choose another port"
            )
            group.cancelAll()
        }
    }
}
