package import ArgumentParser

/// `isobar simulate`: fleets in virtual time.
package struct SimulateCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Try policies on a fleet in virtual time, what agents learn, and gossip.",
        subcommands: [
            SimulateFleetCommand.self, SimulateCapacityCommand.self, SimulateGossipCommand.self,
            GossipSeedsCommand.self,
        ]
    )

    package init() {}
}
