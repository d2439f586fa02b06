import Foundation
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

    package let members: [ChildProcess]
    /// The members' client addresses, `127.0.0.1:PORT`.
    package let endpoints: [String]
    private let folder: TemporaryFolder

    /// - Throws: ``Missing``, or when there is no folder or port.
    package init(members count: Int = 1) async throws {
        guard let executable = Self.executable else { throw Missing() }
        let folder = try TemporaryFolder()
        let ports = try await FreePorts.take(2 * count)
        let all = (0..<count).map { "m\($0)=http://127.0.0.1:\(ports[count + $0])" }.joined(separator: ",")
        self.folder = folder
        self.endpoints = (0..<count).map { "127.0.0.1:\(ports[$0])" }
        self.members = (0..<count).map { place in
            let (client, peer) = ("http://127.0.0.1:\(ports[place])", "http://127.0.0.1:\(ports[count + place])")
            return ChildProcess(
                executable,
                [
                    "--name", "m\(place)", "--data-dir", folder.file("m\(place)"), "--log-level", "warn",
                    "--listen-client-urls", client, "--advertise-client-urls", client,
                    "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", all,
                ],
                log: folder.file("m\(place).log")
            )
        }
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
