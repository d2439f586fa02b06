import EtcdCare
import FleetModel
import Foundation
import LoopbackPorts
import ProcessKit
import Synchronization
import TestKit
import Testing

@testable import EtcdProcess

@Suite("etcd's program")
struct EtcdProgramTests {
    private func program(_ folder: TemporaryFolder, _ script: String) throws -> String {
        let path = folder.file("etcd")
        try Data("#!/bin/sh\n\(script)\n".utf8).write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
        return path
    }

    @Test("that is not there, too old, or no etcd is refused, with the field and the fix")
    func refused() async throws {
        let folder = try TemporaryFolder()
        func fault(_ named: String) async -> String {
            do {
                return "found \(try await EtcdProgram.find(named).path)"
            } catch {
                return "\(error)"
            }
        }
        let missing = await fault("no-such-etcd")
        #expect(missing.hasPrefix("managedEtcd.program: no-such-etcd: is not in PATH; install etcd 3.4.0 or later"))
        #expect(await fault(folder.file("none")).contains("is no program"))
        let old = try self.program(folder, "echo 'etcd Version: 3.3.27'")
        #expect(
            await fault(old)
                == "managedEtcd.program: \(old): is etcd 3.3.27; 3.4.0 or later is needed, which managedEtcd.program may name"
        )
        let other = try self.program(folder, "echo hello")
        #expect(await fault(other).contains("is it etcd?"))
    }

    @Test("a line of its log is read with its level and its fields; what is no JSON is told as it is")
    func logLine() {
        let line = EtcdLogLine(
            #"{"level":"warn","ts":"2026-11-28T11:52:35.143Z","caller":"a.go:1","msg":"slow fdatasync","took":"1s","n":3}"#
        )
        #expect(line.level == .warn)
        #expect(line.message == "slow fdatasync")
        #expect(line.fields == ["took": "1s", "n": "3"])
        #expect(EtcdLogLine("panic: runtime error").message == "panic: runtime error")
        #expect(EtcdLogLine("panic: runtime error").level == .warn)
    }
}

@Suite("An etcd that runs", .enabled(if: EtcdCluster.isExpected, Comment(rawValue: EtcdCluster.advice)))
struct EtcdProcessTests {
    private static func launch(_ folder: TemporaryFolder) async throws -> EtcdLaunch {
        let ports = try FreePorts.take(2)
        let site = EtcdSite(
            replica: try ReplicaName("hub-0"),
            client: EndpointAddress(host: "127.0.0.1", port: ports[0]),
            peer: EndpointAddress(host: "127.0.0.1", port: ports[1])
        )
        let settings = EtcdLaunch.Settings(
            site: site,
            sites: [site],
            data: folder.file("data"),
            certificates: nil,
            quota: 1 << 30,
            election: 1
        )
        return EtcdLaunch(
            settings: settings,
            state: .new,
            members: [.init(name: "hub-0", peer: settings.url(site.peer))]
        )
    }

    private final class Log: Sendable {
        let lines = Mutex<[EtcdLogLine]>([])
        func take(_ line: EtcdLogLine) { self.lines.withLock { $0.append(line) } }
        func has(_ message: String) -> Bool { self.lines.withLock { $0.contains { $0.message.contains(message) } } }
    }

    @Test("tells its log, leaves its data, and hands over before it ends when it is told to")
    func runs() async throws {
        let folder = try TemporaryFolder()
        let launch = try await Self.launch(folder)
        let data = try EtcdData(path: launch.settings.data)
        #expect(!data.isUsed)
        let program = try await EtcdProgram.find("etcd")
        let log = Log()
        try await withThrowingTaskGroup(of: EtcdProcess.End?.self) { group in
            let etcd = EtcdProcess(program: program, data: data)
            group.addTask { try await etcd.run(launch) { log.take($0) } }
            try await eventually("it serves") { log.has("serving client traffic") || log.has("ready to serve client") }
            #expect(data.isUsed)
            #expect(data.leftBehind != nil)
            etcd.stop()
            // It hands over, and then passes the signal on to itself.
            let end = try await group.next()
            #expect(end == .exited(0) || end == .killed(SIGTERM), "it ended with \(String(describing: end))")
        }
        #expect(log.has("closed etcd server"))
        #expect(data.leftBehind == nil)
    }

    @Test("one that a killed hub left behind is found by its note and ended; another program of that number is not")
    func leftBehind() async throws {
        let folder = try TemporaryFolder()
        let launch = try await Self.launch(folder)
        let data = try EtcdData(path: launch.settings.data)
        let etcd = ChildProcess(try await EtcdProgram.find("etcd").path, launch.arguments, log: folder.file("log"))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await etcd.run() }
            try await eventually("it runs") { etcd.lines.contains { $0.contains("serving") } }
            #expect(await data.endLeftBehind() == false, "there is no note")
            try data.remember(getpid())
            #expect(await data.endLeftBehind() == false, "the note is of another program")
            let process = try #require(etcd.processIdentifier)
            try data.remember(process)
            #expect(await data.endLeftBehind())
            try await eventually("it has ended") { !etcd.isRunning }
            try await group.waitForAll()
        }
    }
}
