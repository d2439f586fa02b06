import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Subprocess
import SystemPackage
import Testing

/// The `isobar` binary beside the test bundle.
enum Binary {
    static var path: String {
        Bundle.main.bundleURL.appendingPathComponent("isobar").path
    }

    struct Ended: Sendable {
        var code: Int32
        var output: String
        var errors: String
    }

    /// Runs a command to its end.
    static func run(_ arguments: [String]) async throws -> Ended {
        let result = try await Subprocess.run(
            .path(FilePath(self.path)),
            arguments: Arguments(arguments),
            output: .string(limit: 1 << 20),
            error: .string(limit: 1 << 20)
        )
        var code: Int32 = -1
        if case .exited(let status) = result.terminationStatus { code = status }
        return Ended(code: code, output: result.standardOutput, errors: result.standardError)
    }
}

extension Binary {
    /// Runs a program until the task is cancelled; its log goes to the end of a file.
    ///
    /// A program that ends by itself is an issue of the test, with the end of its log: whoever waits for it knows why.
    static func serve(_ arguments: [String], log file: String) async throws {
        let log = try FileDescriptor.open(
            FilePath(file),
            .writeOnly,
            options: [.create, .append],
            permissions: .ownerReadWrite
        )
        var platform = PlatformOptions()
        platform.teardownSequence = [.gracefulShutDown(allowedDurationToNextStep: .seconds(8))]
        let result = try await Subprocess.run(
            .path(FilePath(self.path)),
            arguments: Arguments(arguments),
            platformOptions: platform,
            output: .discarded,
            error: .fileDescriptor(log, closeAfterSpawningProcess: true)
        )
        guard !Task.isCancelled else { return }
        let said = (try? String(contentsOfFile: file, encoding: .utf8)) ?? ""
        Issue.record("isobar \(arguments.joined(separator: " ")): \(result.terminationStatus)\n\(said.suffix(2_000))")
    }
}

/// A GET or POST with a deadline that only a broken program meets.
enum Web {
    struct Answer: Sendable {
        var status: Int
        var headers: HTTPHeaders
        var body: String
    }

    static func get(_ url: String) async throws -> Answer {
        try await self.answer(HTTPClientRequest(url: url))
    }

    static func post(_ url: String, _ body: String, headers: [(String, String)] = []) async throws -> Answer {
        var request = HTTPClientRequest(url: url)
        request.method = .POST
        request.headers = HTTPHeaders([("content-type", "application/json")] + headers)
        request.body = .bytes(ByteBuffer(string: body))
        return try await self.answer(request)
    }

    private static func answer(_ request: HTTPClientRequest) async throws -> Answer {
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(60))
        let body = String(buffer: try await response.body.collect(upTo: 16 << 20))
        return Answer(status: Int(response.status.code), headers: response.headers, body: body)
    }
}
