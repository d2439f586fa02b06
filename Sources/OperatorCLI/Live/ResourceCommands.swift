package import ArgumentParser
import ConfigurationFiles
import Foundation
import OperatorLink
import ProgramShell
import Resources
import Synchronization
import WireProtocol

/// How a change is told.
enum ChangeOutput: String, ExpressibleByArgument, CaseIterable {
    case text, json
}

/// `isobar apply`: resources come into force.
package struct ApplyCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "apply",
        abstract: "Bring resources into force: pools, objectives, policies, drains, clusters.",
        discussion: """
            Takes Kubernetes' own InferencePool (inference.networking.k8s.io/v1) and InferenceObjective \
            (llm-d.ai/v1alpha2) as they are, and RoutingPolicy, Drain and Cluster (isobar.dev/v1alpha1) in the same \
            shape. All documents come into force together, or none. A metadata.resourceVersion in a document makes \
            its change conditional on nobody having changed it since.

            Exit codes: 0 well, 65 refused, 69 no hub, 75 somebody else changed it in between.
            """
    )

    @OptionGroup var manifests: ManifestOptions
    @Flag(help: "Change nothing; show what would change and what the plan would become.")
    var dryRun = false
    @Option(name: .shortAndLong, help: "text or json.")
    var output: ChangeOutput = .text
    @OptionGroup var hub: HubOptions

    package init() {}

    package func validate() throws {
        if self.manifests.file.isEmpty { throw ValidationError("name what to apply: -f FILE") }
    }

    package func run() async throws {
        try await self.hub.ask("apply", isChange: true) { client in
            let manifests = try self.manifests.read("apply")
            var request = Isobar_V1_ApplyRequest()
            request.resources = manifests.map { Isobar_V1_Resource($0.resource) }
            request.dryRun = self.dryRun
            request.actor = Operator.claimed
            let report = ChangeReport(answer: try await client.apply(request), isDryRun: self.dryRun)
            try report.check("apply", manifests)
            print(self.output == .json ? try Answers.json(report.answer) : report.lines.joined(separator: "\n"))
        }
    }
}

/// `isobar diff`: what `apply` would change.
package struct DiffCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Show what `apply` would change, field by field, and what the plan would become.",
        discussion: "Exit codes: 0 nothing would change, 2 something would, 65 refused, 69 no hub, 75 conflict."
    )

    @OptionGroup var manifests: ManifestOptions
    @Option(name: .shortAndLong, help: "text or json.")
    var output: ChangeOutput = .text
    @OptionGroup var hub: HubOptions

    package init() {}

    package func validate() throws {
        if self.manifests.file.isEmpty { throw ValidationError("name what to compare: -f FILE") }
    }

    package func run() async throws {
        // Standard input can be read once.
        try await self.hub.ask("diff", isChange: self.manifests.file.contains("-")) { client in
            let manifests = try self.manifests.read("diff")
            var request = Isobar_V1_ApplyRequest()
            request.resources = manifests.map { Isobar_V1_Resource($0.resource) }
            request.dryRun = true
            request.actor = Operator.claimed
            let report = ChangeReport(answer: try await client.apply(request), isDryRun: true)
            try report.check("diff", manifests)
            let differences = try report.differences()
            if self.output == .json {
                print(try Answers.json(report.answer))
            } else if !differences.isEmpty {
                print((differences + report.forecast).joined(separator: "\n"))
            }
            if !differences.isEmpty { throw Answers.notable }
        }
    }
}

/// A kind and names, as `get`, `describe`, `delete`, `watch` and `audit` take them.
struct Selection: ParsableArguments {
    @Argument(
        help: ArgumentHelp("pools, objectives, policies, drains or clusters; all when left out.", valueName: "kind")
    )
    var kind: String?
    @Argument(help: ArgumentHelp("name, or namespace/name.", valueName: "name"))
    var names: [String] = []
    @Option(name: [.customShort("n"), .long], help: ArgumentHelp("The namespace of pools, objectives and policies."))
    var namespace: String?

