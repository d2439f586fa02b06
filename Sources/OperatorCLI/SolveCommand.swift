package import ArgumentParser
import FleetModel
import Foundation
import WeightSolver

/// `isobar solve`: the solver alone, on a problem in a file.
package struct SolveCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "solve",
        abstract: "Solve one pool's weights from a problem file, and say why they are what they are.",
        discussion: Self.fields
    )

    enum Output: String, ExpressibleByArgument, CaseIterable {
        case json, table
    }

    @Option(name: .long, help: ArgumentHelp("The problem, as JSON; - reads it from standard input.", valueName: "file"))
    var problem: String

    @Option(name: .shortAndLong, help: "json, or a table to read. Default json, and table with --explain.")
    var output: Output?

    @Option(
        name: .long,
        help: ArgumentHelp("Give the reasons for this pair only.", valueName: "source/cluster")
    )
    var explain: String?

    package init() {}

    /// Exit code 65 says that the problem is at fault, 66 that there is none.
    package func run() throws {
        let data: Data
        do {
            data =
                self.problem == "-"
                ? try FileHandle.standardInput.readToEnd() ?? Data()
                : try Data(contentsOf: URL(fileURLWithPath: self.problem))
        } catch {
            throw Self.failure("cannot read \(self.problem): give a file that exists and can be read", code: 66)
        }
        do {
            print(try self.report(on: data))
        } catch let error as ProblemError {
            throw Self.failure("\(self.problem): \(error)", code: 65)
        }
    }

    /// What is printed for a problem.
    ///
    /// - Throws: ``ProblemError`` that names the place and the fix.
    func report(on data: Data) throws -> String {
        let file = try ProblemFile(json: data)
        var solver = Solver()
        var memory = file.memory
        var report = SolveReport(answer: solver.solve(file.problem, memory: &memory))
        report.explained = try self.explain.map { try Self.pair($0, in: file.problem) }
        switch self.output ?? (self.explain == nil ? .json : .table) {
        case .json: return try report.json()
        case .table: return report.table
        }
    }

    private static func pair(
        _ text: String,
        in problem: SolverProblem
    ) throws(ProblemError) -> (source: Int, cluster: Int) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2,
            let source = problem.sources.firstIndex(where: { $0.region.text == parts[0] }),
            let cluster = problem.clusters.firstIndex(where: { $0.name.text == parts[1] })
        else {
            throw ProblemError(
                path: "--explain \(text)",
                fix: "use SOURCE/CLUSTER with a source's region and a cluster's name from the problem"
            )
        }
        return (source, cluster)
    }

    private static func failure(_ text: String, code: Int32) -> ExitCode {
        FileHandle.standardError.write(Data("isobar solve: \(text)\n".utf8))
        return ExitCode(code)
    }
}

extension SolveCommand {
    static let fields = """
        The problem is one JSON object; rates are in requests per second, times in seconds, shares from 0 to 1. NaN \
        and null mean unknown. Unknown fields are refused.

        pool                 any text; the solver does not look at it
        sources              [{"region", "demand": {"premium", "standard", "batch"}}]; demand defaults to 0
        clusters             [{…}] with
          name, region       required
          capacity           unknown: per server what the slowest known cluster has; if none is known, enough for \
        all demand at 70 % load
          servers            N of the delay curve, at least 1; default 1
          unloadedTTFT       unknown: the longest known, else 0.2
          queueScale         q of the delay curve; unknown: 1/capacity
          kvUse              0 to 1; unknown: no limit
          state              active (default), draining or down
          digestAge          default 0
          itl, itlSlope      seconds a token when idle, and added at full load; default 0, not counted
        rtt                  {"from": {"to": seconds}}; one direction stands for both; Infinity: no way
        egress               {"from": {"to": cost of a request}}; default 0
        residency            {"source": ["region", …]} where its requests may run; default everywhere
        outputTokens         mean output tokens a request, for itl; default 0
        previous             {"band": {"source": {"cluster": weight}}} in force; default none: no step limit applies
        policy               {…} with (bands: one number, or one a band)
          epsilon            smoothing, seconds; {"premium": 0.005, "standard": 0.010, "batch": 0.025}
          floor              least weight of an allowed cluster; bands; 0.005
          floorBudget        most that all floors of a row take, the nearest clusters first; 0.10
          maxRemoteShare     most that leaves the source's region; bands; 1
          stepLimit          most that a weight moves, or {"largest": 0.10, "fraction": 0.5}; false: the unlimited \
        optimum, without step limit and dead band, and with floor 0 and maxRemoteShare 1 unless they are given
          deadBand           smaller moves are not made; 0.005
          batchCap           load that batch may fill a cluster to; 0.70
          overflowPrice      batch that costs more is put off; 2
          fullLoad           load that counts as full; 0.97
          shedStart          load at which standard begins to be shed; 0.95
          shedGain           k of p = min(1, k·s⁵); 0.05
          egressPrice        seconds that a unit of egress is worth; 1
          unknownRoundTrip   between regions nobody has measured; 0.3
          localRoundTrip     inside a region nobody has measured; 0.001
          decodeWeight       η, how much decoding counts beside TTFT; 0.1
          kvLimit            kvUse above which nothing new comes from other regions; 0.90
          staleAfter         digestAge above which weights do not grow; 5
          decayAfter, decayTime   digestAge above which capacity decays, and how; 30, 30
          lostAfter          digestAge above which a cluster counts as down; 120
          negligible         smaller weights are left out; 0.00001
          timeToLive         of the plan; 60
          failover           clusters to solve the loss of: "all" (default), "none" or ["cluster", …]

        The delay of a cluster is D(y) = T + q·φ(ρ) + η·L·(itl + itlSlope·ρ) with ρ = y/capacity, \
        φ(ρ) = ρ^e/(1 − ρ) up to ρ = 0.97 and its tangent beyond, e = √(2(N + 1)) − 1.

        The answer has weights, cost (mean seconds a request), gap (how much less any other weights could cost at \
        most), iterations, residual, overflow (requests per second by band), prices (by cluster, what one more request \
        costs), failover (the weights after the loss of each cluster), timeToLive, changed, faults and reasons.
        """
}
