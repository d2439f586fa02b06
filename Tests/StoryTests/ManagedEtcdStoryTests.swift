import Foundation
import LoopbackPorts
import ProcessKit
import TestKit
import Testing

/// Three hub replicas that run their own etcd, with nothing else.
private struct ManagedFleet: Sendable {
    struct Hub: Sendable {
        let name: String
        let address: String
        let data: String
        let process: ChildProcess

        /// The etcd beside it, while it runs.
        var etcd: pid_t? {
            (try? String(contentsOfFile: "\(self.data)/etcd.pid", encoding: .utf8))
                .flatMap { pid_t($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
        }
    }

    let folder: TemporaryFolder
    let hubs: [Hub]
    /// What commands take besides `--hub`.
    let options: [String]

    // `isSecure`: mutual TLS on every link, those of etcd too.
    init(isSecure: Bool = false) async throws {
        let folder = try TemporaryFolder()
        let ports = try FreePorts.take(9)
        let members = (0..<3).map { place in
            "{replica: hub-\(place), client: \"127.0.0.1:\(ports[place])\", peer: \"127.0.0.1:\(ports[3 + place])\"}"
        }.joined(separator: ", ")
        let pki = folder.file("pki")
        if isSecure {
            var commands = [["init", "--fleet", "acme"], ["issue", "operator", "ann"]]
            commands += (0..<3).map { ["issue", "hub", "hub-\($0)", "--host", "127.0.0.1"] }
            for command in commands {
                let ended = try await Binary.run(["pki"] + command + ["--pki", pki])
                #expect(ended.code == 0, "\(ended)")
            }
        }
        self.hubs = try (0..<3).map { place in
            let file = folder.file("hub-\(place).yaml")
            let tls =
                isSecure
                ? "tls: {certificate: \(pki)/hub-hub-\(place).crt, key: \(pki)/hub-hub-\(place).key, "
                    + "authority: \(pki)/ca.crt}, " : ""
            try Data(
                """
                {replica: hub-\(place), listen: "127.0.0.1:\(ports[6 + place])",
                 \(tls)tick: 0.5, managedEtcd: {data: "\(folder.file("etcd-\(place)"))", members: [\(members)]}}
                """.utf8
            ).write(to: URL(fileURLWithPath: file))
            return Hub(
                name: "hub-\(place)",
                address: "127.0.0.1:\(ports[6 + place])",
                data: folder.file("etcd-\(place)"),
                process: ChildProcess(
                    Binary.path,
                    ["hub", "--etcd", "managed", "--config", file, "--log-format", "json"],
                    log: folder.file("hub-\(place).log")
                )
            )
        }
        self.folder = folder
        self.options = isSecure ? ["--certificate", "\(pki)/operator-ann.crt"] : []
    }

    func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: self.folder.file(name)))
    }

    static func drain(_ name: String) -> String {
        "{apiVersion: isobar.dev/v1alpha1, kind: Drain, metadata: {name: \(name)}, spec: {cluster: us-east-a}}"
    }

    func isobar(_ arguments: String..., hubs: [Hub]? = nil) async throws -> Binary.Ended {
        let addresses = (hubs ?? self.hubs).map(\.address).joined(separator: ",")
        return try await Binary.run(arguments + self.options + ["--hub", addresses])
    }

    /// Waits until a hub leads and so many members of etcd answer, as a hub sees them at this moment.
    @discardableResult
    func settled(members: Int = 3) async throws -> Hub {
        try await eventually("a hub leads, with \(members) members of etcd", within: .seconds(90)) {
            let ended = try await self.isobar("status", "-o", "json")
            guard ended.code == 0,
                let status = try JSONSerialization.jsonObject(with: Data(ended.output.utf8)) as? [String: Any],
                let store = status["store"] as? [String: Any], store["reachable"] as? Int == members
            else { return nil }
            return self.hubs.first { $0.name == status["leader"] as? String && $0.process.isRunning }
        }
    }

    /// Ends what a hub that was killed has left behind.
    func endLeftBehind() {
        for hub in self.hubs { if let etcd = hub.etcd { kill(etcd, SIGKILL) } }
    }
}

