package import ArgumentParser
import ConfigurationFiles
import FleetModel
import Foundation
import OperatorLink
import ProgramShell
import Resources
import WireProtocol

/// `isobar get`: resources in a table, or to be applied again.
package struct GetCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "get",
        abstract: "Show resources: pools, objectives, policies, drains, clusters.",
        discussion: """
            Tables of pools and clusters also show what the hub hears of them, declared or not. yaml and json show the \
            resources alone, to be applied again.
            """
    )

    enum Output: String, ExpressibleByArgument, CaseIterable {
        case table, yaml, json, name
    }

    @OptionGroup var selection: Selection
    @Option(name: .shortAndLong, help: "table, yaml, json or name.")
    var output: Output = .table
    @OptionGroup var hub: HubOptions

    package init() {}

    package func run() async throws {
        try await self.hub.ask("get") { client in
            let kind = try self.selection.resourceKind()
            var resources = try await client.get(try self.selection.request()).resources
            let wanted = kind == nil ? [] : try self.selection.keys()
            if !wanted.isEmpty {
                let keys = Set(wanted)
                resources = try resources.filter { try keys.contains($0.resource.key.model()) }
            }
            let isLive = self.output == .table && [.pool, .cluster, nil].contains(kind)
            let status = isLive ? try await client.status() : Isobar_V1_FleetStatus()
            if resources.count < wanted.count {
                let found = Set(try resources.map { try $0.resource.key.model() })
                let heard = Set(status.clusters.map(\.cluster)).union(status.pools.map(\.pool))
                for key in wanted where !found.contains(key) && !(isLive && heard.contains(key.path)) {
                    throw OperatorRefusal(.absent, "there is no \(key); isobar get \(key.kind.plural)")
                }
            }
            switch self.output {
            case .name: print(try resources.map { "\(try $0.resource.key.model())" }.joined(separator: "\n"))
            case .yaml: print(try Self.yaml(resources), terminator: "")
            case .json: print(try Self.json(resources, isOne: wanted.count == 1))
            case .table:
                let tables = ResourceTables(resources: resources, status: status, names: Set(wanted.map(\.path)))
                print(try tables.text(kind))
            }
        }
    }

    /// Documents one after the other.
    static func yaml(_ resources: [Isobar_V1_StoredResource]) throws -> String {
        try resources.map { try Manifests.yaml($0.resource.model().manifest) }.joined(separator: "---\n")
    }

    /// One manifest, or a Kubernetes list of them.
    private static func json(_ resources: [Isobar_V1_StoredResource], isOne: Bool) throws -> String {
        let manifests = try resources.map { JSONValue(try $0.resource.model().manifest) }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        let tree: JSONValue =
            isOne && manifests.count == 1
            ? manifests[0]
            : .object(["apiVersion": .string("v1"), "kind": .string("List"), "items": .array(manifests)])
        return String(decoding: try encoder.encode(tree), as: UTF8.self)
    }
}

extension JSONValue {
    init(_ value: ResourceValue) {
        switch value {
        case .null: self = .null
        case .bool(let flag): self = .bool(flag)
        case .number(let number): self = .number(number)
        case .text(let text): self = .string(text)
        case .list(let elements): self = .array(elements.map { JSONValue($0) })
        case .fields(let fields): self = .object(fields.mapValues { JSONValue($0) })
        }
    }
}

/// Resources as tables, a kind a table.
struct ResourceTables {
    let resources: [Isobar_V1_StoredResource]
    let status: Isobar_V1_FleetStatus
    /// Empty: all.
    var names: Set<String> = []

    func text(_ kind: ResourceKind?) throws -> String {
        var tables: [String] = []
        for next in ResourceKind.allCases where kind == nil || kind == next {
            let lines = try self.table(next)
            guard lines.count > 1 else { continue }
            tables.append((kind == nil ? ["\(next.plural)"] : []).appending(lines).joined(separator: "\n"))
        }
        if tables.isEmpty {
            return kind.map { "There are no \($0.plural)." } ?? "There are no resources."
        }
        return tables.joined(separator: "\n\n")
    }

