import Foundation
import Synchronization
import SystemPackage

/// A pipe of which every child reads one end and only the demo holds the other.
///
/// Nothing is ever written to it. Should the demo be killed, the kernel closes its end, each child reads an end of file
/// and, started with `--exit-with-parent`, leaves too.
final class Lifeline: Sendable {
    /// The standard input of every child.
    let readEnd: FileDescriptor
    private let writeEnd: Mutex<FileDescriptor?>

    /// - Throws: When no pipe can be made.
    init() throws {
        let pipe = try FileDescriptor.pipe()
        // A child that held the writing end would keep all others alive.
        for end in [pipe.readEnd, pipe.writeEnd] { _ = fcntl(end.rawValue, F_SETFD, FD_CLOEXEC) }
        self.readEnd = pipe.readEnd
        self.writeEnd = Mutex(pipe.writeEnd)
    }

    deinit {
        self.cut()
        try? self.readEnd.close()
    }

    /// What the end of the demo does: every child reads an end of file.
    func cut() {
        self.writeEnd.withLock { end in
            try? end?.close()
            end = nil
        }
    }
}
