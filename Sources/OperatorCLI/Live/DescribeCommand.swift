package import ArgumentParser
import ConfigurationFiles
import Foundation
import OperatorLink
import ProgramShell
import Resources
import WireProtocol

/// `isobar describe`: one resource, what the hub sees of it, and who changed it.
package struct DescribeCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "describe",
        abstract: "Show one resource in full: what it says, what the hub sees of it, and who changed it."
    )

    @OptionGroup var selection: Selection
    @Option(name: .shortAndLong, help: "text or json.")
    var output: ChangeOutput = .text
    @OptionGroup var hub: HubOptions

    package init() {}

    package func validate() throws {
        if self.selection.names.count != 1 { throw ValidationError("name one: describe KIND NAME") }
    }

    package func run() async throws {
        try await self.hub.ask("describe") { client in
            guard let key = try self.selection.keys().first else { return }
            let held = try await client.get(try self.selection.request()).resources
                .first { $0.resource.key == Isobar_V1_ResourceKey(key) }
            let status = try await client.status()
            let live = Live(key: key, status: status)
            guard held != nil || live.isHeard else {
                throw OperatorRefusal(.absent, "there is no \(key); isobar get \(key.kind.plural)")
            }
            var request = Isobar_V1_AuditRequest()
            request.key = Isobar_V1_ResourceKey(key)
            request.limit = 5
            let audit = try await client.audit(request)
            if self.output == .json {
                print(try Self.json(held, live, audit))
            } else {
                print(try Self.text(key, held, live, audit.records))
            }
        }
    }

    private static func text(
        _ key: ResourceKey,
        _ held: Isobar_V1_StoredResource?,
        _ live: Live,
        _ records: [Isobar_V1_AuditRecord]
    ) throws -> String {
        var lines = ["\(key)"]
        if let held {
            let created = "\(Figure.ago(unixMs: held.createdUnixMs)) ago"
            let changed = "\(Figure.ago(unixMs: held.changedUnixMs)) ago by \(held.changedBy)"
            lines += Columns.pairs(
                [
                    ("created", created), ("changed", changed), ("revision", "\(held.resource.resourceVersion)"),
                    ("version", held.resource.apiVersion),
                ],
                indent: 2
            )
            var manifest = try held.resource.model()
            manifest.resourceVersion = nil
            lines += ["", "spec"]
            lines += try Manifests.yaml(manifest.spec).split(separator: "\n").map { "  \($0)" }
        } else {
            lines.append("  no resource declares it")
        }
        if !live.pairs.isEmpty { lines += ["", "as the hub hears it"] + Columns.pairs(live.pairs, indent: 2) }
        if !live.findings.isEmpty { lines += ["", "to see to"] + live.findings.flatMap { FindingText.lines($0) } }
        if !records.isEmpty {
            lines += ["", "last changes"]
            lines += try AuditCommand.text(records).split(separator: "\n").map { Columns.fit("  \($0)") }
        }
        return lines.joined(separator: "\n")
    }

    private static func json(
        _ held: Isobar_V1_StoredResource?,
        _ live: Live,
        _ audit: Isobar_V1_AuditAnswer
    ) throws -> String {
        // Three answers of the hub in one object.
        let resource = try held.map { try Answers.json($0) } ?? "null"
        let findings = try live.findings.map { try Answers.json($0) }.joined(separator: ",")
        let state = try live.json() ?? "null"
        let records = try Answers.json(audit)
        return #"{"resource":\#(resource),"live":\#(state),"findings":[\#(findings)],"audit":\#(records)}"#
    }
}

/// What the hub hears of a resource.
private struct Live {
    private let cluster: Isobar_V1_ClusterStatus?
    private let pool: Isobar_V1_PoolStatus?
    let findings: [Isobar_V1_Finding]

    init(key: ResourceKey, status: Isobar_V1_FleetStatus) {
        self.cluster = key.kind == .cluster ? status.clusters.first { $0.cluster == key.name } : nil
        self.pool = key.kind == .pool ? status.pools.first { $0.pool == key.path } : nil
        self.findings = status.findings.filter { finding in
            let isMeant = [key.description, key.kind == .pool || key.kind == .cluster ? key.path : ""]
            return finding.level != "ok" && !finding.subject.isEmpty && isMeant.contains(finding.subject)
        }
    }

    var isHeard: Bool { self.cluster != nil || self.pool.map { $0.clusters > 0 } ?? false }

    func json() throws -> String? {
        if let cluster = self.cluster { return try Answers.json(cluster) }
        return try self.pool.map { try Answers.json($0) }
    }

    var pairs: [(String, String)] {
        if let cluster = self.cluster {
            return [
                ("region", cluster.region), ("state", cluster.state), ("drain", Figure.known(cluster.drain)),
                ("agent", cluster.agent), ("digest", "\(cluster.frame), \(Figure.seconds(cluster.age)) old"),
                ("endpoints", "\(cluster.endpointsReady) of \(cluster.endpointsKnown) ready"),
                ("requests", "\(cluster.running) running, \(cluster.waiting) waiting"),
                ("capacity", cluster.hasCapacity ? Figure.rate(cluster.capacity) : "not yet learned"),
            ]
        }
        guard let pool = self.pool else { return [] }
        return [
            ("clusters", "\(pool.clusters)"), ("demand", Figure.rate(pool.demand)),
            ("capacity", pool.hasCapacity ? Figure.rate(pool.capacity) : "not yet learned"),
            ("cost", pool.hasCost ? "\(Figure.seconds(pool.cost)) a request" : "–"),
            ("unplaced", pool.hasOverflow ? Figure.rate(pool.overflow) : "–"),
        ]
    }
}
