import AgentProgram
import ArgumentParser
import DemoProgram
import EngineProgram
import GatewayProgram
import HubProgram
import OperatorCLI

/// The one binary: every program is a subcommand.
@main
struct Isobar: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "isobar",
        abstract: "Makes LLM inference clusters in many regions behave as one pool.",
        version: "0.1.0",
        groupedSubcommands: [
            CommandGroup(name: "Try it:", subcommands: [DemoCommand.self]),
            CommandGroup(
                name: "Programs:",
                subcommands: [AgentCommand.self, HubCommand.self, GatewayCommand.self, EngineCommand.self]
            ),
            CommandGroup(name: "Set up:", subcommands: [PKICommand.self]),
            CommandGroup(
                name: "Look and change, at a hub:",
                subcommands: [
                    StatusCommand.self, CheckCommand.self, PlanCommand.self, GossipCommand.self, GetCommand.self,
                    DescribeCommand.self, ApplyCommand.self, DiffCommand.self, DeleteCommand.self, WatchCommand.self,
                    AuditCommand.self,
                    BackupCommand.self, RestoreCommand.self,
                ]
            ),
            CommandGroup(
                name: "Look and ask:",
                subcommands: [PickCommand.self, TelemetryCommand.self, SolveCommand.self, SimulateCommand.self]
            ),
        ]
    )
}