@Suite(
    "Hubs with their own etcd",
    .serialized,
    .enabled(if: EtcdCluster.isExpected, Comment(rawValue: EtcdCluster.advice))
)
struct ManagedEtcdStoryTests {
    @Test(
        "three hub processes are all that runs: members die, hubs die, a host is lost, a backup is restored, and what was written stays",
        .timeLimit(.minutes(5))
    )
    func life() async throws {
        let fleet = try await ManagedFleet()
        defer { fleet.endLeftBehind() }
        try fleet.write("drain.yaml", ManagedFleet.drain("night"))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for hub in fleet.hubs { group.addTask { try await hub.process.run() } }
            try await fleet.settled()
            let applied = try await fleet.isobar("apply", "-f", fleet.folder.file("drain.yaml"))
            #expect(applied.code == 0, "\(applied)")
            let status = try await fleet.isobar("status")
            #expect(status.output.contains("etcd beside the hubs, well, 3 of 3 members"), "\(status)")
            #expect(status.output.contains("leads") && status.output.contains("follows"), "\(status)")

            try await self.memberDies(fleet)
            try await self.hubDies(fleet, &group)
            try await self.hostIsLost(fleet, &group)
            try await self.backupIsRestored(fleet, &group)

            let kept = try await fleet.isobar("get", "drains", "-o", "name")
            #expect(kept.output.contains("Drain night"), "\(kept)")

            // Told to end, a hub leaves no etcd behind, and the others go on.
            let leader = try await fleet.settled()
            leader.process.signal(SIGTERM)
            try await eventually("it has ended", within: .seconds(30)) { !leader.process.isRunning }
            #expect(leader.etcd == nil)
            try await fleet.settled(members: 2)
            group.cancelAll()
        }
    }

    private func memberDies(_ fleet: ManagedFleet) async throws {
        let etcd = try #require(fleet.hubs[2].etcd)
        kill(etcd, SIGKILL)
        try await eventually("another etcd runs beside hub-2", within: .seconds(30)) {
            fleet.hubs[2].etcd.map { $0 != etcd } ?? false
        }
        try await fleet.settled()
        #expect(fleet.hubs[2].process.lines.contains { $0.contains("etcd has ended by itself") })
    }

    private func hubDies(_ fleet: ManagedFleet, _ group: inout ThrowingTaskGroup<Void, any Error>) async throws {
        let hub = fleet.hubs[0]
        let etcd = try #require(hub.etcd)
        hub.process.signal(SIGKILL)
        try await eventually("hub-0 is dead") { !hub.process.isRunning }
        group.addTask { try await hub.process.run() }
        try await eventually("whatever is left of its etcd is ended, and another started", within: .seconds(30)) {
            hub.etcd.map { $0 != etcd } ?? false
        }
        try await fleet.settled()
    }

    private func hostIsLost(_ fleet: ManagedFleet, _ group: inout ThrowingTaskGroup<Void, any Error>) async throws {
        let hub = fleet.hubs[1]
        hub.process.signal(SIGTERM)
        try await eventually("hub-1 has ended", within: .seconds(30)) { !hub.process.isRunning }
        try FileManager.default.removeItem(atPath: hub.data)
        group.addTask { try await hub.process.run() }
        try await eventually("the cluster takes it anew", within: .seconds(60)) {
            hub.process.lines.contains { $0.contains("the cluster has taken a new member") }
        }
        try await fleet.settled()
    }

    private func backupIsRestored(
        _ fleet: ManagedFleet,
        _ group: inout ThrowingTaskGroup<Void, any Error>
    ) async throws {
        let file = fleet.folder.file("fleet.backup")
        let backup = try await fleet.isobar("backup", file)
        #expect(backup.code == 0, "\(backup)")
        let gone = try await fleet.isobar("delete", "drain", "night")
        #expect(gone.code == 0, "\(gone)")
        let restore = ["restore", "--config", fleet.folder.file("hub-0.yaml"), "--from", file]
        let refused = try await Binary.run(restore)
        #expect(refused.code == 1 && refused.errors.contains("--replace"), "\(refused)")
        let restored = try await Binary.run(restore + ["--replace"])
        #expect(restored.code == 0 && restored.output.contains("restart every hub"), "\(restored)")
        for hub in fleet.hubs {
            hub.process.signal(SIGTERM)
            try await eventually("\(hub.name) has ended", within: .seconds(30)) { !hub.process.isRunning }
            group.addTask { try await hub.process.run() }
            try await fleet.settled()
        }
    }

    @Test(
        "operators name all replicas: any of them takes a change, and a watch outlives the one that it follows",
        .timeLimit(.minutes(5))
    )
    func operators() async throws {
        let fleet = try await ManagedFleet(isSecure: true)
        defer { fleet.endLeftBehind() }
        for name in ["a", "b", "c"] { try fleet.write("\(name).yaml", ManagedFleet.drain(name)) }
        func file(_ name: String) -> String { fleet.folder.file("\(name).yaml") }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for hub in fleet.hubs { group.addTask { try await hub.process.run() } }
            let leader = try await fleet.settled()
            let followers = fleet.hubs.filter { $0.name != leader.name }
            let (watched, other) = (followers[0], followers[1])

            let watch = ChildProcess(
                Binary.path,
                ["watch", "drains", "-o", "json"] + fleet.options + ["--hub", "\(watched.address),\(other.address)"],
                log: fleet.folder.file("watch.log")
            )
            func seen() -> [String] {
                watch.lines.compactMap { line in
                    guard let event = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any],
                        let kind = event["kind"] as? String
                    else { return nil }
                    let key = ((event["resource"] as? [String: Any])?["resource"] as? [String: Any])?["key"]
                    return "\(kind) \((key as? [String: Any])?["name"] as? String ?? "")"
                }
            }
            group.addTask { try await watch.run() }

            let first = try await fleet.isobar("apply", "-f", file("a"), hubs: [watched])
            #expect(first.code == 0, "a follower takes a change: \(first)")
            try await eventually("the watch shows it") { seen() == ["created a"] || seen() == ["current a"] }

            watched.process.signal(SIGKILL)
            try await eventually("the watched replica is dead") { !watched.process.isRunning }
            let second = try await fleet.isobar("apply", "-f", file("b"), hubs: [watched, other])
            #expect(second.code == 0, "the next replica takes it: \(second)")
            let gone = try await fleet.isobar("delete", "drain", "a", hubs: [watched, leader])
            #expect(gone.code == 0, "\(gone)")
            try await eventually("the watch goes on at the other", within: .seconds(30)) { seen().count >= 3 }
            let third = try await fleet.isobar("apply", "-f", file("c"), hubs: [leader])
            #expect(third.code == 0, "\(third)")
            try await eventually("and shows what comes after") { seen().last == "created c" }
            #expect(Set(seen().dropFirst()) == ["created b", "deleted a", "created c"])
            #expect(seen().count == 4, "something was shown twice: \(seen())")

            let none = try await fleet.isobar("get", "drains", hubs: [watched])
            #expect(none.code == 69 && none.errors.contains(watched.address), "\(none)")
            group.cancelAll()
        }
    }

    @Test("a hub that cannot run its etcd says which field is wrong, and ends")
    func refused() async throws {
        let folder = try TemporaryFolder()
        let ports = try FreePorts.take(4)
        func run(_ managed: String, _ more: String = "") async throws -> Binary.Ended {
            let text =
                "{replica: hub-0, listen: \"127.0.0.1:\(ports[0])\", store: etcd, \(more)managedEtcd: {\(managed)}}"
            try Data(text.utf8).write(to: URL(fileURLWithPath: folder.file("hub.yaml")))
            return try await Binary.run(["hub", "--config", folder.file("hub.yaml"), "--log-level", "critical"])
        }
        let data = "data: \(folder.file("etcd"))"
        let own = "{replica: hub-0, client: \"127.0.0.1:\(ports[1])\", peer: \"127.0.0.1:\(ports[2])\"}"
        let program = try await run("\(data), program: no-such-etcd, members: [\(own)]")
        #expect(
            program.code == 1 && program.errors.contains("managedEtcd.program: no-such-etcd: is not in PATH"),
            "\(program)"
        )
        let even = try await run(
            "\(data), members: [\(own), {replica: hub-1, client: \"127.0.0.1:1\", peer: \"127.0.0.1:2\"}]"
        )
        #expect(even.code == 65 && even.errors.contains("managedEtcd.members: has 2; name 3 or 5"), "\(even)")
        let far = try await run("\(data), members: [{replica: hub-0, client: \"10.0.0.1:1\", peer: \"10.0.0.1:2\"}]")
        #expect(far.code == 1 && far.errors.contains("links off loopback need mutual TLS"), "\(far)")
        let other = try await run(
            "\(data), members: [{replica: hub-9, client: \"127.0.0.1:1\", peer: \"127.0.0.1:2\"}]"
        )
        #expect(other.code == 1 && other.errors.contains("has no member of replica hub-0"), "\(other)")
        let lease = try await run("\(data), electionTimeout: 3, members: [\(own)]")
        #expect(lease.code == 65 && lease.errors.contains("lease: is less than one and a half"), "\(lease)")
        let both = try await run("\(data), members: [\(own)]", "etcd: [\"127.0.0.1:1\"], ")
        #expect(both.code == 65 && both.errors.contains("exclude each other"), "\(both)")
    }
}
