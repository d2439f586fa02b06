package import ArgumentParser
import FleetModel
import Foundation
import WorkloadTraces

extension DemoPolicy: ExpressibleByArgument {}

/// How the report is written.
enum ReportFormat: String, ExpressibleByArgument, CaseIterable {
    case text, json
}

/// `isobar demo`: a fleet of three regions on this machine, with load.
package struct DemoCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Run three regions on this machine, with load, and watch requests find the free servers.",
        discussion: """
            Starts a hub and, in each of us-east, europe-west and asia-east, two model servers of different speed, an \
            agent and a gateway: real processes on loopback, with the round-trip times between regions added. Draws a \
            live table, prints the three OpenAI base URLs, and ends with a report. Ctrl-C ends every process.

            EXAMPLES
              isobar demo
              isobar demo --duration 40s --burst us-east=2.0@10s+20s
              isobar demo --duration 40s --fail europe-west@15s -o json
              isobar demo --trace testenv/traces/azure2023_conv_2000.csv --rate 8 --policy nearest --duration 1m
            """
    )

    @Option(help: ArgumentHelp("Replay this trace: an Azure CSV or a Mooncake JSONL file.", valueName: "file"))
    var trace: String?

    @Option(
        help: ArgumentHelp(
            "Requests per second over all regions. Default: the trace's own times, or 6.5 without a trace.",
            valueName: "n"
        )
    )
    var rate: Double?

    @Option(
        help: ArgumentHelp("Multiply a region's requests for a while: REGION=2.0@10s+20s.", valueName: "burst"),
        transform: DemoOptions.burst
    )
    var burst: [Burst] = []

    @Option(
        help: ArgumentHelp("Kill every process of a region: REGION@15s.", valueName: "failure"),
        transform: DemoOptions.failure
    )
    var fail: RegionFailure?

    @Option(
        help: ArgumentHelp("Set a round-trip time: REGION/REGION=200ms.", valueName: "time"),
        transform: DemoOptions.roundTrip
    )
    var rtt: [(pair: RegionPair, seconds: Seconds)] = []

    @Option(
        help: ArgumentHelp("How long to send requests, such as 40s; 0 is until Ctrl-C.", valueName: "time"),
        transform: DemoOptions.duration
    )
    var duration: Seconds = 0

    @Option(help: "How gateways choose: ours, nearest or round-robin.")
    var policy = DemoPolicy.ours

    @Option(help: "The seed of the load: the same seed sends the same requests.")
    var seed: UInt64 = 1

    @Option(help: ArgumentHelp("Where logs and configurations go. Default: a new folder.", valueName: "folder"))
    var directory: String?

    @Option(name: .shortAndLong, help: "The report: text, or json on the last line of standard output.")
    var output = ReportFormat.text

    package init() {}

    package func validate() throws {
        if let rate, !(rate > 0 && rate <= 1_000) {
            throw ValidationError("--rate \(rate) is not a rate; give requests per second, above 0 and at most 1000")
        }
        if let fail, self.duration > 0, fail.time >= self.duration {
            throw ValidationError(
                "--fail \(fail.region)@\(fail.time)s comes after the end; give a --duration longer than that"
            )
        }
    }

    package func run() async throws {
        let demo = Demo(settings: try self.settings())
        guard let report = try await demo.runUntilSignalled() else { throw ExitCode(130) }
        if !report.lostProcesses.isEmpty { throw ExitCode.failure }
    }

    private func settings() throws -> DemoSettings {
        let requests: Workload.Requests = if let trace { .trace(try Self.rows(of: trace)) } else { .synthetic }
        var settings = DemoSettings(
            policy: self.policy,
            requests: requests,
            rate: self.rate,
            bursts: self.burst,
            failure: self.fail,
            duration: self.duration > 0 ? self.duration : nil,
            seed: self.seed,
            directory: try Self.folder(self.directory),
            executable: Self.ownExecutable(),
            wantsJSON: self.output == .json
        )
        for (pair, seconds) in self.rtt { settings.geography.setRoundTrip(pair, seconds) }
        return settings
    }

    private static func rows(of trace: String) throws -> [TraceRow] {
        var rows = try Trace.read(file: trace)
        let cut = Trace.shorten(&rows, to: Geography.longestRequest)
        if cut > 0 {
            let limit = Geography.longestRequest
            Screen().note(
                "\(cut) of \(rows.count) requests are longer than \(limit) tokens; their prompts are cut to that"
            )
        }
        return rows
    }

    private static func folder(_ given: String?) throws -> String {
        let path =
            given.map { URL(fileURLWithPath: $0).path }
            ?? FileManager.default.temporaryDirectory
            .appendingPathComponent("isobar-demo-\(ProcessInfo.processInfo.processIdentifier)").path
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw OptionError("cannot make the folder \(path); name one that can be written with --directory")
        }
        return path
    }

    /// The children are this very program, also after its file was moved or is not in the path.
    private static func ownExecutable() -> String {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
    }
}
