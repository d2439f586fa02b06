package import ArgumentParser
import CertificateAuthority
import FleetModel
import Foundation

/// `isobar pki`: the certificates of a fleet.
package struct PKICommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "pki",
        abstract: "Make a certificate authority for a fleet, and the certificates of its programs.",
        discussion: """
            Each program has one certificate with one identity, isobar://FLEET/ROLE/NAME. A role may do this and no \
            more:

              agent CLUSTER     publish the digests of that cluster, and show its samples
              hub NAME          take digests and demand, serve plans
              gateway REGION    read plans and samples, report the demand of that region
              operator NAME     nothing yet

            The authority's key, ca.key, signs all of them: keep it off the machines that serve. Programs read only \
            ca.crt and their own two files, and take changed files without a restart.
            """,
        subcommands: [PKIInit.self, PKIIssue.self, PKIRotate.self, PKIList.self]
    )

    package init() {}
}

extension Role: ExpressibleByArgument {}

/// What every `isobar pki` command takes.
struct PKIOptions: ParsableArguments {
    enum Output: String, ExpressibleByArgument, CaseIterable {
        case json, table
    }

    @Option(help: ArgumentHelp("The folder with the authority and its certificates.", valueName: "folder"))
    var pki = "pki"

    @Option(name: .shortAndLong, help: "table, or json for programs.")
    var output = Output.table

    var folder: AuthorityFolder { AuthorityFolder(path: self.pki) }

    /// Runs a command's body; what the authority refuses is one line and exit code 1.
    func report(_ command: String, _ body: (AuthorityFolder) throws -> PKIReport) throws {
        do {
            let report = try body(self.folder)
            print(try self.output == .json ? report.json() : report.table, terminator: "")
        } catch {
            FileHandle.standardError.write(Data("isobar pki \(command): \(error)\n".utf8))
            throw ExitCode.failure
        }
    }
}

/// How long something is valid, on the command line: `90d` or `12h`.
struct Lifetime: ExpressibleByArgument, CustomStringConvertible {
    let seconds: TimeInterval

    init(days: Int) { self.seconds = TimeInterval(days) * 86_400 }

    init?(argument: String) {
        let units: [Character: TimeInterval] = ["d": 86_400, "h": 3_600, "m": 60, "s": 1]
        guard let unit = argument.last.flatMap({ units[$0] }), let number = Int(argument.dropLast()),
            (1...1_000_000_000).contains(number)
        else { return nil }
        self.seconds = TimeInterval(number) * unit
    }

    var description: String { PKIReport.age(self.seconds) }
    var defaultValueDescription: String { self.description }
}

struct PKIInit: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Make a fleet's authority: ca.crt, and ca.key that only you can read."
    )

    @Option(help: ArgumentHelp("The fleet's name, a DNS label; it stands in every identity.", valueName: "name"))
    var fleet: String

    @Option(help: ArgumentHelp("How long the authority is valid, as in 3650d.", valueName: "time"))
    var lifetime = Lifetime(days: 3_650)

    @OptionGroup var options: PKIOptions

    func run() throws {
        try self.options.report("init") { folder in
            let now = Date()
            let fleet = try FleetName(self.fleet)
            let authority = try folder.create(fleet: fleet, lifetime: self.lifetime.seconds, now: now)
            return PKIReport(
                authority,
                in: folder,
                [],
                now: now,
                next: ["isobar pki issue hub hub-0 --pki \(folder.path)"]
            )
        }
    }
}

struct PKIIssue: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "issue",
        abstract: "Issue a certificate: ROLE-NAME.crt, and ROLE-NAME.key that only you can read."
    )

    @Argument(help: "agent, hub, gateway or operator.")
    var role: Role

    @Argument(help: "An agent's cluster, a gateway's region, a hub's or an operator's own name.")
    var name: String

    @Option(
        help: ArgumentHelp(
            "A host name or IP address under which a hub's own etcd is reached, and from which it connects; may be "
                + "given often. Only hubs with managedEtcd need it.",
            valueName: "host"
        )
    )
    var host: [String] = []

    @Option(help: ArgumentHelp("How long it is valid, as in 90d or 12h.", valueName: "time"))
    var lifetime = Lifetime(days: 90)

    @OptionGroup var options: PKIOptions

    func run() throws {
        try self.options.report("issue") { folder in
            let now = Date()
            let held = try folder.issue(
                role: self.role,
                name: self.name,
                hosts: self.host,
                lifetime: self.lifetime.seconds,
                now: now
            )
            let file = self.role == .operator ? nil : "\(self.role).yaml"
            return PKIReport(
                try folder.authority(),
                in: folder,
                [held],
                now: now,
                next: file.map { file in
                    [
                        "in \(file): tls: {certificate: \(held.certificateFile), key: \(held.keyFile), "
                            + "authority: \(folder.authorityFile)}"
                    ]
                } ?? []
            )
        }
    }
}

struct PKIRotate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate",
        abstract:
            "Replace the certificates that are due, with new keys: those with less than a third of their life left."
    )

    @Flag(help: "Replace every certificate, due or not.")
    var all = false

    @Option(help: ArgumentHelp("How long the new ones are valid, as in 90d.", valueName: "time"))
    var lifetime = Lifetime(days: 90)

    @OptionGroup var options: PKIOptions

    func run() throws {
        try self.options.report("rotate") { folder in
            let now = Date()
            let due = try folder.certificates().filter { self.all || $0.isDue(now: now) }
            let fresh = try due.map { try folder.rotate($0, lifetime: self.lifetime.seconds, now: now) }
            let next =
                fresh.isEmpty
                ? "nothing was due; --all replaces every certificate"
                : "copy each pair to its program: it takes changed files within seconds, without a restart"
            return PKIReport(try folder.authority(), in: folder, fresh, now: now, next: [next])
        }
    }
}

struct PKIList: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the certificates of a folder, and when each expires."
    )

    @OptionGroup var options: PKIOptions

    func run() throws {
        try self.options.report("list") { folder in
            let now = Date()
            let held = try folder.certificates()
            let due = held.filter { $0.isDue(now: now) }
            let next = due.isEmpty ? [] : ["\(due.count) due: isobar pki rotate --pki \(folder.path)"]
            return PKIReport(try folder.authority(), in: folder, held, now: now, next: next)
        }
    }
}
