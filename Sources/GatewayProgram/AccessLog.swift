import FleetModel
import Foundation
import RequestRouting
import ReverseProxy
import ServiceLifecycle
import Synchronization

/// One line of the access log: who was sent where and how it went, and nothing of what was said.
struct AccessRecord: Codable, Sendable {
    var time: Date
    var method: String
    /// Without the query.
    var path: String
    var pool: String
    var band: String
    var hop: Bool
    var model: String?
    var rewritten_model: String?
    var stream: Bool
    var status: Int?
    var dropped: String?
    var cluster: String?
    var endpoint: String?
    var reason: String?
    var warm: Bool?
    var plan: String?
    var tries: Int
    var waited_seconds: Double
    var first_byte_seconds: Double?
    var duration_seconds: Double
    var request_bytes: Int
    var response_bytes: Int
    var traceparent: String?

    init(_ request: ProxiedRequest, _ open: OpenRequest, _ summary: ProxySummary) {
        self.time = Date()
        self.method = request.method
        self.path = String(request.uri.prefix { $0 != "?" }.prefix(256))
        self.pool = open.pool.name.description
        self.band = open.request.band.rawValue
        self.hop = open.request.isHop
        self.model = open.model
        self.rewritten_model = open.rewritten
        self.stream = open.streams
        self.status = summary.status
        self.dropped = open.drop?.rawValue
        self.cluster = open.lastPick?.cluster.text
        self.endpoint = open.lastPick?.target.description
        self.reason = open.lastPick?.reason.rawValue
        self.warm = open.lastPick?.isWarm
        self.plan = open.plan?.description
        self.tries = open.tries
        self.waited_seconds = open.waited
        self.first_byte_seconds = open.timeToFirstByte
        self.duration_seconds = summary.duration
        self.request_bytes = summary.requestBytes
        self.response_bytes = summary.bytes
        self.traceparent = open.trace?.text
    }
}

/// Writes a JSON line for each request, off the requests' way: what the disk cannot take in time is dropped and counted.
final class AccessLog: Service {
    /// Lines that wait for the disk.
    static let limit = 8_192

    private struct State {
        var waiting: [AccessRecord] = []
        var dropped: UInt64 = 0
        var written: UInt64 = 0
    }

    private let state = Mutex(State())
    private let bell: AsyncStream<Void>
    private let ring: AsyncStream<Void>.Continuation
    private let file: FileHandle

    /// - Parameter destination: `stdout`, or the path of a file that is appended to.
    /// - Throws: When the file cannot be opened.
    init(destination: String) throws {
        (self.bell, self.ring) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        guard destination != "stdout" else {
            self.file = .standardOutput
            return
        }
        let descriptor = open(destination, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o640)
        guard descriptor >= 0 else {
            throw AccessLogRefusal(path: destination, reason: String(cString: strerror(errno)))
        }
        self.file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    }

    /// Lines that were dropped because the file was too slow, or could not be written.
    var dropped: UInt64 { self.state.withLock { $0.dropped } }
    var written: UInt64 { self.state.withLock { $0.written } }

    func add(_ record: AccessRecord) {
        self.state.withLock { state in
            if state.waiting.count < Self.limit { state.waiting.append(record) } else { state.dropped += 1 }
        }
        self.ring.yield()
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            for await _ in self.bell { self.flush() }
        }
        self.flush()
    }

    /// Writes what waits.
    func flush() {
        let records = self.state.withLock { state in
            defer { state.waiting = [] }
            return state.waiting
        }
        guard !records.isEmpty else { return }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .iso8601
        var (lines, count) = (Data(), 0)
        for record in records {
            guard let line = try? encoder.encode(record) else { continue }
            lines.append(line)
            lines.append(UInt8(ascii: "\n"))
            count += 1
        }
        let isWritten = (try? self.file.write(contentsOf: lines)) != nil
        self.state.withLock { state in
            state.written += isWritten ? UInt64(count) : 0
            state.dropped += UInt64(records.count - (isWritten ? count : 0))
        }
    }
}

/// The access log's file could not be opened.
struct AccessLogRefusal: Error, CustomStringConvertible {
    let path: String
    let reason: String

    var description: String {
        "accessLog: cannot write to \(self.path): \(self.reason); name a file in a folder that exists"
    }
}
