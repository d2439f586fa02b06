import EtcdCare
import EtcdProcess
import FleetModel
import Logging
import Observability
import ServiceLifecycle
import StateStore
import StateStoreEtcd

/// Runs the etcd member beside this hub, from before the hub reads its state until after it has given everything back.
struct MemberKeeper: Service {
    /// From question to question, while the member may not start yet, in seconds.
    static let askPause: Seconds = 0.25

    let settings: EtcdLaunch.Settings
    let program: String
    let store: EtcdStore
    let hub: Hub
    let clock: MonotonicClock

    private static let logger = Logger(label: "isobar.etcd")

    func run() async throws {
        let program = try await EtcdProgram.find(self.program)
        let data = try EtcdData(path: self.settings.data)
        Self.logger.info(
            "etcd found",
            metadata: ["program": "\(program.path)", "version": "\(program.version)", "data": "\(data.path)"]
        )
        if await data.endLeftBehind() {
            Self.logger.notice("an etcd was left behind by a hub that was killed; it has been ended")
        }
        let etcd = EtcdProcess(program: program, data: data)
        try await withGracefulShutdownHandler {
            var pauses = RestartPause()
            while !Task.isCancelled, !etcd.isStopped {
                guard let launch = try await self.launch(data, until: { etcd.isStopped }) else { return }
                let began = self.clock.now
                let end = try await etcd.run(launch, log: Self.pass)
                if Task.isCancelled || etcd.isStopped { return }
                let pause = pauses.pause(ran: self.clock.now - began)
                self.hub.withState { $0.counts.memberRestarts += 1 }
                Self.logger.error(
                    "etcd has ended by itself, and is started again",
                    metadata: ["end": "\(end)", "in_seconds": "\(pause)"]
                )
                try? await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(pause)) }
            }
        } onGracefulShutdown: {
            etcd.stop()
        }
    }

    /// Finds out how the member is to be started, and does what has to be done in the cluster before.
    ///
    /// - Returns: `nil` when the program is to end before that.
    /// - Throws: ``ManagedEtcdFault`` when an operator has to do something.
    private func launch(_ data: EtcdData, until isOver: () -> Bool) async throws -> EtcdLaunch? {
        let start = MemberStart(self.settings)
        let others = self.settings.sites.filter { $0 != self.settings.site }
        let began = self.clock.now
        var failed: String?
        while !Task.isCancelled, !isOver() {
            let answers = await withTaskGroup(of: MemberStart.Answer.self) { group in
                for site in others {
                    group.addTask {
                        await self.store.members(asking: site.client).map { .members($0) } ?? .silent
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            do throws(StoreError) {
                switch start.next(hasData: data.isUsed, answers: answers, waited: self.clock.now - began) {
                case .start(let launch):
                    Self.logger.notice(
                        "etcd starts",
                        metadata: ["cluster": "\(launch.state)", "members": "\(launch.members.map(\.name))"]
                    )
                    return launch
                case .wait: break
                case .remove(let id):
                    try await self.store.remove(member: id)
                    Self.logger.notice("this replica's member has lost its data: the cluster has forgotten it")
                case .add(let peer):
                    try await self.store.add(peer: peer)
                    Self.logger.notice("the cluster has taken a new member", metadata: ["peer": "\(peer)"])
                case .refuse(let reason):
                    throw StoreError(operation: "", reason: reason, kind: .taken)
                }
            } catch {
                if error.kind == .taken { throw ManagedEtcdFault(field: "managedEtcd", reason: error.reason) }
                if failed != error.reason, !Task.isCancelled {
                    Self.logger.warning("the cluster does not take the member yet", metadata: ["reason": "\(error)"])
                    failed = error.reason
                }
            }
            try? await Task.sleep(for: .seconds(Self.askPause))
        }
        return nil
    }

    /// Passes on what etcd logs, less loudly: it warns of every connection, and tells of everything else at each start.
    @Sendable private static func pass(_ line: EtcdLogLine) {
        let level: Logger.Level =
            switch line.level {
            case .debug: .trace
            case .info: .debug
            case .warn: .info
            case .error: .warning
            case .panic, .fatal: .critical
            }
        self.logger.log(level: level, "\(line.message)", metadata: line.fields.mapValues { "\($0)" })
    }
}
