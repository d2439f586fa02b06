import AsyncHTTPClient
import FleetModel
import Foundation
import NIOCore
import NIOPosix
import Synchronization
import UnixSignals

/// One run: start, load, report, end.
struct Demo: Sendable {
    let settings: DemoSettings
    let screen = Screen()

    /// How often the demo starts over when another program takes one of its ports.
    static let starts = 3

    private enum Finish {
        case run(Report?)
        case signal
    }

    /// Runs until the duration is over or a signal comes, prints the report and returns it; `nil` when a signal came
    /// before there was anything to report.
    ///
    /// - Throws: ``StartFailure`` and what the system refuses.
    func runUntilSignalled() async throws -> Report? {
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
        let report = try await withThrowingTaskGroup(of: Finish.self) { group in
            group.addTask {
                do { return .run(try await self.run()) } catch is CancellationError { return .run(nil) }
            }
            group.addTask {
                for await _ in signals { break }
                return .signal
            }
            // The first to finish is the run, or a signal, which cancels the run; what it has seen is still reported.
            var report: Report?
            while let finish = try await group.next() {
                group.cancelAll()
                if case .run(let finished) = finish { report = finished }
            }
            return report
        }
        guard let report else { return nil }
        if self.settings.wantsJSON {
            Screen.result(try report.json())
        } else {
            let clusters = self.settings.geography.regions.map(\.cluster.text)
            for line in [""] + report.text(clusters: clusters, failed: self.settings.failure?.region) {
                Screen.result(line)
            }
        }
        return report
    }

    private func run() async throws -> Report {
        let http = HTTPClient(
            eventLoopGroupProvider: .shared(MultiThreadedEventLoopGroup.singleton),
            configuration: ChatClient.configuration()
        )
        let outcome: Result<Report, any Error>
        do { outcome = .success(try await self.start(http)) } catch { outcome = .failure(error) }
        try? await http.shutdown()
        return try outcome.get()
    }

    private func start(_ http: HTTPClient) async throws -> Report {
        self.screen.note("logs in \(self.settings.directory)/logs")
        var start = 1
        while true {
            do {
                return try await self.runFleet(http)
            } catch let failure as StartFailure where failure.isPortTaken && start < Self.starts {
                start += 1
                self.screen.note("\(failure.child) found its port taken; starting over with other ports")
            }
        }
    }

    private func runFleet(_ http: HTTPClient) async throws -> Report {
        let layout = try await Layout.prepare(
            self.settings.geography,
            directory: self.settings.directory,
            on: MultiThreadedEventLoopGroup.singleton
        )
        let cast = Cast(layout: layout, policy: self.settings.policy)
        try cast.writeFiles()
        let losses = Losses()
        let supervisor = Supervisor(executable: self.settings.executable, lifeline: try Lifeline()) { child, how in
            losses.add(child.name)
            self.screen.note("\(child.name) \(how); its log: \(child.log)")
        }
        return try await withThrowingDiscardingTaskGroup { children in
            let readiness = Readiness(http: http, supervisor: supervisor, clock: LoadClock()) { self.screen.note($0) }
            for phase in [cast.first, cast.second] {
                for child in phase { children.addTask { await supervisor.run(child) } }
                try await readiness.wait(for: phase)
            }
            self.greet(layout)
            let report = await self.load(layout, cast, supervisor, http, losses)
            self.screen.note("ending \(supervisor.living) processes")
            children.cancelAll()
            return report
        }
    }