    private func table(_ kind: ResourceKind) throws -> [String] {
        let held = try self.resources.map { (stored: $0, resource: try $0.resource.model()) }
            .filter { $0.resource.key.kind == kind }
        func changed(_ stored: Isobar_V1_StoredResource) -> String {
            "\(Figure.ago(unixMs: stored.changedUnixMs)) ago by \(stored.changedBy)"
        }
        switch kind {
        case .pool: return self.pools(held.map { ($0.resource, changed($0.stored)) })
        case .cluster: return self.clusters(held.map { ($0.resource, changed($0.stored)) })
        case .objective:
            return Columns.lines(
                ["NAME", "POOL", "PRIORITY>", "BAND", "CHANGED"],
                held.map { stored, resource in
                    let spec = ObjectiveSpec.read(resource).spec
                    return [
                        resource.key.path, Figure.known(spec.pool?.description), "\(spec.priority)", spec.band.rawValue,
                        changed(stored),
                    ]
                }
            )
        case .policy:
            return Columns.lines(
                ["NAME", "POOL", "SETS", "CHANGED"],
                held.map { stored, resource in
                    let spec = RoutingPolicySpec.read(resource).spec
                    let sets = ResourceDifference.fields(of: resource.spec).filter { $0 != "poolRef" }
                    return [
                        resource.key.path, spec.pool?.description ?? "all of \(resource.key.namespace)",
                        Figure.known(sets.joined(separator: ", ")), changed(stored),
                    ]
                }
            )
        case .drain:
            return Columns.lines(
                ["NAME", "DRAINS", "POOL", "STATE", "CHANGED", "REASON"],
                held.map { stored, resource in
                    let spec = DrainSpec.read(resource).spec
                    return [
                        resource.key.path, spec.cluster?.text ?? "region \(spec.region?.text ?? "")",
                        spec.pool?.description ?? "all", spec.state.rawValue, changed(stored),
                        Figure.known(spec.reason),
                    ]
                }
            )
        }
    }

    private func pools(_ held: [(resource: Resource, changed: String)]) -> [String] {
        let declared = Dictionary(held.map { ($0.resource.key.path, $0) }) { $1 }
        let live = Dictionary(self.status.pools.map { ($0.pool, $0) }) { $1 }
        return Columns.lines(
            ["NAME", "CLUSTERS>", "DEMAND>", "CAPACITY>", "COST>", "PORTS", "DECLARED"],
            self.shown(Set(declared.keys).union(live.keys)).map { name in
                let pool = live[name]
                let ports = declared[name].map { PoolSpec.read($0.resource).spec.targetPorts.map { "\($0)" } }
                return [
                    name, pool.map { "\($0.clusters)" } ?? "0", pool.map { Figure.rate($0.demand) } ?? "–",
                    pool.flatMap { $0.hasCapacity ? Figure.rate($0.capacity) : nil } ?? "–",
                    pool.flatMap { $0.hasCost ? Figure.seconds($0.cost) : nil } ?? "–",
                    Figure.known(ports?.joined(separator: ",")), declared[name]?.changed ?? "no",
                ]
            }
        )
    }

    private func clusters(_ held: [(resource: Resource, changed: String)]) -> [String] {
        let declared = Dictionary(held.map { ($0.resource.key.path, $0) }) { $1 }
        let live = Dictionary(self.status.clusters.map { ($0.cluster, $0) }) { $1 }
        return Columns.lines(
            ["NAME", "REGION", "STATE", "DIGEST>", "READY>", "CAPACITY>", "DECLARED", "DRAIN"],
            self.shown(Set(declared.keys).union(live.keys)).map { name in
                let cluster = live[name]
                let spec = declared[name].map { ClusterSpec.read($0.resource).spec }
                return [
                    name, cluster?.region ?? Figure.known(spec?.region?.text), cluster?.state ?? "unheard",
                    cluster.map { Figure.seconds($0.age) } ?? "–",
                    cluster.map { "\($0.endpointsReady)/\($0.endpointsKnown)" } ?? "–",
                    cluster.flatMap { $0.hasCapacity ? Figure.rate($0.capacity) : nil } ?? "–",
                    spec.map { $0.capacityScale < 1 ? "at \(Figure.share($0.capacityScale))" : "yes" } ?? "no",
                    Figure.known(cluster?.drain),
                ]
            }
        )
    }

    private func shown(_ names: Set<String>) -> [String] {
        names.filter { self.names.isEmpty || self.names.contains($0) }.sorted()
    }
}

extension ResourceDifference {
    /// The names of a mapping's fields.
    fileprivate static func fields(of value: ResourceValue) -> [String] {
        guard case .fields(let fields) = value else { return [] }
        return fields.keys.sorted()
    }
}

extension Array {
    fileprivate func appending(_ other: [Element]) -> [Element] { self + other }
}