    /// - Throws: `ValidationError` for a word that is no kind.
    func resourceKind() throws -> ResourceKind? {
        guard let word = self.kind, word != "all" else { return nil }
        guard let kind = ResourceKind(word: word) else {
            throw ValidationError("there is no kind \"\(word)\"; use pools, objectives, policies, drains or clusters")
        }
        return kind
    }

    /// The resources named.
    ///
    /// - Throws: `ValidationError` for a name that cannot be.
    func keys() throws -> [ResourceKey] {
        guard let kind = try self.resourceKind() else {
            throw ValidationError("name a kind: pools, objectives, policies, drains or clusters")
        }
        return try self.names.map { name in
            do {
                return try ResourceKey(kind, name, namespace: self.namespace ?? "")
            } catch {
                throw ValidationError("\(error)")
            }
        }
    }

    /// What is asked of the hub.
    func request() throws -> Isobar_V1_GetRequest {
        var request = Isobar_V1_GetRequest()
        request.kind = try self.resourceKind()?.rawValue ?? ""
        request.namespace = self.namespace ?? ""
        if self.names.count == 1, let key = try self.keys().first {
            request.namespace = self.names[0].contains("/") ? key.namespace : request.namespace
            request.name = key.name
        }
        return request
    }
}

/// `isobar delete`: resources are no longer in force.
package struct DeleteCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "delete",
        abstract: "Take resources out of force: by kind and name, or those of a file.",
        discussion: "Exit codes: 0 well, 65 refused, as when there is none of that name, 69 no hub."
    )

    @OptionGroup var selection: Selection
    @OptionGroup var manifests: ManifestOptions
    @Flag(help: "Change nothing; show what the plan would become.")
    var dryRun = false
    @Flag(help: "What is not there is not an error.")
    var ignoreNotFound = false
    @Option(name: .shortAndLong, help: "text or json.")
    var output: ChangeOutput = .text
    @OptionGroup var hub: HubOptions

    package init() {}

    package func validate() throws {
        if self.selection.names.isEmpty == self.manifests.file.isEmpty {
            throw ValidationError("name what to delete: KIND NAME, or -f FILE")
        }
    }

    package func run() async throws {
        try await self.hub.ask("delete", isChange: true) { client in
            let manifests = try self.manifests.read("delete")
            let keys = manifests.isEmpty ? try self.selection.keys() : manifests.map(\.resource.key)
            var request = Isobar_V1_DeleteRequest()
            request.keys = keys.map { Isobar_V1_ResourceKey($0) }
            request.dryRun = self.dryRun
            request.ignoreAbsent = self.ignoreNotFound
            request.actor = Operator.claimed
            let report = ChangeReport(answer: try await client.delete(request), isDryRun: self.dryRun)
            try report.check("delete", manifests)
            print(self.output == .json ? try Answers.json(report.answer) : report.lines.joined(separator: "\n"))
        }
    }
}

/// `isobar watch`: every change of resources, as it happens.
package struct WatchCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "watch",
        abstract: "Show resources, then every change of them, until Ctrl-C.",
        discussion: """
            When the hub that it follows is lost, it goes on with the next of --hub and shows what has changed \
            meanwhile, each thing once and as it is then.
            """
    )

    @OptionGroup var selection: Selection
    @Option(name: .shortAndLong, help: "text, or json: one object a line.")
    var output: ChangeOutput = .text
    @Option(help: ArgumentHelp("End after so many changes.", valueName: "count"))
    var count: Int?
    @OptionGroup var hub: HubOptions

    package init() {}

    package func run() async throws {
        let isJSON = self.output == .json
        let (most, request) = (self.count, try self.selection.request())
        let view = WatchView(most: most ?? .max)
        try await self.hub.follow("watch") { client in
            view.begin()
            try await client.watch(request) { event in
                for event in view.take(event) {
                    let line = isJSON ? (try? Answers.json(event)) ?? "{}" : Self.line(event)
                    FileHandle.standardOutput.write(Data("\(line)\n".utf8))
                }
                return !view.isFull
            }
            return view.isFull
        }
    }

    private static func line(_ event: Isobar_V1_ResourceEvent) -> String {
        let time = Date(timeIntervalSince1970: Double(event.resource.changedUnixMs) / 1_000)
        let clock = event.kind == "deleted" ? Date() : time
        let name = Isobar_V1_ResourceProblem.name(event.resource.resource.key)
        let by = event.kind == "deleted" || event.resource.changedBy.isEmpty ? "" : "  by \(event.resource.changedBy)"
        let kind = event.kind.padding(toLength: 7, withPad: " ", startingAt: 0)
        return Columns.fit("\(Clock.local(clock))  \(kind)  \(name)\(by)")
    }
}

