import AsyncHTTPClient
import FleetModel
import Foundation
import NIOCore
import NIOHTTP1

/// Waits until processes work.
struct Readiness: Sendable {
    /// How long the whole start may take, in seconds.
    static let patience: Seconds = 30
    /// Lines of a log that are shown when its process did not become ready.
    static let tail = 8

    let http: HTTPClient
    let supervisor: Supervisor
    let clock: LoadClock
    /// Hears, about once a second, what is being waited for.
    let onProgress: @Sendable (String) -> Void

    /// Returns when every child answers its probe.
    ///
    /// - Throws: ``StartFailure`` when one ends first or is not ready in time; `CancellationError`.
    func wait(for children: [Child]) async throws {
        var pending = children
        var told = self.clock.now
        while true {
            var waiting: [Child] = []
            for child in pending where try await !self.isReady(child) { waiting.append(child) }
            pending = waiting
            guard let first = pending.first else { return }
            if self.clock.now > Self.patience {
                let seconds = Quantity.duration(Self.patience)
                throw self.failure(first, "was not ready within \(seconds) (\(first.probe.path) did not answer 200)")
            }
            if self.clock.now > told + 1 {
                told = self.clock.now
                self.onProgress("waiting for \(pending.map(\.name).joined(separator: ", "))")
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    private func isReady(_ child: Child) async throws -> Bool {
        if let end = self.supervisor.end(of: child.name) { throw self.failure(child, end) }
        let request = HTTPClientRequest(url: "http://\(child.probe.address)\(child.probe.path)")
        guard let response = try? await self.http.execute(request, timeout: .seconds(1)) else {
            try Task.checkCancellation()
            return false
        }
        _ = try? await response.body.collect(upTo: 1 << 20)
        return child.probe.acceptsAnyAnswer || response.status == .ok
    }

    private func failure(_ child: Child, _ reason: String) -> StartFailure {
        StartFailure(child: child.name, reason: reason, log: child.log, tail: Self.lastLines(of: child.log))
    }

    static func lastLines(of file: String) -> [String] {
        guard let handle = FileHandle(forReadingAtPath: file), let size = try? handle.seekToEnd() else { return [] }
        defer { try? handle.close() }
        try? handle.seek(toOffset: size > 65_536 ? size - 65_536 : 0)
        let text = String(decoding: (try? handle.readToEnd()) ?? Data(), as: UTF8.self)
        return text.split(separator: "\n").suffix(Self.tail).map(String.init)
    }
}
