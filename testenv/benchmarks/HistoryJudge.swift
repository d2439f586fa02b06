import ArgumentParser
import Foundation
import Linearizability

/// Whether what clients saw of registers can have happened: one JSON line an operation in, one JSON object out.
struct HistoryJudge: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "linearizability",
        abstract: "Judge a history of registers: can every answer be explained by one order of all operations?",
        discussion: """
            Each line of the file is an object:
              key       the register
              call      read, write, replace (needs `expected`) or remove
              value     what is written
              expected  what replace wants to stand there
              outcome   ok, failed (told that nothing was done) or unknown (the answer was lost)
              answer    of an ok call: done, conflict, absent, or value with `read` (null: nothing stood there)
              began, ended   seconds on one clock for all clients

            Exit codes: 0 every register is linearizable, 1 one is not, 2 one could not be decided, 65 a bad line.
            """
    )

    @Argument(help: "The history, JSON lines.")
    var file: String

    @Option(help: "How many configurations of one register are looked at before it is given up.")
    var budget = 2_000_000

    private typealias Entry = LinearizabilityCheck<Register>.Entry

    private struct Line: Decodable {
        var key: String
        var call: String
        var value: String?
        var expected: String?
        var outcome: String
        var answer: String?
        var read: String?
        var began: Double
        var ended: Double
    }

    private struct Report: Encodable {
        struct Violation: Encodable {
            var key: String
            var verdict: String
            /// Lines of the file, counted from 1.
            var longest: [Int] = []
            var stuck: [Int] = []
        }

        var registers = 0
        var operations = 0
        var answered = 0
        var failed = 0
        var unknown = 0
        var violations: [Violation] = []
    }

    private struct BadLine: Error, CustomStringConvertible {
        let number: Int
        let reason: String
        var description: String { "line \(self.number): \(self.reason)" }
    }

    func run() throws {
        let history: [(line: Int, key: String, operation: Entry)]
        do {
            history = try self.read()
        } catch {
            FileHandle.standardError.write(Data("isobar-bench linearizability: \(self.file): \(error)\n".utf8))
            throw ExitCode(65)
        }
        var report = Report()
        var isUndecided = false
        let check = LinearizabilityCheck(Register(), budget: self.budget)
        for (key, entries) in Dictionary(grouping: history, by: \.key).sorted(by: { $0.key < $1.key }) {
            report.registers += 1
            report.operations += entries.count
            for entry in entries {
                switch entry.operation.outcome {
                case .answered: report.answered += 1
                case .failed: report.failed += 1
                case .unknown: report.unknown += 1
                }
            }
            switch check.verdict(of: entries.map(\.operation)) {
            case .linearizable: break
            case .notLinearizable(let longest, let stuck):
                report.violations.append(
                    .init(
                        key: key,
                        verdict: "not linearizable",
                        longest: longest.map { entries[$0].line },
                        stuck: stuck.map { entries[$0].line }
                    )
                )
            case .undecided(let configurations):
                isUndecided = true
                report.violations.append(.init(key: key, verdict: "undecided after \(configurations) configurations"))
            }
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        print(String(decoding: try encoder.encode(report), as: UTF8.self))
        if !report.violations.isEmpty { throw ExitCode(isUndecided ? 2 : 1) }
    }

    private func read() throws -> [(line: Int, key: String, operation: Entry)] {
        let lines = try String(contentsOfFile: self.file, encoding: .utf8).split(
            separator: "\n",
            omittingEmptySubsequences: false
        )
        let decoder = JSONDecoder()
        return try lines.enumerated().compactMap { place, text in
            guard !text.isEmpty else { return nil }
            do {
                let line = try decoder.decode(Line.self, from: Data(text.utf8))
                return (place + 1, line.key, try Self.operation(line, place + 1))
            } catch let error as BadLine {
                throw error
            } catch {
                throw BadLine(number: place + 1, reason: "\(error)")
            }
        }
    }

    private static func operation(
        _ line: Line,
        _ number: Int
    ) throws -> Entry {
        let call: Register.Call
        switch (line.call, line.value, line.expected) {
        case ("read", _, _): call = .read
        case ("write", let value?, _): call = .write(value)
        case ("replace", let value?, let expected?): call = .replace(expected, with: value)
        case ("remove", _, _): call = .remove
        default:
            throw BadLine(
                number: number,
                reason: "call: read, write with value, replace with value and expected, or remove"
            )
        }
        let outcome: Outcome<Register.Answer>
        switch (line.outcome, line.answer) {
        case ("failed", _): outcome = .failed
        case ("unknown", _): outcome = .unknown
        case ("ok", "done"?): outcome = .answered(.done)
        case ("ok", "conflict"?): outcome = .answered(.conflict)
        case ("ok", "absent"?): outcome = .answered(.absent)
        case ("ok", "value"?): outcome = .answered(.value(line.read))
        default:
            throw BadLine(
                number: number,
                reason: "outcome: failed, unknown, or ok with the answer done, conflict, absent or value"
            )
        }
        guard line.ended >= line.began else {
            throw BadLine(number: number, reason: "ended: must not be before began")
        }
        return Entry(call, outcome, began: line.began, ended: line.ended)
    }
}
