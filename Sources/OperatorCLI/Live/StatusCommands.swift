package import ArgumentParser
import FleetModel
import Foundation
import OperatorLink
import ProgramShell
import WireProtocol

/// `isobar status`: the fleet on one screen.
package struct StatusCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the fleet on one screen: hub, store, plan, regions, clusters, gateways, and what to see to.",
        discussion: "Exit codes: 0 well, whatever the fleet is like, 69 no hub. `isobar check` is for scripts."
    )

    @Option(name: .shortAndLong, help: "text or json.")
    var output: ChangeOutput = .text
    @OptionGroup var hub: HubOptions

    package init() {}

    package func run() async throws {
        try await self.hub.ask("status") { client in
            let status = try await client.status()
            print(self.output == .json ? try Answers.json(status) : StatusText(status).lines.joined(separator: "\n"))
        }
    }
}

/// `isobar check`: everything that can be looked at, with reason and fix.
package struct CheckCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Check the fleet: each check with its reason and what to do.",
        discussion: "Exit codes: 0 all well, 2 warnings, 3 something failed, 69 no hub."
    )

    @Option(name: .shortAndLong, help: "text or json.")
    var output: ChangeOutput = .text
    @OptionGroup var hub: HubOptions

    package init() {}

    package func run() async throws {
        try await self.hub.ask("check") { client in
            let status = try await client.status()
            if self.output == .json {
                var answer = Isobar_V1_FleetStatus()
                answer.findings = status.findings
                print(try Answers.json(answer))
            } else {
                print(status.findings.flatMap { FindingText.lines($0) }.joined(separator: "\n"))
            }
            if status.findings.contains(where: { $0.level == "failed" }) { throw Answers.failed }
            if status.findings.contains(where: { $0.level == "warning" }) { throw Answers.notable }
        }
    }
}

/// A finding, to be read by a person.
enum FindingText {
    /// One line for what was found, one for what to do.
    static func lines(_ finding: Isobar_V1_Finding) -> [String] {
        let level = finding.level.padding(toLength: 7, withPad: " ", startingAt: 0)
        let check = finding.check.padding(toLength: 9, withPad: " ", startingAt: 0)
        let subject = finding.subject.isEmpty ? "" : "\(finding.subject): "
        let found = Columns.wrap("\(level)  \(check)  \(subject)\(finding.reason)", indent: 20)
        guard !finding.fix.isEmpty else { return found }
        return found + Columns.wrap("                    → \(finding.fix)", indent: 22)
    }
}

/// The fleet on one screen.
struct StatusText {
    private let status: Isobar_V1_FleetStatus

    init(_ status: Isobar_V1_FleetStatus) { self.status = status }

    var lines: [String] {
        Columns.pairs(self.head).map { Columns.fit($0) } + self.members + self.regions + self.clusters + self.gateways
            + self.findings
    }

    /// The members of a store that has several.
    private var members: [String] {
        let members = self.status.store.each
        guard members.count > 1 else { return [] }
        let rows = members.map { member in
            let state =
                !member.fault.isEmpty ? member.fault : !member.reachable ? "away" : member.leads ? "leads" : "follows"
            func size(_ bytes: Int64) -> String { ByteCountFormatter.string(fromByteCount: bytes, countStyle: .binary) }
            return [
                member.name, state, member.hasSize ? size(member.size) : "–", member.hasUsed ? size(member.used) : "–",
                member.version.isEmpty ? "–" : member.version,
            ]
        }
        return [""] + Columns.lines(["MEMBER", "STATE", "SIZE>", "USED>", "VERSION"], rows)
    }

