package import ArgumentParser
import FleetModel
import Foundation
import OperatorLink
import ProgramShell
import SwiftProtobuf
import Synchronization
import WireProtocol
import WireTransport

/// `isobar gossip`: who hears whom.
package struct GossipCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "gossip",
        abstract: "Show how digests reach the hub: agents, replicas, paths, ages and round trips.",
        discussion: """
            Answers are those of the replica that is asked; `explain` asks every replica that it names. Exit codes: 0 \
            well, 1 no such cluster, 69 no hub.
            """,
        subcommands: [Members.self, Digests.self, RoundTrips.self, Explain.self]
    )

    package init() {}

    struct Members: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "members",
            abstract: "Show agents and hub replicas: liveness, age, incarnation, path and last error."
        )

        @Option(name: .shortAndLong, help: "text or json.")
        var output: ChangeOutput = .text
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await self.hub.ask("gossip members") { client in
                let status = try await client.gossip()
                print(try self.output.gossip(status) { GossipText.members(status) })
            }
        }
    }

    struct Digests: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "digests",
            abstract:
                "Show the newest frame of each agent: its pools, age and path, and whether it speaks for its cluster."
        )

        @Option(name: .shortAndLong, help: "text or json.")
        var output: ChangeOutput = .text
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await self.hub.ask("gossip digests") { client in
                let status = try await client.gossip()
                print(try self.output.gossip(status) { GossipText.digests(status) })
            }
        }
    }

    struct RoundTrips: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rtt",
            abstract:
                "Show the round trips between regions, and who says so: gateways, links of the gossip, coordinates."
        )

        @Option(name: .shortAndLong, help: "text or json.")
        var output: ChangeOutput = .text
        @OptionGroup var hub: HubOptions

        func run() async throws {
            try await self.hub.ask("gossip rtt") { client in
                let status = try await client.gossip()
                print(try self.output.gossip(status) { GossipText.roundTrips(status) })
            }
        }
    }

    struct Explain: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "explain",
            abstract: "Show which hub replica heard a cluster when, and through whom."
        )

        @Argument(help: "The cluster.")
        var cluster: String
        @Option(name: .shortAndLong, help: "text or json.")
        var output: ChangeOutput = .text
        @OptionGroup var hub: HubOptions

        func run() async throws {
            let first = Mutex<Isobar_V1_GossipStatus?>(nil)
            try await self.hub.ask("gossip explain") { client in
                let status = try await client.gossip()
                first.withLock { $0 = status }
            }
            guard let asked = first.withLock({ $0 }) else { return }
            var views = [GossipText.View(replica: asked.hub, status: asked, fault: nil)]
            for other in asked.hubs {
                let answer = await self.hub.quietly(at: other.address) { try await $0.gossip() }
                views.append(GossipText.View(replica: other.name, status: answer.value, fault: answer.fault))
            }
            guard views.contains(where: { $0.agents(of: self.cluster).count > 0 }) else {
                let known = Set(asked.agents.map(\.cluster)).sorted().joined(separator: ", ")
                Failures.report("gossip explain", "no replica has heard \(self.cluster); heard are: \(known)")
                throw ExitCode.failure
            }
            if self.output == .json {
                let parts = try views.map { view in
                    "\"\(view.replica)\":" + (try view.status.map { try Answers.json($0) } ?? "null")
                }
                print("{\(parts.joined(separator: ","))}")
            } else {
                print(GossipText.explain(self.cluster, views).joined(separator: "\n"))
            }
        }
    }
}

extension ChangeOutput {
    fileprivate func gossip(_ status: Isobar_V1_GossipStatus, _ text: () -> [String]) throws -> String {
        self == .json ? try Answers.json(status) : text().joined(separator: "\n")
    }
}

/// The gossip, to be read by a person.
enum GossipText {
    /// What one replica answered, or why it did not.
    struct View {
        var replica: String
        var status: Isobar_V1_GossipStatus?
        var fault: String?

        func agents(of cluster: String) -> [Isobar_V1_GossipAgent] {
            (self.status?.agents ?? []).filter { $0.cluster == cluster }
        }
    }

