import EngineModel
import Foundation
import Hummingbird
import HummingbirdCore
package import Logging
import NIOCore
import ServiceLifecycle

/// Why the server could not begin; it names the option to change.
package struct EngineStartError: Error, Hashable, CustomStringConvertible {
    package let description: String
}

/// A simulated model server: the engine model behind real HTTP.
package struct EngineServer: Service {
    private let options: EngineOptions
    private let logger: Logger
    private let onListening: @Sendable (Int) -> Void

    /// Makes a server; `onListening` is called once with the bound port, after the port file is written.
    package init(options: EngineOptions, logger: Logger, onListening: @escaping @Sendable (Int) -> Void = { _ in }) {
        self.options = options
        self.logger = logger
        self.onListening = onListening
    }

    /// Serves until a graceful shutdown, after which the answers in flight are finished, or until cancelled.
    ///
    /// - Throws: ``EngineStartError`` when it cannot listen or write the port file.
    package func run() async throws {
        let (ports, bound) = AsyncStream.makeStream(of: Int.self, bufferingPolicy: .bufferingNewest(1))
        let application = try self.application { bound.yield($0) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                defer { bound.finish() }
                do {
                    try await application.run()
                } catch let error as IOError {
                    throw self.explain(error)
                }
            }
            group.addTask {
                for await port in ports { try self.announce(port) }
            }
            // Not waitForAll(), which would go on serving after the port file could not be written.
            while try await group.next() != nil {}
        }
    }

    private func application(
        onBound: @escaping @Sendable (Int) -> Void
    ) throws(EngineStartError) -> some ApplicationProtocol {
        var log: RequestLog?
        if let path = self.options.requestLog { log = try RequestLog(path: path) }
        let shell = EngineShell(profile: self.options.profile, log: log)
        var quiet = self.logger
        quiet.logLevel = max(quiet.logLevel, .warning)
        return Application(
            router: EngineAPI(options: self.options, shell: shell).router(),
            server: .http1(
                configuration: .init(
                    additionalChannelHandlers: [DisconnectHandler(onDisconnect: shell.connectionClosed)]
                )
            ),
            configuration: ApplicationConfiguration(
                address: .hostname(self.options.host, port: self.options.port),
                backlog: 1_024
            ),
            services: [shell],
            onServerRunning: { channel in onBound(channel.localAddress?.port ?? self.options.port) },
            logger: quiet
        )
    }

    private func announce(_ port: Int) throws(EngineStartError) {
        if let file = self.options.portFile {
            do {
                try Data("\(port)\n".utf8).write(to: URL(filePath: file), options: .atomic)
            } catch {
                throw EngineStartError(
                    description: "cannot write the port to --port-file \(file): \(error.localizedDescription)"
                )
            }
        }
        self.logger.info(
            "listening",
            metadata: [
                "host": "\(self.options.host)", "port": "\(port)", "model": "\(self.options.model)",
                "profile": "\(self.options.profile.name)",
            ]
        )
        self.onListening(port)
    }

    private func explain(_ error: IOError) -> EngineStartError {
        let (host, port) = (self.options.host, self.options.port)
        return switch error.errnoCode {
        case EADDRINUSE:
            EngineStartError(
                description:
                    "port \(port) on \(host) is in use: choose another with --port, or any free one with --port 0"
            )
        default:
            EngineStartError(description: "cannot listen on --host \(host) --port \(port): \(error)")
        }
    }
}
