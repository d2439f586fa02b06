import ArgumentParser
import Foundation
import Testing

@testable import OperatorCLI

@Suite("Simulating what is learned of capacity")
struct SimulateCapacityTests {
    private static let trace = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "testenv/traces/azure2023_conv_2000.csv").path

    @Test("gives a row for each profile, with an error in percent for each load, and the same one again")
    func table() throws {
        let options = ["--trace", Self.trace, "--loads", "0.7", "--runs", "1", "--counted", "60"]
        let command = try SimulateCapacityCommand.parse(options)
        let lines = try command.lines()
        #expect(lines.count == 2 + 6)
        #expect(lines[0] == "| profile | true req/s | load 0.7 |")
        let row = /\| [-a-z0-9]+ \| [0-9.]+ \| [+−]\d+ \([+−]\d+ … [+−]\d+\) \|/
        #expect(lines.dropFirst(2).allSatisfy { $0.wholeMatch(of: row) != nil }, "\(lines)")
    }

    @Test("refuses loads that are no numbers, and a trace that is skipped to its end")
    func refuses() throws {
        #expect(throws: (any Error).self) {
            try SimulateCapacityCommand.parse(["--trace", Self.trace, "--loads", "0.5,x"])
        }
        let command = try SimulateCapacityCommand.parse(["--trace", Self.trace, "--skip", "2000"])
        #expect(throws: ValidationError.self) { try command.lines() }
    }
}
