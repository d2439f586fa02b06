import Foundation
import ServiceLifecycle
import Synchronization

/// Writes a JSON line for each request, off the requests' way: what the disk cannot take in time is dropped and counted.
final class AccessLog: Service {
    /// Lines that wait for the disk.
    static let limit = 8_192

    /// The pause between two writes.
    static let pause = Duration.milliseconds(50)

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
            for await _ in self.bell {
                self.flush()
                // Lines that come meanwhile are written together: waking for each would cost more than writing it.
                try? await Task.sleep(for: Self.pause)
            }
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
        var lines = JSONLine()
        for record in records { record.write(to: &lines) }
        let isWritten = (try? self.file.write(contentsOf: Data(lines.bytes))) != nil
        self.state.withLock { state in
            if isWritten { state.written += UInt64(records.count) } else { state.dropped += UInt64(records.count) }
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
