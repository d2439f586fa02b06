import ArgumentParser
import Foundation
import Logging
import Observability
package import ServiceLifecycle
import UnixSignals

extension LogFormat: ExpressibleByArgument {}

/// A log level as it is written on the command line.
enum LogLevel: String, ExpressibleByArgument, CaseIterable {
    case trace, debug, info, notice, warning, error, critical
}

/// What every long-running command takes.
package struct RunOptions: ParsableArguments {
    @Option(help: "How to write the log: json, text, or auto (text on a terminal, json elsewhere).")
    var logFormat: LogFormat = .auto

    @Option(help: "What to log: trace, debug, info, notice, warning, error or critical.")
    var logLevel: LogLevel = .info

    @Flag(help: "End when standard input ends: a child does not outlive the program that started it.")
    var exitWithParent = false

    package init() {}

    /// Sets up the log and runs the services until a signal, or until one of them fails.
    ///
    /// SIGTERM and SIGINT shut down gracefully: what is in flight finishes, within five seconds; what still runs 20
    /// seconds later is ended by force.
    ///
    /// - Parameters:
    ///   - command: The command's name, for the line that says why it ended.
    ///   - make: Makes the services in order of dependency; they end in reverse.
    /// - Throws: `ExitCode` after the reason has been written to standard error.
    package func run(_ command: String, _ make: () throws -> [any Service]) async throws {
        Logs.bootstrap(format: self.logFormat, level: Logger.Level(rawValue: self.logLevel.rawValue) ?? .info)
        FileLimit.raise()
        try await Failures.reporting(command) {
            var services = try make()
            if self.exitWithParent { services.append(ParentWatch()) }
            var configuration = ServiceGroupConfiguration(
                services: services.map { service in
                    .init(
                        service: service,
                        successTerminationBehavior: .gracefullyShutdownGroup,
                        failureTerminationBehavior: .cancelGroup
                    )
                },
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: Logger(label: "isobar.\(command)")
            )
            configuration.maximumGracefulShutdownDuration = .seconds(5)
            // What then still runs is a fault, and a program that does not end is worse than one that says so.
            configuration.maximumCancellationDuration = .seconds(20)
            try await ServiceGroup(configuration: configuration).run()
        }
    }
}

/// Ends when standard input does.
private struct ParentWatch: Service {
    func run() async throws {
        let (ends, end) = AsyncStream.makeStream(of: Void.self)
        // A thread of its own, since a read of a pipe blocks; it ends with the process at the latest.
        let thread = Thread {
            var byte: UInt8 = 0
            while read(STDIN_FILENO, &byte, 1) > 0 {}
            end.finish()
        }
        thread.start()
        await cancelWhenGracefulShutdown {
            for await _ in ends {}
        }
    }
}