/// `isobar audit`: who changed what.
package struct AuditCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Show who changed which resource, the newest first.",
        discussion: """
            The hub keeps the last 1,000 changes. A name is that of the operator's certificate; without certificates \
            it is what the client claimed. The address is where the client's connection came from.
            """
    )

    @OptionGroup var selection: Selection
    @Option(help: ArgumentHelp("How many.", valueName: "count"))
    var limit: UInt32 = 20
    @Option(name: .shortAndLong, help: "text or json.")
    var output: ChangeOutput = .text
    @OptionGroup var hub: HubOptions

    package init() {}

    package func run() async throws {
        try await self.hub.ask("audit") { client in
            var request = Isobar_V1_AuditRequest()
            request.limit = self.limit
            if let key = try self.selection.names.isEmpty ? nil : self.selection.keys().first {
                request.key = Isobar_V1_ResourceKey(key)
            }
            let answer = try await client.audit(request)
            print(self.output == .json ? try Answers.json(answer) : try Self.text(answer.records))
        }
    }

    /// The records as a table, with the fields that changed below each.
    static func text(_ records: [Isobar_V1_AuditRecord]) throws -> String {
        guard !records.isEmpty else { return "Nothing has been changed yet." }
        var lines: [String] = []
        for record in records {
            let name = Isobar_V1_ResourceProblem.name(record.key)
            let age = "\(Figure.ago(unixMs: record.unixMs)) ago"
            let claimed = record.proven ? "" : ", as claimed"
            let head =
                "\(record.change)  \(age)  \(name) \(record.outcome) by \(record.actor)\(claimed) (\(Self.host(record.peer)))"
            lines.append(Columns.fit(head))
            guard record.outcome == "changed" else { continue }
            for field in record.fields {
                let before = field.hasBefore ? try field.before.model().said : "nothing"
                let after = field.hasAfter ? try field.after.model().said : "nothing"
                lines.append(Columns.fit("    \(field.path): \(before) → \(after)"))
            }
        }
        return lines.joined(separator: "\n")
    }

    private static func host(_ peer: String) -> String {
        guard let colon = peer.firstIndex(of: ":") else { return Figure.known(peer) }
        return String(peer[peer.index(after: colon)...])
    }
}

/// What a watch has shown, over all the replicas that it followed.
private final class WatchView: Sendable {
    private let most: Int
    private let state = Mutex((memory: WatchMemory(), changes: 0))

    init(most: Int) { self.most = most }

    func begin() { self.state.withLock { $0.memory.begin() } }

    /// The changes that are left to be shown of what a replica tells.
    func take(_ event: Isobar_V1_ResourceEvent) -> [Isobar_V1_ResourceEvent] {
        self.state.withLock { state in
            let news = state.memory.news(in: event)
            let current = news.filter { $0.kind == "current" }
            let changes = news.filter { $0.kind != "current" }.prefix(self.most - state.changes)
            state.changes += changes.count
            return current + changes
        }
    }

    /// Whether as many changes have been shown as were asked for.
    var isFull: Bool { self.state.withLock { $0.changes >= self.most } }
}

/// Times of day where the operator is.
enum Clock {
    static func local(_ date: Date) -> String {
        let parts = Calendar.current.dateComponents([.hour, .minute, .second], from: date)
        return String(format: "%02d:%02d:%02d", parts.hour ?? 0, parts.minute ?? 0, parts.second ?? 0)
    }
}
