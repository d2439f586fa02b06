import ArgumentParser
import Foundation
import Testing

@testable import OperatorCLI

/// `isobar solve`, from the text of a problem to the text of the answer.
struct SolveCommandTests {
    private let problem = """
        {"pool": "Llama 3.1",
         "sources": [{"region": "regionA", "demand": {"premium": 30, "batch": 5}}, {"region": "regionB"}],
         "clusters": [
           {"name": "a", "region": "regionA", "capacity": 40, "servers": 8, "unloadedTTFT": 0.1, "queueScale": 0.2},
           {"name": "b", "region": "regionB", "capacity": 40, "servers": 8, "unloadedTTFT": 0.1, "queueScale": 0.2},
           {"name": "c", "region": "regionB", "capacity": 40, "state": "draining"}],
         "rtt": {"regionA": {"regionA": 0.001, "regionB": 0.08}},
         "policy": {"stepLimit": false, "epsilon": {"premium": 0.002}}}
        """

    private func run(_ problem: String, _ arguments: [String] = []) throws -> String {
        let command = try #require(
            try SolveCommand.parseAsRoot(["--problem", "-"] + arguments) as? SolveCommand
        )
        return try command.report(on: Data(problem.utf8))
    }

    private func answer(_ problem: String, _ arguments: [String] = []) throws -> [String: Any] {
        let text = try self.run(problem, arguments)
        return try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    @Test func `the answer has weights, figures, rows without each cluster, and reasons`() throws {
        let answer = try self.answer(self.problem)
        let weights = try #require(answer["weights"] as? [String: [String: [String: Double]]])
        let row = try #require(weights["premium"]?["regionA"])
        #expect(abs(row.values.reduce(0, +) - 1) < 1e-9)
        #expect(row["c"] == nil)
        #expect(weights["batch"]?["regionB"] != nil)
        let cost = try #require(answer["cost"] as? Double)
        let gap = try #require(answer["gap"] as? Double)
        #expect(cost > 0.1 && gap >= 0 && gap < 0.1 * cost)
        #expect((answer["iterations"] as? Int ?? 0) > 0)
        #expect((answer["overflow"] as? [String: Double])?["premium"] == 0)
        #expect((answer["prices"] as? [String: Any])?["c"] is NSNull)
        let failover = try #require(answer["failover"] as? [String: [String: [String: [String: Double]]]])
        #expect(failover.keys.sorted() == ["a", "b"])
        #expect(failover["a"]?["premium"]?["regionA"] == ["b": 1])
        let reasons = try #require(answer["reasons"] as? [[String: Any]])
        #expect(reasons.contains { $0["cluster"] as? String == "c" })
    }

    @Test func `a pair is explained in words, and as JSON where asked for`() throws {
        let words = try self.run(self.problem, ["--explain", "regionA/b"])
        #expect(words.contains("regionA → b, premium:"))
        #expect(words.contains("regionA to regionB is 80 ms there and back"))
        #expect(words.contains("one more request costs"))
        let drained = try self.run(self.problem, ["--explain", "regionB/c"])
        #expect(drained.contains("c is draining and takes no new sessions"))
        let reasons = try #require(
            try self.answer(self.problem, ["--explain", "regionA/b", "-o", "json"])["reasons"] as? [[String: Any]]
        )
        #expect(reasons.allSatisfy { $0["cluster"] as? String == "b" })
    }

    @Test func `a table is for people`() throws {
        let table = try self.run(self.problem, ["-o", "table"])
        #expect(table.contains("premium"))
        #expect(table.contains("Newton steps"))
        #expect(!table.contains("{"))
    }

    @Test func `weights in force hold the step`() throws {
        let held = self.problem
            .replacing("\"stepLimit\": false", with: "\"stepLimit\": 0.05, \"floor\": 0")
            .replacing("\"rtt\":", with: "\"previous\": {\"premium\": {\"regionA\": {\"a\": 0, \"b\": 1}}}, \"rtt\":")
        let weights = try #require(try self.answer(held)["weights"] as? [String: [String: [String: Double]]])
        #expect(abs((weights["premium"]?["regionA"]?["a"] ?? 0) - 0.05) < 1e-9)
    }

    @Test func `what is not a number is unknown, and nothing at all is an answer too`() throws {
        let odd = self.problem.replacing("\"capacity\": 40, \"servers\": 8", with: "\"capacity\": NaN, \"servers\": 8")
        #expect((try self.answer(odd)["faults"] as? [String])?.count == 2)
        let nothing = try self.answer("{\"sources\": [], \"clusters\": []}")
        #expect(nothing["cost"] as? Double == 0)
        let stranded = try self.answer(
            "{\"sources\": [{\"region\": \"x\", \"demand\": {\"premium\": 3}}], \"clusters\": []}"
        )
        #expect((stranded["overflow"] as? [String: Double])?["premium"] == 3)
    }

    @Test(arguments: [
        ("{", "$: this is not JSON"),
        ("[]", "$: expected an object, found a list"),
        ("{\"sources\": []}", "$: add \"clusters\""),
        ("{\"sources\": [{}], \"clusters\": []}", "$.sources[0]: add \"region\""),
        (
            "{\"sources\": [{\"region\": \"x\", \"demand\": {\"gold\": 1}}], \"clusters\": []}",
            "$.sources[0].demand.gold"
        ),
        (
            "{\"sources\": [], \"clusters\": [{\"name\": \"a\", \"region\": \"r\", \"capacity\": \"10\"}]}",
            "$.clusters[0].capacity: expected a number, found the text \"10\""
        ),
        (
            "{\"sources\": [], \"clusters\": [{\"name\": \"a\", \"region\": \"r\"}, {\"name\": \"a\", \"region\": \"r\"}]}",
            "$.clusters[1].name: \"a\" is already a cluster"
        ),
        (
            "{\"sources\": [], \"clusters\": [{\"name\": \"a\", \"region\": \"r\", \"state\": \"up\"}]}",
            "$.clusters[0].state: use active, draining or down"
        ),
        (
            "{\"sources\": [], \"clusters\": [], \"policy\": {\"epsilom\": 1}}",
            "$.policy.epsilom: unknown field; use one of"
        ),
        (
            "{\"sources\": [], \"clusters\": [], \"policy\": {\"floor\": {\"batch\": 2}}}",
            "$.policy.floor.batch: expected"
        ),
        ("{\"sources\": [], \"clusters\": [], \"rtt\": {\"a\": {\"b\": -1}}}", "$.rtt.a.b: expected 0 or more"),
    ])
    func `a fault in the file is named with its place and its cure`(text: String, words: String) throws {
        let error = try #require(throws: ProblemError.self) { try self.run(text) }
        #expect(error.description.contains(words))
    }

    @Test func `a fault in the file ends with 65, and a file that is not there with 66`() throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("problem-\(UUID().uuidString).json")
        try Data("{}".utf8).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        func exitCode(_ path: String) throws -> ExitCode? {
            let command = try SolveCommand.parseAsRoot(["--problem", path])
            do {
                var run = command
                try run.run()
                return nil
            } catch let code as ExitCode {
                return code
            }
        }
        #expect(try exitCode(file.path) == ExitCode(65))
        #expect(try exitCode(file.path + ".missing") == ExitCode(66))
    }

    @Test func `every field that is read is in the help`() {
        let help = SolveCommand.helpMessage(columns: 120)
        let fields = [
            "capacity", "servers", "unloadedTTFT", "queueScale", "kvUse", "state", "digestAge", "itl", "itlSlope",
            "rtt",
            "egress", "residency", "outputTokens", "previous",
        ]
        for field in fields + PolicyFields.names { #expect(help.contains(field)) }
    }
}