    private var head: [(String, String)] {
        let status = self.status
        let replicas = status.replicas.count == 1 ? "1 replica" : "\(status.replicas.count) replicas"
        let leader = status.leader.isEmpty ? "nobody leads" : "\(status.leader) leads in epoch \(status.epoch)"
        let store = status.store
        let health = store.healthy ? "well" : "failing: \(store.fault)"
        let write = store.hasWrite ? ", last write \(Figure.seconds(store.write))" : ""
        let members = store.members > 1 ? ", \(store.reachable) of \(store.members) members" : ""
        let size = ByteCountFormatter.string(fromByteCount: store.size, countStyle: .binary)
        let plan =
            status.hasPlan
            ? "\(status.plan.model), \(Figure.seconds(status.planAge)) old, "
                + "gateways may trust it for \(Figure.age(status.planTimeToLive))"
            : "none yet"
        let inSync = status.gateways.count { $0.inSync }
        let stalest = status.clusters.max { $0.age < $1.age }
        let digest = stalest.map { "stalest \(Figure.seconds($0.age)), of \($0.cluster)" } ?? "none heard"
        let pools = status.pools.map { pool in
            let cost =
                pool.hasCost && pool.demand >= PlanText.leastDemand ? ", \(Figure.seconds(pool.cost)) a request" : ""
            let capacity = pool.hasCapacity ? " of \(Figure.rate(pool.capacity))" : ""
            let lost = pool.overflow > 0.01 ? ", \(Figure.rate(pool.overflow)) unplaced" : ""
            return "\(pool.pool) \(Figure.rate(pool.demand))\(capacity)\(cost)\(lost)"
        }
        let drains = status.clusters.filter { !$0.drain.isEmpty }.map { "\($0.cluster) by \($0.drain)" }
        return [
            ("hub", "\(leader), \(replicas), version \(status.software)"),
            (
                "store",
                "\(store.kind)\(store.managed ? " beside the hubs" : ""), \(health)\(members)\(write), \(size), \(status.resources) resources"
            ),
            ("plan", plan),
            ("gateways", "\(inSync) of \(status.gateways.count) in sync"),
            ("digests", "\(status.clusters.count) clusters, \(digest)"),
        ] + (drains.isEmpty ? [] : [("drains", drains.joined(separator: ", "))])
            + pools.enumerated().map { ($0.offset == 0 ? "pools" : "", $0.element) }
    }

    private var regions: [String] {
        guard !self.status.regions.isEmpty else { return [] }
        let rows = self.status.regions.map { region in
            [
                region.region, "\(region.clusters)", "\(region.gateways)", Figure.rate(region.demand),
                region.capacity > 0 ? Figure.rate(region.capacity) : "–", region.unreachable ? "unreachable" : "",
            ]
        }
        return [""] + Columns.lines(["REGION", "CLUSTERS>", "GATEWAYS>", "DEMAND>", "CAPACITY>", ""], rows)
    }

    private var clusters: [String] {
        guard !self.status.clusters.isEmpty else { return [] }
        let rows = self.status.clusters.map { cluster in
            [
                cluster.cluster, cluster.region, cluster.state, Figure.seconds(cluster.age),
                "\(cluster.endpointsReady)/\(cluster.endpointsKnown)", "\(cluster.running)", "\(cluster.waiting)",
                cluster.hasCapacity ? Figure.rate(cluster.capacity) : "–",
            ]
        }
        let head = ["CLUSTER", "REGION", "STATE", "DIGEST>", "READY>", "RUNNING>", "WAITING>", "CAPACITY>"]
        return [""] + Columns.lines(head, rows)
    }

    private var gateways: [String] {
        guard !self.status.gateways.isEmpty else { return [] }
        let late = self.status.gateways.filter { !$0.inSync }
        // A long list of gateways that are well would push what matters off the screen.
        let shown = self.status.gateways.count <= 12 ? self.status.gateways : Array(late.prefix(12))
        let rows = shown.map { gateway in
            let held = gateway.hasAcknowledged ? gateway.acknowledged.model.description : "none"
            let note = gateway.refusal.isEmpty ? gateway.inSync ? "in sync" : "out of sync" : gateway.refusal
            return [gateway.gateway, gateway.region, held, note]
        }
        guard !rows.isEmpty else { return [] }
        return [""] + Columns.lines(["GATEWAY", "REGION", "PLAN", ""], rows)
    }

    private var findings: [String] {
        let found = self.status.findings.filter { $0.level != "ok" }
        guard !found.isEmpty else { return ["", "All checks are well."] }
        return [""] + found.flatMap { FindingText.lines($0) }
    }
}