    static func members(_ status: Isobar_V1_GossipStatus) -> [String] {
        let hubs = status.hubs.map { hub in
            [
                hub.name, "hub", Figure.known(hub.region), hub.hasSilence ? "heard" : "not heard",
                hub.hasSilence ? Figure.seconds(hub.silence) : "–", "–",
                hub.hasRoundTrip ? "direct, \(Figure.seconds(hub.roundTrip))" : "–", Figure.known(hub.fault),
            ]
        }
        let agents = status.agents.map { agent in
            [
                "\(agent.cluster)/\(agent.agent)", "agent", agent.region, agent.liveness, Figure.seconds(agent.age),
                "\(agent.incarnation)", agent.path, self.fault(agent),
            ]
        }
        let head = ["MEMBER", "ROLE", "REGION", "LIVENESS", "AGE>", "INCARNATION>", "PATH", "LAST ERROR"]
        return [self.title(status)] + Columns.lines(head, hubs + agents)
    }

    static func digests(_ status: Isobar_V1_GossipStatus) -> [String] {
        let rows = status.agents.map { agent in
            [
                agent.cluster, agent.agent, "\(agent.incarnation).\(agent.sequence)", Figure.seconds(agent.age),
                agent.path, agent.speaks ? "speaks" : "", Figure.share(agent.share),
                agent.pools.map { "\($0.pool) \($0.endpointsReady)/\($0.endpointsKnown)" }.joined(separator: ", "),
            ]
        }
        let head = ["CLUSTER", "AGENT", "FRAME", "AGE>", "PATH", "", "SHARE>", "POOLS"]
        return [self.title(status)] + Columns.lines(head, rows)
    }

    static func roundTrips(_ status: Isobar_V1_GossipStatus) -> [String] {
        guard !status.roundTrips.isEmpty else { return ["No pair of regions was measured yet."] }
        let rows = status.roundTrips.map { pair in
            [pair.source, pair.target, Figure.seconds(pair.seconds), pair.by]
        }
        return Columns.lines(["REGION", "REGION", "ROUND TRIP>", "SAYS"], rows)
    }

    static func explain(_ cluster: String, _ views: [View]) -> [String] {
        let rows = views.flatMap { view -> [[String]] in
            let agents = view.agents(of: cluster)
            if let fault = view.fault {
                return [[view.replica, "", "", "", "", self.told(of: cluster, view, views), fault]]
            }
            guard !agents.isEmpty else { return [[view.replica, "", "", "", "", "has not heard it", ""]] }
            return agents.map { agent in
                [
                    view.replica, agent.agent, "\(agent.incarnation).\(agent.sequence)", Figure.seconds(agent.age),
                    "\(Figure.seconds(agent.held)) ago", agent.path + (agent.speaks ? ", speaks" : ""),
                    self.fault(agent),
                ]
            }
        }
        return Columns.lines(["REPLICA", "AGENT", "FRAME", "AGE>", "HEARD>", "PATH", "LAST ERROR"], rows)
    }

    /// What others know of a replica that does not answer.
    private static func told(of cluster: String, _ silent: View, _ views: [View]) -> String {
        let holdings = views.flatMap { $0.agents(of: cluster) }.flatMap(\.elsewhere).filter { $0.hub == silent.replica }
        guard let newest = holdings.max(by: { ($0.incarnation, $0.sequence) < ($1.incarnation, $1.sequence) }) else {
            return "does not answer"
        }
        return "does not answer; said it holds \(newest.incarnation).\(newest.sequence)"
    }

    private static func fault(_ agent: Isobar_V1_GossipAgent) -> String {
        agent.fault.isEmpty ? "–" : "\(agent.fault), \(Figure.seconds(agent.faultAge)) ago"
    }

    private static func title(_ status: Isobar_V1_GossipStatus) -> String {
        let region = status.region.isEmpty ? "" : " in \(status.region)"
        let frozen = status.frozen ? "; it takes itself for cut off, so shares stand still" : ""
        let doubt = status.doubt > 0 ? "; it doubts its own ears, \(status.doubt) of 8" : ""
        return "As \(status.hub)\(region) sees it\(frozen)\(doubt):"
    }
}
