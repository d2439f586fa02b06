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
        help: ArgumentHelp(
            "The hub's address, or those of its replicas with commas: the next is asked when one does not answer. "
                + "Default $ISOBAR_HUB, else 127.0.0.1:7400.",
            valueName: "address,…"
        )
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

    /// Where replicas are, in the order in which they are asked.
    ///
    /// - Throws: `ValidationError` for what is no address.
    func addresses() throws -> [EndpointAddress] {
        let text = self.hub ?? Self.environment("ISOBAR_HUB") ?? "127.0.0.1:7400"
        do {
            let addresses = try text.split(separator: ",").map {
                try EndpointAddress($0.trimmingCharacters(in: .whitespaces))
            }
            guard !addresses.isEmpty else { throw ValidationError("--hub: names no address") }
            return addresses
        } catch let error as InvalidName {
            throw ValidationError("--hub: \(error)")
        }
    }

    /// What the link shows; `nil` for plain text.
    func credentials() throws -> LinkCredentials? {
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

    /// What a command asks of a hub.
    typealias Question = @Sendable (OperatorClient<WireClient.Transport>) async throws -> Void

    /// Connects, asks, and reports a failure as one line and an exit code.
    ///
    /// When a replica does not answer, the next one is asked. A change is sent once: its answer may have been lost
    /// after it came into force. So a replica shows that it is there before a change is sent to it.
    ///
    /// - Parameters:
    ///   - command: For messages.
    ///   - isChange: Whether asking twice is not the same as asking once.
    ///   - body: Asks.
    /// - Throws: `ExitCode`.
    func ask(_ command: String, isChange: Bool = false, _ body: @escaping Question) async throws {
        try await Answers.reporting(command) {
            let addresses = try self.addresses()
            var refusals: [OperatorRefusal] = []
            for address in addresses {
                do {
                    if isChange, addresses.count > 1 { try await self.ask(address, Self.isThere) }
                } catch let refusal as OperatorRefusal where [.unreachable, .unavailable].contains(refusal.kind) {
                    refusals.append(refusal)
                    continue
                }
                do {
                    return try await self.ask(address, body)
                } catch let refusal as OperatorRefusal
                    where refusal.kind == .unreachable || refusal.kind == .unavailable && !isChange
                {
                    refusals.append(refusal)
                }
            }
            throw Self.summary(refusals)
        }
    }

    private static let isThere: Question = { client in
        var request = Isobar_V1_AuditRequest()
        request.limit = 1
        _ = try await client.audit(request)
    }

    /// Follows what hubs tell, from replica to replica, until `body` says that it has seen enough.
    ///
    /// - Parameters:
    ///   - command: For messages.
    ///   - body: Follows one replica; returns `true` when it has seen enough, and `false` or an error when the replica
    ///     is lost.
    /// - Throws: `ExitCode`, when no replica has answered at all.
    func follow(
        _ command: String,
        _ body: @escaping @Sendable (OperatorClient<WireClient.Transport>) async throws -> Bool
    ) async throws {
        try await Answers.reporting(command) {
            let addresses = try self.addresses()
            let (wasHeard, isOver) = (Once(), Once())
            var refusals: [OperatorRefusal] = []
            for turn in 0... {
                let address = addresses[turn % addresses.count]
                do {
                    try await self.ask(address) { client in
                        if try await body(client) { isOver.happens() }
                        wasHeard.happens()
                    }
                    if isOver.happened { return }
                    Failures.report(command, "the hub at \(address) has ended; going on with the next")
                    refusals = []
                } catch let refusal as OperatorRefusal where [.unreachable, .unavailable].contains(refusal.kind) {
                    refusals.append(refusal)
                    // It may have been lost after it was heard, which is no reason to give up.
                    let isNew = refusals.count >= addresses.count && !wasHeard.happened
                    if isNew { throw Self.summary(refusals) }
                    if refusals.count == 1 { Failures.report(command, "\(refusal.reason); going on with the next") }
                }
                try await Task.sleep(for: .milliseconds(turn % addresses.count == 0 ? 500 : 50))
            }
        }
    }

    private static func summary(_ refusals: [OperatorRefusal]) -> OperatorRefusal {
        let kind = refusals.allSatisfy { $0.kind == .unreachable } ? OperatorRefusal.Kind.unreachable : .unavailable
        return OperatorRefusal(kind, refusals.map(\.reason).joined(separator: "; "))
    }

    private func ask(_ address: EndpointAddress, _ body: @escaping Question) async throws {
        let credentials = try self.credentials()
        let wire = try WireClient(to: address, field: "--hub", role: .hub, credentials: credentials)
        try await withThrowingTaskGroup(of: Void.self) { group in
            if let credentials { group.addTask { try await credentials.run() } }
            group.addTask { try await wire.client.keepConnections() }
            defer { group.cancelAll() }
            try await body(OperatorClient(wire.client, hub: address.description))
        }
    }
}

extension HubOptions {
    /// Asks another replica with the same certificate; a failure is an answer too.
    func quietly<Value: Sendable>(
        at address: String,
        _ body: @escaping @Sendable (OperatorClient<WireClient.Transport>) async throws -> Value
    ) async -> (value: Value?, fault: String?) {
        do {
            let target = try EndpointAddress(address)
            let credentials = try self.credentials()
            let wire = try WireClient(to: target, field: "replica", role: .hub, credentials: credentials)
            return try await withThrowingTaskGroup(of: Void.self) { group in
                if let credentials { group.addTask { try await credentials.run() } }
                group.addTask { try await wire.client.keepConnections() }
                defer { group.cancelAll() }
                let client = OperatorClient(wire.client, hub: address, deadline: .seconds(3))
                return (try await body(client), nil)
            }
        } catch {
            return (nil, "\(error)")
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
                case .unavailable, .unreachable: throw Self.unavailable
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
