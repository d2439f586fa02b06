import FleetModel
import Foundation
import Logging
import ServiceLifecycle
import Synchronization

/// What was made of files, made anew when they change: files that cannot be used are counted, and those in use stay.
final class WatchedFiles<Value: Sendable>: Service {
    struct Loaded: Sendable {
        let value: Value
        /// The bytes of the files, to see that they have changed.
        let bytes: [[UInt8]]
    }

    private struct State {
        var loaded: Loaded
        var reloads: UInt64 = 0
        var failures: UInt64 = 0
    }

    private let name: String
    private let load: @Sendable () throws(LinkFilesFault) -> Loaded
    private let logger: Logger
    private let state: Mutex<State>

    /// - Parameters:
    ///   - name: What the files are for, in the log.
    ///   - logger: Told of what was reloaded and what was not.
    ///   - load: Reads the files.
    /// - Throws: ``LinkFilesFault`` when they cannot be used now.
    init(
        _ name: String,
        logger: Logger,
        load: @escaping @Sendable () throws(LinkFilesFault) -> Loaded
    ) throws(LinkFilesFault) {
        self.name = name
        self.logger = logger
        self.load = load
        self.state = Mutex(State(loaded: try load()))
    }

    var value: Value { self.state.withLock { $0.loaded.value } }
    var reloads: UInt64 { self.state.withLock { $0.reloads } }
    var failures: UInt64 { self.state.withLock { $0.failures } }

    /// Looks at the files every ``LinkCredentials/lookPeriod`` until a graceful shutdown.
    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                try? await Task.sleep(for: .seconds(LinkCredentials.lookPeriod))
                self.look()
            }
        }
    }

    /// Takes the files as they are now, if they have changed.
    func look() {
        do throws(LinkFilesFault) {
            let fresh = try self.load()
            let isNew = self.state.withLock { state in
                guard state.loaded.bytes != fresh.bytes else { return false }
                state.loaded = fresh
                state.reloads += 1
                return true
            }
            if isNew { self.logger.info("certificate reloaded", metadata: ["for": "\(self.name)"]) }
        } catch {
            self.state.withLock { $0.failures += 1 }
            self.logger.error(
                "certificate not reloaded",
                metadata: ["for": "\(self.name)", "reason": "\(error)"]
            )
        }
    }
}
