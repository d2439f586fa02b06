import ArgumentParser
import ConfigurationFiles
import FleetModel
import FleetSimulator
import Foundation
import WorkloadTraces

/// `isobar simulate fleet`: one world, one trace, one load, any policies.
struct SimulateFleetCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fleet",
        abstract: "Compare routing policies on the same requests in a simulated fleet.",
        discussion: Self.fields
    )

    enum Output: String, ExpressibleByArgument, CaseIterable {
        case json, table
    }

    @Option(name: .long, help: ArgumentHelp("The fleet, as YAML or JSON.", valueName: "file"))
    var world: String

    @Option(name: .long, help: ArgumentHelp("An Azure CSV or a Mooncake JSONL file.", valueName: "file"))
    var trace: String

    @Option(name: .long, help: ArgumentHelp("A policy's name, several with commas, or all.", valueName: "name"))
    var policy = "all"

    @Option(name: .long, help: "Requests over what all engines can truly finish.")
    var load = 0.85

    @Option(name: .long, help: "The same seed gives the same bytes.")
    var seed: UInt64 = 1

    @Option(name: .long, help: "trace: the trace's own times, stretched to the load; poisson: at random.")
    var arrivals = ArrivalProcess.trace

    @Option(name: .long, help: ArgumentHelp("How many requests are measured.", valueName: "count"))
    var requests = 20_000

    @Option(name: .long, help: ArgumentHelp("How long the fleet learns before requests count.", valueName: "seconds"))
    var warmup = 120.0

    @Option(
        name: .long,
        help: ArgumentHelp("What happens, as in \"150s burst us-east 2 20s\"; may be given often.", valueName: "event")
    )
    var event: [String] = []

    @Option(name: .shortAndLong, help: "json or table.")
    var output = Output.table

    func validate() throws {
        guard self.load > 0, self.load <= 10 else { throw ValidationError("--load: use a number over 0, up to 10") }
        guard (1...100_000_000).contains(self.requests) else {
            throw ValidationError("--requests: use a whole number from 1 to 100000000")
        }
        guard (0...86_400).contains(self.warmup) else { throw ValidationError("--warmup: use 0 to 86400 seconds") }
    }

    /// Exit code 65 says that a file or an event is at fault.
    func run() throws {
        do {
            let comparison = try self.comparison()
            let report = SimulationReport(comparison, outcomes: self.runs(of: comparison))
            print(self.output == .json ? try report.json() : report.table)
        } catch let error as any CustomStringConvertible & Error
            where error is ConfigurationError || error is TraceError || error is UnknownPolicy
            || error is FleetEventError
        {
            FileHandle.standardError.write(Data("isobar simulate fleet: \(error.description)\n".utf8))
            throw ExitCode(65)
        }
    }

    /// Everything that the options say, read and checked.
    func comparison() throws -> FleetComparison {
        let file = try WorldFile(file: self.world)
        var rows = try Trace.read(file: self.trace)
        let cut = Trace.shorten(&rows, to: file.longestRequest)
        if cut > 0 { Self.note("\(cut) of \(rows.count) requests are cut to \(file.longestRequest) tokens") }
        var events: [TimedEvent] = []
        for text in self.event {
            let event = try TimedEvent(text)
            try file.world.check(event.event)
            events.append(event)
        }
        let policies =
            try self.policy == "all"
            ? SimulationPolicy.allCases
            : self.policy.split(separator: ",").map { try SimulationPolicy(named: String($0)) }
        return FleetComparison(
            world: file.world,
            requests: rows.map {
                TrafficRequest(
                    at: $0.time,
                    promptTokens: $0.promptTokens,
                    outputTokens: $0.outputTokens,
                    blocks: $0.blocks
                )
            },
            policies: policies,
            load: self.load,
            measured: self.requests,
            warmup: self.warmup,
            events: events.sorted { $0.at < $1.at },
            arrivals: self.arrivals,
            seed: self.seed
        )
    }

    private func runs(of comparison: FleetComparison) -> [PolicyOutcome] {
        comparison.policies.map { policy in
            var run = comparison.run(policy)
            let step = max(1, run.end / 50)
            while !run.isDone {
                run.advance(to: run.now + step)
                Self.progress("\(policy.rawValue): \(run.sent) requests sent, \(Int(run.now)) of \(Int(run.end)) s")
            }
            Self.progress("")
            return run.outcome
        }
    }

    private static func note(_ text: String) {
        FileHandle.standardError.write(Data("\(text)\n".utf8))
    }

    /// One line that replaces itself, on a terminal only.
    private static func progress(_ text: String) {
        guard isatty(STDERR_FILENO) == 1 else { return }
        FileHandle.standardError.write(Data("\r\u{1B}[K\(text)".utf8))
    }
}

extension ArrivalProcess: ExpressibleByArgument {}

extension SimulateFleetCommand {
    static let fields = """
        Requests arrive at LOAD times what all engines can truly finish (measured on the engine model with the trace's \
        own requests): at the trace's times, stretched alike, from a place in it that the seed draws, or with \
        --arrivals poisson at random. Lengths and prefixes are the trace's, in its order.

        The world is one YAML mapping; times are in seconds:

        regions              [{…}] with
          name               required
          demand             how many clients it has, relative to others; 1
          zone               hours that its clock is ahead of UTC; longitude/15, or 0
          latitude, longitude   in degrees: gives round trips
          gateways           replicas; 2
        links                [{between: "A B", roundTrip}]; required for regions without a place
        clusters             [{…}] with
          name, region       required
          profile            required: the engine's model and hardware, as in isobar engine --profile
          engines            1
          maxNumSeqs         sequences that run at once; the profile's
          speed              1
        bands                [{name: premium|standard|batch, share, objective}]; all standard, 1 s
        hour, swing          UTC hour, and a of 1 + a·cos(2π(local hour − 14)/24) by which demand follows the day; 14, 0
        hub                  the region of the hub; the first
        prefixUnitTokens     tokens of one block of the trace; 512
        longestRequest       longer requests are cut; 131072

        Events: fail REGION, restore REGION, fail-cluster CLUSTER, restore-cluster CLUSTER, drain CLUSTER, \
        undrain CLUSTER, rollout CLUSTER SECONDSs, burst REGION FACTOR SECONDSs, hub-down, hub-up, \
        digest-delay SECONDSs, digest-loss SHARE, capacity-error SHARE; each after its time, as in "150s drain eu-a". \
        Requests count from the end of the warm-up.

        Policies: \(SimulationPolicy.allCases.map(\.rawValue).joined(separator: ", ")).

        The bound is a mean time to first token that no policy can beat which is done as early as the slowest one \
        here: every request prefills alone on the best engine that engine time allows, and never queues.
        """
}
