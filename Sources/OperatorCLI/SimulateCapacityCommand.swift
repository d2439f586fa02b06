import ArgumentParser
import EngineModel
import FleetSimulator
import Foundation
import WorkloadTraces

/// `isobar simulate capacity`: how well capacity is learned, as a table.
struct SimulateCapacityCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "capacity",
        abstract: "Compare the learned capacity of simulated engines with the true one.",
        discussion: """
            Each engine profile serves Poisson arrivals with the trace's lengths for 60 seconds, read five times a \
            second by what an agent has. Then the learned capacity is set against what the engine finishes when requests \
            never cease to wait. The table, in Markdown, has the mean error over the seeds in percent, and the least \
            and the greatest.
            """
    )

    @Option(name: .long, help: ArgumentHelp("An Azure CSV or a Mooncake JSONL file.", valueName: "file"))
    var trace: String

    @Option(name: .long, help: ArgumentHelp("Rows of the trace to leave out at its beginning.", valueName: "rows"))
    var skip = 0

    @Option(name: .long, help: ArgumentHelp("Requests are cut to so many tokens.", valueName: "tokens"))
    var longest = 16_384

    @Option(name: .long, help: ArgumentHelp("Arrivals over the true capacity, with commas.", valueName: "loads"))
    var loads = "0.3,0.5,0.7,0.85,0.95,1.05"

    @Option(name: .long, help: ArgumentHelp("The first seed.", valueName: "seed"))
    var seed: UInt64 = 101

    @Option(name: .long, help: ArgumentHelp("How many seeds.", valueName: "count"))
    var runs = 20

    @Option(name: .long, help: ArgumentHelp("Requests that each truth is measured on.", valueName: "count"))
    var counted = 4_000

    func validate() throws {
        guard (0...10_000_000).contains(self.skip) else { throw ValidationError("--skip: use 0 to 10000000 rows") }
        guard (16...1_000_000).contains(self.longest) else {
            throw ValidationError("--longest: use 16 to 1000000 tokens")
        }
        guard (1...1_000).contains(self.runs) else { throw ValidationError("--runs: use 1 to 1000") }
        guard (1...1_000_000).contains(self.counted) else { throw ValidationError("--counted: use 1 to 1000000") }
        guard self.wantedLoads != nil else {
            throw ValidationError("--loads: use numbers over 0, up to 10, with commas between them")
        }
    }

    private var wantedLoads: [Double]? {
        let texts = self.loads.split(separator: ",")
        let loads = texts.compactMap { Double($0) }.filter { $0 > 0 && $0 <= 10 }
        return loads.isEmpty || loads.count < texts.count ? nil : loads
    }

    /// Exit code 65 says that the trace is at fault.
    func run() throws {
        do {
            for line in try self.lines() { print(line) }
        } catch let error as TraceError {
            FileHandle.standardError.write(Data("isobar simulate capacity: \(error.description)\n".utf8))
            throw ExitCode(65)
        }
    }

    /// The table, line by line.
    func lines() throws -> [String] {
        var rows = try Trace.read(file: self.trace)
        guard rows.count > self.skip else {
            throw ValidationError("--skip: the trace has \(rows.count) requests; leave some")
        }
        rows.removeFirst(self.skip)
        _ = Trace.shorten(&rows, to: self.longest)
        let requests = rows.map { TrafficRequest(promptTokens: $0.promptTokens, outputTokens: $0.outputTokens) }
        let loads = self.wantedLoads ?? []
        var lines = [
            (["profile", "true req/s"] + loads.map { "load \($0)" }).markdownRow,
            Array(repeating: "---", count: loads.count + 2).markdownRow,
        ]
        for profile in EngineProfile.all {
            let truth = CapacityTrial.truth(profile, requests: requests, counted: self.counted)
            var cells = [profile.name, Self.number(truth, digits: 2)]
            for load in loads {
                let ratios = (0..<UInt64(self.runs)).compactMap { run in
                    CapacityTrial.ratio(profile, requests: requests, truth: truth, load: load, seed: self.seed + run)
                }
                cells.append(Self.cell(ratios))
            }
            lines.append(cells.markdownRow)
        }
        return lines
    }

    /// As in `+7 (+2 … +11)`, in percent; a run in which nothing was served has no estimate.
    private static func cell(_ ratios: [Double]) -> String {
        guard let least = ratios.min(), let most = ratios.max() else { return "unknown" }
        let mean = ratios.reduce(0, +) / Double(ratios.count)
        let (low, high) = (Self.percent(least), Self.percent(most))
        return "\(Self.percent(mean)) (\(low) … \(high))"
    }

    private static func percent(_ ratio: Double) -> String {
        let percent = Int(((ratio - 1) * 100).rounded())
        return percent < 0 ? "−\(-percent)" : "+\(percent)"
    }

    private static func number(_ value: Double, digits: Int) -> String { String(format: "%.\(digits)f", value) }
}

extension [String] {
    fileprivate var markdownRow: String { "| " + self.joined(separator: " | ") + " |" }
}
