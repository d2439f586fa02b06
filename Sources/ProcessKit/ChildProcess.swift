import Foundation
import Subprocess
import Synchronization
import SystemPackage

/// A program that runs beside a test, which stops it by its process id and by nothing else.
package final class ChildProcess: Sendable {
    private let executable: String
    private let arguments: [String]
    /// Where its output goes, both streams.
    package let log: String
    private let pid = Mutex<pid_t?>(nil)

    package init(_ executable: String, _ arguments: [String], log: String) {
        self.executable = executable
        self.arguments = arguments
        self.log = log
    }

    /// Runs the program until it ends; SIGTERM when the task is cancelled, and SIGKILL eight seconds later.
    ///
    /// - Throws: When it cannot be started.
    package func run() async throws {
        let log = try FileDescriptor.open(
            FilePath(self.log),
            .writeOnly,
            options: [.create, .append, .closeOnExec],
            permissions: .ownerReadWrite
        )
        var platform = PlatformOptions()
        platform.teardownSequence = [.gracefulShutDown(allowedDurationToNextStep: .seconds(8))]
        _ = try await Subprocess.run(
            .path(FilePath(self.executable)),
            arguments: Arguments(self.arguments),
            platformOptions: platform,
            input: .none,
            output: .fileDescriptor(log, closeAfterSpawningProcess: true),
            error: .combinedWithOutput
        ) { execution in
            let pid = execution.processIdentifier.value
            self.pid.withLock { $0 = pid }
        }
        self.pid.withLock { $0 = nil }
    }

    /// Its number, while it runs.
    package var processIdentifier: Int32? { self.pid.withLock { $0 } }

    /// Whether it has been started and has not ended.
    package var isRunning: Bool { self.pid.withLock { $0 != nil } }

    /// Sends a signal, such as SIGKILL; nothing happens when it does not run.
    package func signal(_ signal: Int32) {
        self.pid.withLock { pid in
            if let pid { _ = kill(pid, signal) }
        }
    }

    /// The lines that it has written so far.
    package var lines: [String] {
        let text = (try? String(contentsOfFile: self.log, encoding: .utf8)) ?? ""
        return text.split(separator: "\n").map(String.init)
    }
}
