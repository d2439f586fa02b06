import ArgumentParser
import ConfigurationFiles
import FleetModel
import Foundation
import GRPCCore
import Logging
import OperatorLink
import ProgramShell
import SwiftProtobuf
import WireProtocol
import WireTransport

/// Where the hub is; every command that asks one takes this.
struct HubOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp("The hub's address; default $ISOBAR_HUB, else 127.0.0.1:7400.", valueName: "address")
    )
    var hub: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "The operator's certificate, NAME.crt, with NAME.key and ca.crt beside it; default $ISOBAR_CERTIFICATE. "
                + "Without one the link is plain text, and on loopback only.",
            valueName: "file"
        )
    )
    var certificate: String?

    private static func environment(_ name: String) -> String? { ProcessInfo.processInfo.environment[name] }

    var address: String { self.hub ?? Self.environment("ISOBAR_HUB") ?? "127.0.0.1:7400" }

    /// What the link shows; `nil` for plain text.
    private func credentials() throws -> LinkCredentials? {
        guard let certificate = self.certificate ?? Self.environment("ISOBAR_CERTIFICATE") else { return nil }
        let url = URL(fileURLWithPath: certificate)
        let files = LinkFiles(
            certificate: certificate,
            key: url.deletingPathExtension().appendingPathExtension("key").path,
            authority: url.deletingLastPathComponent().appendingPathComponent("ca.crt").path
        )
        // A refusal is reported as the call's failure.
        let logger = Logger(label: "isobar.operator") { _ in SwiftLogNoOpLogHandler() }
        return try LinkCredentials(files: files, logger: logger)
    }

    /// Connects, asks, and reports a failure as one line and an exit code.
    ///
    /// - Throws: `ExitCode`.
    func ask(
        _ command: String,
        _ body: @escaping @Sendable (OperatorClient<WireClient.Transport>) async throws -> Void
    ) async throws {
        try await Answers.reporting(command) {
            let address: EndpointAddress
            do throws(InvalidName) {
                address = try EndpointAddress(self.address)
            } catch {
                throw ValidationError("--hub: \(error)")
            }
            let credentials = try self.credentials()
            let wire = try WireClient(to: address, field: "--hub", role: .hub, credentials: credentials)
            try await withThrowingTaskGroup(of: Void.self) { group in
                if let credentials { group.addTask { try await credentials.run() } }
                group.addTask { try await wire.client.runConnections() }
                try await body(OperatorClient(wire.client, hub: address.description))
                wire.client.beginGracefulShutdown()
                group.cancelAll()
            }
        }
    }
}

/// How a command that asks a hub ends.
enum Answers {
    /// There is something to see to: `check` with warnings, `diff` with differences.
    static let notable = ExitCode(2)
    /// A check failed.
    static let failed = ExitCode(3)
    /// The hub cannot be reached or cannot answer now (`EX_UNAVAILABLE`).
    static let unavailable = ExitCode(69)
    /// The certificate does not allow it (`EX_NOPERM`).
    static let forbidden = ExitCode(77)
    /// Somebody else changed it in between (`EX_TEMPFAIL`).
    static let conflict = ExitCode(75)

    static func reporting(_ command: String, _ body: () async throws -> Void) async throws {
        try await Failures.reporting(command) {
            do {
                try await body()
            } catch let refusal as OperatorRefusal {
                Failures.report(command, refusal.reason)
                switch refusal.kind {
                case .unavailable: throw Self.unavailable
                case .badRequest: throw Failures.badInput
                case .forbidden: throw Self.forbidden
                case .absent: throw ExitCode.failure
                }
            } catch let error as ValidationError {
                Failures.report(command, error.message)
                throw ExitCode(64)
            }
        }
    }

    /// A message as JSON, with the names of its fields and numbers as numbers.
    static func json(_ message: some SwiftProtobuf.Message) throws -> String {
        var options = JSONEncodingOptions()
        options.preserveProtoFieldNames = true
        options.alwaysPrintInt64sAsNumbers = true
        options.useDeterministicOrdering = true
        return try message.jsonString(options: options)
    }
}

/// Who asks, as the hub is told: the local user, which counts on links without identities, where nobody checks it.
enum Operator {
    static var claimed: String {
        let environment = ProcessInfo.processInfo.environment
        return environment["SUDO_USER"] ?? environment["USER"] ?? environment["LOGNAME"] ?? NSUserName()
    }
}
