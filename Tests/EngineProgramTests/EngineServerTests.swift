import AsyncHTTPClient
import EngineProgram
import Foundation
import Logging
import NIOCore
import ServiceLifecycle
import TestKit
import Testing

@Suite(.timeLimit(.minutes(1))) struct `The engine's server` {
    @Test(arguments: [true, false])
    func `drops a request whose client goes away, streaming or not`(streams: Bool) async throws {
        try await withEngine(EngineOptions(port: 0, timeScale: 0.1)) { engine in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    // At a tenth of the speed this answer would take an hour.
                    let body = #"{"prompt":"a","max_tokens":30000,"stream":\#(streams)}"#
                    _ = try await engine.post("/v1/completions", body)
                }
                while try await engine.metric("num_requests_running") != 1 {}
                group.cancelAll()
            }
            while try await engine.metric("request_success_total", label: "abort") != 1 {}
            #expect(try await engine.metric("num_requests_running") == 0)
        }
    }

    @Test func `writes down what it executed, by the request's own id`() async throws {
        let folder = try TemporaryFolder()
        let log = folder.file("requests.jsonl")
        func events() -> [String] {
            let lines = (try? String(contentsOfFile: log, encoding: .utf8))?.split(separator: "\n") ?? []
            return lines.compactMap { line in
                let entry = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
                return entry.flatMap { "\($0["id"] ?? "") \($0["event"] ?? "")" }
            }
        }
        try await withEngine(EngineOptions(port: 0, requestLog: log, timeScale: 10)) { engine in
            let short = #"{"prompt":"a","max_tokens":4}"#
            _ = try await engine.post("/v1/completions", short)
            _ = try await engine.post("/v1/completions", short, id: "say \"a\"")
            #expect(events() == [#"say "a" taken"#, #"say "a" begun"#, #"say "a" finished"#])
            await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    let long = #"{"prompt":"a","max_tokens":30000,"stream":true}"#
                    _ = try await engine.post("/v1/completions", long, id: "b")
                }
                while !events().contains("b begun") {}
                group.cancelAll()
            }
            while !events().contains("b cancelled") {}
            #expect(events().suffix(3) == ["b taken", "b begun", "b cancelled"])
        }
        let error = await #expect(throws: EngineStartError.self) {
            try await withEngine(EngineOptions(port: 0, requestLog: folder.file("none/log"))) { _ in }
        }
        #expect(error?.description.contains("--request-log") == true)
    }

    @Test func `serves many at once in one batch, and makes the others wait`() async throws {
        try await withEngine(EngineOptions(port: 0, timeScale: 10, maxSequences: 4)) { engine in
            let tokens = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 1...12 {
                    group.addTask {
                        let body = #"{"prompt":"a","max_tokens":20,"stream":true}"#
                        let answer = try await engine.post("/v1/completions", body).text
                        return answer.split(separator: "\n").count { $0.contains("\"text\":") }
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(tokens == Array(repeating: 20, count: 12))
            #expect(try await engine.metric("request_success_total", label: "length") == 12)
        }
    }

    @Test func `finishes what it has begun before it shuts down`() async throws {
        let (ports, listening) = AsyncStream.makeStream(of: Int.self)
        let logger = Logger(label: "test")
        let server = EngineServer(options: try EngineOptions(port: 0), logger: logger) { listening.yield($0) }
        let services = ServiceGroup(services: [server], logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await services.run() }
            let engine = EngineClient(port: try #require(await ports.first { _ in true }))
            let answer = try await engine.open("/v1/completions", #"{"prompt":"a","max_tokens":30,"stream":true}"#)
            await services.triggerGracefulShutdown()
            #expect(String(buffer: try await answer.body.collect(upTo: 1 << 20)).hasSuffix("data: [DONE]\n\n"))
            try await group.waitForAll()
        }
    }

    @Test func `tells its port in a file, and says so when the port is taken`() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appending(path: "port")
        try await withEngine(EngineOptions(port: 0, portFile: file.path())) { engine in
            #expect(try String(contentsOf: file, encoding: .utf8) == "\(engine.port)\n")
            let second = EngineServer(options: try EngineOptions(port: engine.port), logger: Logger(label: "test"))
            let error = await #expect(throws: EngineStartError.self) { try await second.run() }
            #expect(
                error?.description == """
                    port \(engine.port) on 127.0.0.1 is in use: choose another with --port, or any free one with --port 0
                    """
            )
        }
        let lost = EngineServer(
            options: try EngineOptions(port: 0, portFile: folder.appending(path: "no/such/file").path()),
            logger: Logger(label: "test")
        )
        let error = await #expect(throws: EngineStartError.self) { try await lost.run() }
        #expect(error?.description.hasPrefix("cannot write the port to --port-file") == true)
    }
}
