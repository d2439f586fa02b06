import AsyncHTTPClient
import FleetModel
import Foundation
import NIOHTTP1
import NIOPosix
import Synchronization
import TestKit
import Testing

@testable import DemoProgram

@Suite struct SupervisorTests {
    private let region = RegionName(unchecked: "us-east")
    private let clock = ContinuousClock()

    private func child(_ name: String, _ script: String, in folder: String) -> Child {
        Child(
            name: name,
            region: region,
            arguments: ["-c", script],
            log: "\(folder)/\(name).log",
            probe: Child.Probe(address: EndpointAddress(host: "127.0.0.1", port: 1), path: "/readyz")
        )
    }

    private func withFolder(_ body: (String) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("demo-\(UUID())").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await body(folder)
    }

    private func said(_ child: Child) -> String { (try? String(contentsOfFile: child.log, encoding: .utf8)) ?? "" }

    private func until(_ condition: () -> Bool) async throws {
        try await eventually("the children are so", condition)
    }

    @Test func aChildThatEndsByItselfIsReportedAndItsWordsAreInItsLog() async throws {
        try await withFolder { folder in
            let lost = Mutex<[String]>([])
            let supervisor = Supervisor(executable: "/bin/sh", lifeline: try Lifeline()) { child, how in
                lost.withLock { $0.append("\(child.name) \(how)") }
            }
            let child = child("hub", "echo out; echo cannot bind >&2; exit 3", in: folder)
            await supervisor.run(child)
            #expect(lost.withLock { $0 } == ["hub ended with exit code 3"])
            #expect(said(child) == "out\ncannot bind\n")
            #expect(supervisor.end(of: "hub") == "ended with exit code 3")
        }
    }

    @Test func aKilledRegionIsNotReportedAndTheOthersLive() async throws {
        try await withFolder { folder in
            let lost = Mutex<[String]>([])
            let supervisor = Supervisor(executable: "/bin/sh", lifeline: try Lifeline()) { child, _ in
                lost.withLock { $0.append(child.name) }
            }
            let children = ["a", "b"].map { child($0, "echo up; exec sleep 60", in: folder) }
            try await withThrowingDiscardingTaskGroup { group in
                for child in children { group.addTask { await supervisor.run(child) } }
                try await until { children.allSatisfy { said($0) == "up\n" } && supervisor.living == 2 }
                supervisor.kill(["a"])
                try await until { supervisor.living == 1 }
                #expect(supervisor.end(of: "a") == "was ended by signal 9" && supervisor.end(of: "b") == nil)
                group.cancelAll()
            }
            #expect(supervisor.living == 0)
            #expect(lost.withLock { $0 }.isEmpty)
        }
    }

    @Test func theEndAsksFirstAndThenInsists() async throws {
        try await withFolder { folder in
            let supervisor = Supervisor(executable: "/bin/sh", lifeline: try Lifeline()) { _, _ in }
            let polite = child(
                "polite",
                "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done",
                in: folder
            )
            let deaf = child("deaf", "trap '' TERM; echo up; while :; do sleep 0.05; done", in: folder)
            let begun = Mutex(clock.now)
            try await withThrowingDiscardingTaskGroup { group in
                for child in [polite, deaf] { group.addTask { await supervisor.run(child) } }
                try await until { said(polite) == "up\n" && said(deaf) == "up\n" }
                begun.withLock { $0 = clock.now }
                group.cancelAll()
            }
            let taken = clock.now - begun.withLock { $0 }
            #expect(said(polite) == "up\nbye\n")
            #expect(taken >= Supervisor.grace && taken < Supervisor.grace + .seconds(20), "\(taken)")
            #expect(supervisor.living == 0)
        }
    }

    @Test func childrenReadTheEndOfTheirInputWhenTheDemoIsGone() async throws {
        try await withFolder { folder in
            let waiting = child("waiting", "echo up; cat; echo parent gone", in: folder)
            let lifeline = try Lifeline()
            let supervisor = Supervisor(executable: "/bin/sh", lifeline: lifeline) { _, _ in }
            try await withThrowingDiscardingTaskGroup { group in
                group.addTask { await supervisor.run(waiting) }
                try await until { said(waiting) == "up\n" }
                lifeline.cut()
            }
            #expect(said(waiting) == "up\nparent gone\n")
        }
    }

    @Test func aChildThatEndsBeforeItIsReadyStopsTheStartWithTheEndOfItsLog() async throws {
        try await withFolder { folder in
            let http = HTTPClient.shared
            let supervisor = Supervisor(executable: "/bin/sh", lifeline: try Lifeline()) { _, _ in }
            let readiness = Readiness(http: http, supervisor: supervisor, clock: LoadClock()) { _ in }
            let broken = child("hub", "echo first; echo listen 127.0.0.1:9: address in use >&2; exit 1", in: folder)
            let failure = await #expect(throws: StartFailure.self) {
                try await withThrowingDiscardingTaskGroup { group in
                    group.addTask { await supervisor.run(broken) }
                    try await readiness.wait(for: [broken])
                }
            }
            #expect(failure?.reason == "ended with exit code 1")
            #expect(failure?.tail == ["first", "listen 127.0.0.1:9: address in use"])
            #expect(failure?.isPortTaken == true)
        }
    }

    @Test func aChildIsReadyWhenItsProbeAnswers() async throws {
        try await withFolder { folder in
            let http = HTTPClient.shared
            let supervisor = Supervisor(executable: "/bin/sh", lifeline: try Lifeline()) { _, _ in }
            let readiness = Readiness(http: http, supervisor: supervisor, clock: LoadClock()) { _ in }
            let server = FakeGateway([.status(.serviceUnavailable, retryAfter: nil), .status(.ok, retryAfter: nil)])
            try await server.serve { address in
                var gateway = child("gateway", "exec sleep 60", in: folder)
                gateway.probe.address = address
                try await readiness.wait(for: [gateway])
            }
            #expect(server.requests.count >= 2)
        }
    }

    @Test func aStartThatFailsShowsTheEndOfTheLog() throws {
        let failure = StartFailure(
            child: "hub",
            reason: "ended with exit code 1",
            log: "/tmp/x/hub.log",
            tail: ["bind: Address already in use"]
        )
        #expect(failure.isPortTaken)
        #expect(
            failure.description
                == "hub ended with exit code 1; its log /tmp/x/hub.log ends:\n  bind: Address already in use"
        )
    }
}
