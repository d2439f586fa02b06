package import EtcdCare
import Foundation
import Subprocess
import Synchronization
import SystemPackage

/// One etcd that runs as a child of this process, again when it is asked to.
package final class EtcdProcess: Sendable {
    /// How an etcd ended.
    package enum End: Hashable, Sendable, CustomStringConvertible {
        case exited(Int32)
        case killed(Int32)

        package var description: String {
            switch self {
            case .exited(let code): "exit code \(code)"
            case .killed(let signal): "signal \(signal)"
            }
        }
    }

    /// How long a member has to hand over and to end before it is killed.
    package static let grace = Duration.seconds(3)

    private struct State {
        var isStopped = false
        var stop: AsyncStream<Void>.Continuation?
    }

    private let program: EtcdProgram
    private let data: EtcdData
    private let state = Mutex(State())

    package init(program: EtcdProgram, data: EtcdData) {
        self.program = program
        self.data = data
    }

    /// Tells etcd to end, and kills it after ``grace``; none is started any more.
    package func stop() {
        self.state.withLock { state in
            state.isStopped = true
            state.stop?.yield()
        }
    }

    package var isStopped: Bool { self.state.withLock { $0.isStopped } }

    /// Runs etcd until it ends; also ends it when the task is cancelled, without listening to what it says then.
    ///
    /// - Parameters:
    ///   - launch: How.
    ///   - log: Takes every line that it writes.
    /// - Returns: How it ended.
    /// - Throws: When it cannot be started.
    package func run(_ launch: EtcdLaunch, log: @escaping @Sendable (EtcdLogLine) -> Void) async throws -> End {
        let (stops, stop) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.state.withLock { state in
            state.stop = stop
            if state.isStopped { stop.yield() }
        }
        var platform = PlatformOptions()
        platform.teardownSequence = [.gracefulShutDown(allowedDurationToNextStep: Self.grace)]
        // A signal of the terminal is for the hub, which then ends its member last.
        platform.processGroupID = 0
        let result = try await Subprocess.run(
            .path(FilePath(self.program.path)),
            arguments: Arguments(launch.arguments),
            platformOptions: platform,
            input: .none,
            output: .discarded,
            error: .sequence
        ) { execution in
            try self.data.remember(execution.processIdentifier.value)
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    for await _ in stops {
                        try? execution.send(signal: .terminate)
                        try? await Task.sleep(for: Self.grace)
                        if !Task.isCancelled { try? execution.send(signal: .kill) }
                        return
                    }
                }
                do {
                    for try await line in execution.standardError.strings() { log(EtcdLogLine(line)) }
                } catch {
                    // A line longer than any that etcd writes: the rest is not read, and the process is what counts.
                    log(EtcdLogLine("etcd's log cannot be read on: \(error)"))
                }
                group.cancelAll()
            }
        }
        self.data.forget()
        switch result.terminationStatus {
        case .exited(let code): return .exited(code)
        case .signaled(let signal): return .killed(signal)
        }
    }
}
