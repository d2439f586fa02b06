import FleetModel
import Foundation
import Subprocess
import Synchronization
import SystemPackage

/// Runs the demo's processes, and knows which of them live.
///
/// Each child is in a process group of its own, so that Ctrl-C reaches the demo alone, and reads from the ``Lifeline``.
final class Supervisor: Sendable {
    private struct Life: Sendable {
        var pid: pid_t?
        /// How it ended.
        var end: String?
        /// The demo ended it.
        var isExpected = false
    }

    /// How long a child may take to end after SIGTERM, before SIGKILL.
    static let grace: Duration = .seconds(3)

    private let executable: String
    private let lifeline: Lifeline
    private let lives = Mutex<[String: Life]>([:])
    /// Hears of each child that ended by itself.
    private let onLoss: @Sendable (Child, _ how: String) -> Void

    init(executable: String, lifeline: Lifeline, onLoss: @escaping @Sendable (Child, _ how: String) -> Void) {
        self.executable = executable
        self.lifeline = lifeline
        self.onLoss = onLoss
    }

    /// Runs a child until it ends; when the task is cancelled, ends it: SIGTERM, and SIGKILL after ``grace``.
    func run(_ child: Child) async {
        let how: String
        do {
            let log = try FileDescriptor.open(
                FilePath(child.log),
                .writeOnly,
                options: [.create, .append, .closeOnExec],
                permissions: [.ownerReadWrite, .groupRead, .otherRead]
            )
            var options = PlatformOptions()
            options.processGroupID = 0
            options.teardownSequence = [.gracefulShutDown(allowedDurationToNextStep: Self.grace)]
            let result = try await Subprocess.run(
                .path(FilePath(self.executable)),
                arguments: Arguments(child.arguments),
                platformOptions: options,
                input: .fileDescriptor(self.lifeline.readEnd, closeAfterSpawningProcess: false),
                output: .fileDescriptor(log, closeAfterSpawningProcess: true),
                error: .combinedWithOutput
            ) { execution in
                let pid = execution.processIdentifier.value
                self.lives.withLock { $0[child.name, default: Life()].pid = pid }
            }
            how =
                switch result.terminationStatus {
                case .exited(let code): "ended with exit code \(code)"
                case .signaled(let signal): "was ended by signal \(signal)"
                }
        } catch {
            how = "could not be started: \(error)"
        }
        let isExpected = self.lives.withLock { lives in
            lives[child.name, default: Life()].pid = nil
            lives[child.name, default: Life()].end = how
            return lives[child.name]?.isExpected ?? false
        }
        if !isExpected, !Task.isCancelled { self.onLoss(child, how) }
    }

    /// Kills children at once, as a lost region does: no goodbye.
    func kill(_ names: [String]) {
        self.lives.withLock { lives in
            for name in names {
                lives[name, default: Life()].isExpected = true
                // A process that has ended loses its pid here a moment after it was reaped; the kernel does not give
                // the number away again so soon.
                if let pid = lives[name]?.pid { Foundation.kill(pid, SIGKILL) }
            }
        }
    }

    /// How a child ended; `nil` while it lives.
    func end(of name: String) -> String? { self.lives.withLock { $0[name]?.end } }

    /// How many children live.
    var living: Int { self.lives.withLock { $0.values.count { $0.pid != nil } } }
}
