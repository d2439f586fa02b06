import AsyncHTTPClient
import EngineProgram
import Foundation
import Logging
import NIOCore
import NIOHTTP1
import Testing

/// Speaks to one engine under test.
struct EngineClient {
    let port: Int

    func get(_ path: String) async throws -> (status: Int, text: String) {
        try await self.read(HTTPClient.shared.execute(self.request(path), timeout: .seconds(30)))
    }

    func post(_ path: String, _ body: String, id: String? = nil) async throws -> (status: Int, text: String) {
        try await self.read(self.open(path, body, id: id))
    }

    /// Sends a request and returns with the head of its answer.
    func open(_ path: String, _ body: String, id: String? = nil) async throws -> HTTPClientResponse {
        var request = self.request(path)
        request.method = .POST
        request.headers.add(name: "content-type", value: "application/json")
        if let id { request.headers.add(name: "x-request-id", value: id) }
        request.body = .bytes(ByteBuffer(string: body))
        return try await HTTPClient.shared.execute(request, timeout: .seconds(60))
    }

    /// The value of a metric without labels beyond the common ones, or with `label` among them.
    func metric(_ name: String, label: String? = nil) async throws -> Double? {
        let page = try await self.get("/metrics").text
        let line = page.split(separator: "\n").first { $0.hasPrefix("vllm:\(name){") && label.map($0.contains) ?? true }
        return line?.split(separator: " ").last.flatMap { Double($0) }
    }

    private func request(_ path: String) -> HTTPClientRequest {
        HTTPClientRequest(url: "http://127.0.0.1:\(self.port)\(path)")
    }

    private func read(_ response: HTTPClientResponse) async throws -> (status: Int, text: String) {
        let body = try await response.body.collect(upTo: 1 << 20)
        return (Int(response.status.code), String(buffer: body))
    }
}

/// Runs an engine on a free port for as long as `body` takes.
func withEngine(_ options: EngineOptions, _ body: (EngineClient) async throws -> Void) async throws {
    let (ports, listening) = AsyncStream.makeStream(of: Int.self)
    let server = EngineServer(options: options, logger: Logger(label: "test")) { listening.yield($0) }
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
            defer { listening.finish() }
            try await server.run()
        }
        guard let port = await ports.first(where: { _ in true }) else {
            try await group.waitForAll()
            return
        }
        try await body(EngineClient(port: port))
        group.cancelAll()
    }
}

extension String {
    /// Replaces what differs from run to run: ids and times.
    var withoutChance: String {
        self.replacing(/cmpl-[0-9a-f]{32}/, with: "cmpl-ID").replacing(/"created":[0-9]+/, with: "\"created\":0")
    }
}
