import Foundation
import Glibc

/// What became of each request that had an `x-request-id`, as JSON lines in a file.
///
/// Each line is one write at the end of the file, at once: a process that is killed has said all that it did. So a
/// harness that kills engines can count over all of them how often a request was executed.
final class RequestLog: Sendable {
    enum Event: String {
        /// It is with the engine; it may wait.
        case taken
        /// Its first token is there.
        case begun
        /// Its last token is there.
        case finished
        /// It ended before that.
        case cancelled
    }

    /// Longer ids are cut, in characters.
    static let idLimit = 128

    private let file: CInt

    /// - Parameter path: A file that is appended to.
    /// - Throws: ``EngineStartError`` when it cannot be opened.
    init(path: String) throws(EngineStartError) {
        self.file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o640)
        guard self.file >= 0 else {
            throw EngineStartError(
                description: "cannot append to --request-log \(path): \(String(cString: strerror(errno)))"
            )
        }
    }

    deinit { close(self.file) }

    func add(_ event: Event, of id: String) {
        let time = Date().timeIntervalSince1970
        var line = "{\"time\":\(time),\"event\":\"\(event.rawValue)\",\"id\":\(JSON.quoted(id))}\n"
        // A line that the disk does not take is lost; the engine goes on.
        line.withUTF8 { bytes in _ = write(self.file, bytes.baseAddress, bytes.count) }
    }
}
