import ArgumentParser
import Foundation
import TestKit
import Testing

@testable import OperatorCLI

@Suite("isobar pki")
struct PKICommandTests {
    @Test(
        "a lifetime is a number and a unit",
        arguments: [("90d", 7_776_000), ("12h", 43_200), ("5m", 300), ("9s", 9)]
    )
    func lifetime(text: String, seconds: Int) {
        #expect(Lifetime(argument: text)?.seconds == TimeInterval(seconds))
    }

    @Test("anything else is refused", arguments: ["", "d", "-1d", "0d", "1.5d", "10", "1y"])
    func noLifetime(text: String) {
        #expect(Lifetime(argument: text) == nil)
    }

    @Test("what is left is said as an operator says it")
    func ages() {
        #expect([-1, 59, 3_600, 86_400, 7_776_000].map(PKIReport.age) == ["expired", "59s", "60m", "24h", "90d"])
    }

    @Test("init, issue and rotate leave files that say what they are, and refuse to overwrite")
    func commands() throws {
        let folder = try TemporaryFolder()
        let pki = folder.file("pki")
        func run(_ arguments: String...) throws {
            var command = try PKICommand.parseAsRoot(arguments + ["--pki", pki])
            try command.run()
        }
        try run("init", "--fleet", "acme")
        try run("issue", "agent", "us-east-a", "--lifetime", "1h")
        let key = try String(contentsOfFile: "\(pki)/agent-us-east-a.key", encoding: .utf8)
        #expect(throws: (any Error).self) { try run("issue", "agent", "us-east-a") }
        #expect(throws: (any Error).self) { try run("init", "--fleet", "acme") }
        try run("rotate")
        #expect(try String(contentsOfFile: "\(pki)/agent-us-east-a.key", encoding: .utf8) == key, "it was not due")
        try run("rotate", "--all", "-o", "json")
        #expect(try String(contentsOfFile: "\(pki)/agent-us-east-a.key", encoding: .utf8) != key)
        try run("list")
    }
}
