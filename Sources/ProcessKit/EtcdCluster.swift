import Foundation
import LoopbackPorts
import Subprocess
import TestKit

/// A real etcd on free ports and in a fresh folder, for one test.
package struct EtcdCluster: Sendable {
    /// What a suite that needs etcd says when it cannot run.
    package static let advice = "etcd is not installed, so nothing is known about the store in etcd; run testenv/setup"

    /// Where etcd is, when it is installed.
    package static var executable: String? {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":") + ["/usr/bin"]
        return folders.map { "\($0)/etcd" }.first(where: FileManager.default.isExecutableFile(atPath:))
    }

    /// Whether a suite that needs etcd is to run: a developer may be without it, CI may not.
    package static var isExpected: Bool {
        self.executable != nil || ProcessInfo.processInfo.environment["CI"] != nil
    }

    /// etcd is not installed.
    package struct Missing: Error, CustomStringConvertible {
        package var description: String { EtcdCluster.advice }
    }

    /// PEM files of a cluster that asks its clients for certificates.
    package struct Certificates: Sendable {
        package var certificate: String
        package var key: String
        package var authority: String
        /// The host name that a client's certificate must carry; any when `nil`.
        package var admitted: String?

        package init(certificate: String, key: String, authority: String, admitted: String? = nil) {
            self.certificate = certificate
            self.key = key
            self.authority = authority
            self.admitted = admitted
        }
    }

    private let certificates: Certificates?
    package let members: [ChildProcess]
    /// The members' client addresses, `127.0.0.1:PORT`.
    package let endpoints: [String]
    private let folder: TemporaryFolder

    /// - Parameters:
    ///   - count: Of members.
    ///   - certificates: TLS toward clients with these; plain text without them.
    ///   - more: More of etcd's options, for each member.
    /// - Throws: ``Missing``, or when there is no folder or port.
    package init(members count: Int = 1, certificates: Certificates? = nil, options more: [String] = []) async throws {
        guard let executable = Self.executable else { throw Missing() }
        let folder = try TemporaryFolder()
        let ports = try FreePorts.take(2 * count)
        let all = (0..<count).map { "m\($0)=http://127.0.0.1:\(ports[count + $0])" }.joined(separator: ",")
        self.folder = folder
        self.certificates = certificates
        var secure: [String] = []
        if let certificates {
            secure = [
                "--cert-file", certificates.certificate, "--key-file", certificates.key,
                "--trusted-ca-file", certificates.authority, "--client-cert-auth",
            ]
            if let admitted = certificates.admitted { secure += ["--client-cert-allowed-hostname", admitted] }
        }
        let (options, scheme) = (secure + more, certificates == nil ? "http" : "https")
        self.endpoints = (0..<count).map { "127.0.0.1:\(ports[$0])" }
        self.members = (0..<count).map { place in
            let (client, peer) = ("\(scheme)://127.0.0.1:\(ports[place])", "http://127.0.0.1:\(ports[count + place])")
            return ChildProcess(
                executable,
                [
                    "--name", "m\(place)", "--data-dir", folder.file("m\(place)"), "--log-level", "warn",
                    "--listen-client-urls", client, "--advertise-client-urls", client,
                    "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", all,
                ] + options,
                log: folder.file("m\(place).log")
            )
        }
    }

    /// Asks the first member in JSON, for what no room of ours asks for.
    ///
    /// - Parameters:
    ///   - path: Such as `/v3/auth/enable`.
    ///   - body: The request.
    /// - Returns: The answer.
    /// - Throws: When `curl` cannot be run.
    package func ask(_ path: String, _ body: String) async throws -> String {
        var arguments = ["--silent", "--max-time", "10", "--data", body]
        if let certificates {
            arguments += [
                "--cacert", certificates.authority, "--cert", certificates.certificate, "--key", certificates.key,
            ]
        }
        arguments.append("\(self.certificates == nil ? "http" : "https")://\(self.endpoints[0])\(path)")
        return try await Subprocess.run(
            .name("curl"),
            arguments: Arguments(arguments),
            input: .none,
            output: .string(limit: 1 << 16),
            error: .discarded
        ).standardOutput
    }

    /// Runs every member beside a body, and stops them after it.
    ///
    /// - Throws: What the body throws, or when a member cannot be started.
    package func run<Result: Sendable>(_ body: () async throws -> Result) async throws -> Result {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for member in self.members { group.addTask { try await member.run() } }
            defer { group.cancelAll() }
            return try await body()
        }
    }
}
