import ArgumentParser

/// `isobar-bench`: what the documentation claims about speed, measured on this machine.
@main
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "isobar-bench",
        abstract: "Measure what Isobar claims about its speed; build it with -c release.",
        subcommands: [
            PickBench.self, SolverBench.self, TelemetryBench.self, SealBench.self, GossipBench.self, StoreBench.self,
            PageServer.self, UpstreamServer.self, StreamClient.self, HistoryJudge.self, FanoutServer.self,
            FanoutClient.self,
        ]
    )
}
