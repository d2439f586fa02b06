package import ArgumentParser
import FleetModel
import Foundation
import OperatorLink
import PlanStream
import ProgramShell
import WeightSolver
import WireProtocol

/// `isobar plan`: the generations that the hub keeps.
package struct PlanCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Look at plans: what they say, what moved, why, and whether they are solved the same again.",
        discussion: """
            The hub keeps the last 60 generations, and before them the last 400 in which something happened. A plan is \
            named by its generation, such as 1207; left out it is the newest.
            """,
        subcommands: [
            PlanHistoryCommand.self, PlanShowCommand.self, PlanDiffCommand.self, PlanWhyCommand.self,
            PlanReplayCommand.self,
        ]
    )

    package init() {}
}

/// The number of a generation, also written as a version, as in `3.1207`.
struct Generation: ExpressibleByArgument {
    let number: UInt64

    init(number: UInt64) { self.number = number }

    init?(argument: String) {
        guard let last = argument.split(separator: ".").last, let number = UInt64(last) else { return nil }
        self.number = number
    }

    var request: Isobar_V1_RecallRequest {
        var request = Isobar_V1_RecallRequest()
        request.generation = self.number
        return request
    }
}

/// `isobar plan history`.
struct PlanHistoryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history",
        abstract: "Show the generations in which something happened, the newest first."
    )

    @Flag(help: "Also those in which nothing happened.")
    var all = false
    @Option(help: ArgumentHelp("How many.", valueName: "count"))
    var limit = 20
    @Option(name: .shortAndLong, help: "text or json.")
    var output: ChangeOutput = .text
    @OptionGroup var hub: HubOptions

    func run() async throws {
        try await self.hub.ask("plan history") { client in
            var answer = try await client.history(Isobar_V1_HistoryRequest())
            let known = answer.plans.count
            answer.plans = Array(answer.plans.filter { self.all || !$0.what.isEmpty }.prefix(self.limit))
            if self.output == .json { return print(try Answers.json(answer)) }
            guard !answer.plans.isEmpty else { return print("No plan is kept yet.") }
            let rows = answer.plans.map { plan in
                [
                    plan.version.model.description, Figure.ago(unixMs: plan.madeUnixMs), Figure.rate(plan.demand),
                    plan.demand >= PlanText.leastDemand ? Figure.seconds(plan.cost) : "–",
                    "\(plan.excluded)/\(plan.clusters)", Figure.known(plan.what),
                ]
            }
            let head = ["PLAN", "AGE>", "DEMAND>", "COST>", "OUT>", "WHAT HAPPENED"]
            print(Columns.lines(head, rows).joined(separator: "\n"))
            if known > answer.plans.count {
                print("\(answer.plans.count) of \(known) kept; more with --limit N, the quiet ones too with --all")
            }
        }
    }
}

/// `isobar plan show`.
struct PlanShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show a plan: what it was made from and its weights."
    )

    @Argument(help: ArgumentHelp("The generation; the newest when left out.", valueName: "generation"))
    var generation = Generation(number: 0)
    @Option(help: ArgumentHelp("Only this pool.", valueName: "pool"))
    var pool: String?
    @Flag(help: "Also bands without requests.")
    var all = false
    @Option(name: .shortAndLong, help: "text or json.")
    var output: ChangeOutput = .text
    @OptionGroup var hub: HubOptions

    func run() async throws {
        try await self.hub.ask("plan show") { client in
            let kept = try await client.recall(self.generation.request)
            if self.output == .json { return print(try Answers.json(kept)) }
            print(try PlanText(kept).lines(pool: self.pool, all: self.all).joined(separator: "\n"))
        }
    }
}

/// `isobar plan diff`.
struct PlanDiffCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Show which weights and states differ between two plans."
    )

    @Argument(help: ArgumentHelp("The earlier generation.", valueName: "from"))
    var from: Generation
    @Argument(help: ArgumentHelp("The later generation; the newest when left out.", valueName: "to"))
    var to = Generation(number: 0)
    @Option(name: .shortAndLong, help: "text or json.")
    var output: ChangeOutput = .text
    @OptionGroup var hub: HubOptions

    func run() async throws {
        try await self.hub.ask("plan diff") { client in
            let before = try await client.recall(self.from.request)
            let after = try await client.recall(self.to.request)
            let difference = PlanDifference(from: try PlanText(before), to: try PlanText(after))
            print(self.output == .json ? try difference.json() : difference.lines.joined(separator: "\n"))
        }
    }
}

/// `isobar plan why`.
struct PlanWhyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "why",
        abstract: "Say why a weight is what it is: solved again from what the hub kept, with the solver's reasons.",
        discussion: "For example: isobar plan why us-east/europe-west-a"
    )

    @Argument(help: ArgumentHelp("The source region and the cluster.", valueName: "region/cluster"))
    var pair: String
    @Argument(help: ArgumentHelp("The generation; the newest when left out.", valueName: "generation"))
    var generation = Generation(number: 0)
    @Option(help: ArgumentHelp("The pool, where there are several.", valueName: "pool"))
    var pool: String?
    @Option(help: ArgumentHelp("premium, standard or batch; those with requests when left out.", valueName: "band"))
    var band: String?
    @Option(name: .shortAndLong, help: "text or json.")
    var output: ChangeOutput = .text
    @OptionGroup var hub: HubOptions

    func run() async throws {
        try await self.hub.ask("plan why") { client in
            let kept = try await client.recall(self.generation.request)
            let why = try PlanReasons(PlanText(kept), pair: self.pair, pool: self.pool, band: self.band)
            print(self.output == .json ? try why.json() : why.lines.joined(separator: "\n"))
        }
    }
}

/// `isobar plan replay`.
struct PlanReplayCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Solve a plan again, here, from what the hub kept: the same bytes, or what differs.",
        discussion: "Exit codes: 0 the same, 2 not the same, 69 no hub."
    )

    @Argument(help: ArgumentHelp("The generation; the newest when left out.", valueName: "generation"))
    var generation = Generation(number: 0)
    @Option(name: .shortAndLong, help: "text or json.")
    var output: ChangeOutput = .text
    @OptionGroup var hub: HubOptions

    func run() async throws {
        try await self.hub.ask("plan replay") { client in
            let replay = try PlanReplay(PlanText(try await client.recall(self.generation.request)))
            print(self.output == .json ? try replay.json() : replay.lines.joined(separator: "\n"))
            if !replay.isSame { throw Answers.notable }
        }
    }
}
