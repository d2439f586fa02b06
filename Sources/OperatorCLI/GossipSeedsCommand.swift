import ArgumentParser
import FleetSimulator
import Foundation

/// `isobar simulate gossip-seeds`: everything that can go wrong, a seed at a time.
struct GossipSeedsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gossip-seeds",
        abstract: "Hold the gossip to its invariants under random faults.",
        discussion: """
            Each seed is a small fleet with loss, delay, duplication, reordering, cut and clogged links, partitions, \
            crashes, restarts, pauses, clock steps, replays and forgeries, and then a healed network. The invariants \
            G1 to G\(GossipLaw.allCases.count) are in docs/gossip.md. A seed that breaks one is printed with the \
            command that replays it; the exit code is then 1.
            """
    )

    @Option(name: .long, help: "How many seeds.")
    var seeds: UInt64 = 1_000

    @Option(name: .long, help: "The first of them.")
    var firstSeed: UInt64 = 1

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Break something on purpose, to see that the invariants notice: "
                + GossipMutant.allCases.map(\.rawValue).joined(separator: ", ") + ".",
            valueName: "name"
        )
    )
    var mutant: String?

    func validate() throws {
        if let mutant, GossipMutant(rawValue: mutant) == nil {
            let names = GossipMutant.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("--mutant: \"\(mutant)\" is none; use \(names)")
        }

        guard (1...10_000_000).contains(self.seeds) else { throw ValidationError("--seeds: use 1 to 10000000") }
        guard self.firstSeed < 1 << 60 else { throw ValidationError("--first-seed: use less than 2^60") }
    }

    func run() throws {
        var broken = 0
        var trace: UInt64 = 0
        for seed in self.firstSeed..<self.firstSeed + self.seeds {
            var trial = GossipTrial(seed: seed, mutant: self.mutant.flatMap(GossipMutant.init))
            do {
                try trial.run()
            } catch {
                broken += 1
                print(error.description)
            }
            trace = (trace ^ trial.trace) &* 0x100_0000_01b3
        }
        let last = self.firstSeed + self.seeds - 1
        print("seeds \(self.firstSeed) to \(last): \(broken) broke an invariant; trace \(String(trace, radix: 16))")
        if broken > 0 { throw ExitCode.failure }
    }
}