    private func load(
        _ layout: Layout,
        _ cast: Cast,
        _ supervisor: Supervisor,
        _ http: HTTPClient,
        _ losses: Losses
    ) async -> Report {
        let state = LoadState(seed: self.settings.seed)
        let client = ChatClient(
            http: http,
            geography: self.settings.geography,
            addresses: layout.gateways,
            state: state,
            clock: LoadClock()
        )
        let workload = Workload(
            self.settings.requests,
            rate: self.settings.rate,
            regions: self.settings.geography.regions,
            bursts: self.settings.bursts,
            seed: self.settings.seed
        )
        let poller = StatusPoller(http: http, layout: layout, state: state)
        await withDiscardingTaskGroup { helpers in
            helpers.addTask { await poller.run() }
            helpers.addTask { await self.show(state, poller, client.clock) }
            if let failure = self.settings.failure {
                helpers.addTask {
                    guard (try? await client.clock.sleep(until: failure.time)) != nil else { return }
                    let lost = (cast.first + cast.second).filter {
                        $0.region == failure.region && $0.name != Cast.hubName
                    }
                    state.ledger { $0.loseRegion(at: client.clock.now) }
                    supervisor.kill(lost.map(\.name))
                    self.screen.note("\(failure.region) is lost: killed its \(lost.count) processes")
                }
            }
            await LoadGenerator(client: client).run(workload, duration: self.settings.duration)
            helpers.cancelAll()
        }
        let ledger = state.ledger { $0 }
        var report = Report(
            ledger: ledger,
            durationSeconds: min(client.clock.now, self.settings.duration ?? .infinity),
            region: self.settings.geography.region(of:)
        )
        report.policy = self.settings.policy.rawValue
        report.seed = self.settings.seed
        report.plan = poller.current.plan
        report.lostProcesses = losses.names
        report.directory = self.settings.directory
        return report
    }

    /// Draws the live table until cancelled: in place on a terminal, a line every five seconds into a pipe.
    private func show(_ state: LoadState, _ poller: StatusPoller, _ clock: LoadClock) async {
        let pause: Duration = self.screen.isTerminal ? .milliseconds(500) : .seconds(5)
        while (try? await Task.sleep(for: pause)) != nil {
            let table = state.ledger { self.table($0, poller.current, now: clock.now) }
            if self.screen.isTerminal { self.screen.draw(table.lines()) } else { self.screen.note(table.line()) }
        }
        self.screen.release()
    }

    private func table(_ ledger: Ledger, _ status: FleetStatus, now: Seconds) -> LiveTable {
        let lost = ledger.failedAt == nil ? nil : self.settings.failure?.region
        let regions = self.settings.geography.regions
        return LiveTable(
            time: now,
            duration: self.settings.duration,
            policy: self.settings.policy.rawValue,
            plan: status.plan,
            planAge: status.planAge,
            requests: ledger.sent,
            inFlight: ledger.inFlight,
            failed: ledger.failed,
            retried: ledger.retried,
            interrupted: ledger.interrupted,
            clusters: regions.map(\.cluster.text),
            rows: regions.map { region in
                LiveTable.Row(
                    region: region.name,
                    isLost: region.name == lost,
                    recent: ledger.recent(of: region.name, now: now),
                    cluster: region.name == lost ? nil : status.clusters[region.cluster.text]
                )
            }
        )
    }

    /// Tells where the fleet can be reached.
    private func greet(_ layout: Layout) {
        var lines = ["", "OpenAI base URLs:"]
        lines += TextTable.lines(
            layout.geography.regions.map { region in
                ["  \(region.name)", "http://\(layout.sites[region.name]?.gateway.description ?? "-")/v1"]
            },
            leftColumns: 2
        )
        if let first = layout.geography.regions.first, let address = layout.sites[first.name]?.gateway {
            lines += [
                "Try:",
                "  curl -N http://\(address)/v1/chat/completions -H 'content-type: application/json' "
                    + #"-d '{"model":"\#(Geography.model)","stream":true,"max_tokens":16,"#
                    + #""messages":[{"role":"user","content":"hello"}]}'"#,
            ]
        }
        let end = self.settings.duration.map { "for \(Quantity.duration($0))" } ?? "until Ctrl-C"
        lines += ["", "sending requests \(end), seed \(self.settings.seed)"]
        for line in lines {
            if self.settings.wantsJSON { self.screen.note(line) } else { Screen.result(line) }
        }
    }
}

/// The children that ended by themselves.
private final class Losses: Sendable {
    private let list = Mutex<[String]>([])

    var names: [String] { self.list.withLock { $0 } }

    func add(_ name: String) { self.list.withLock { $0.append(name) } }
}
