import FleetModel
import Testing

@testable import WorkloadTraces

@Suite struct TraceTests {
    @Test func anAzureTraceIsReadInSecondsSinceItsFirstRequest() throws {
        let rows = try Trace.parse(
            """
            TIMESTAMP,ContextTokens,GeneratedTokens\r
            2023-11-16 18:15:46.6805900,374,44\r
            2023-11-16 18:15:50.9951690,396,109\r
            2023-11-17 00:00:00.0000000,0,0
            """,
            file: "conv.csv"
        )
        #expect(rows.map(\.promptTokens) == [374, 396, 1])
        #expect(rows.map(\.outputTokens) == [44, 109, 1])
        #expect(rows[0].time == 0)
        #expect(abs(rows[1].time - 4.314579) < 1e-4)
        #expect(abs(rows[2].time - 20_653.31941) < 1e-4)
    }

    @Test func timesCrossMonthsAndLeapDays() throws {
        let before = try #require(AzureTrace.seconds("2024-02-28 23:59:59.5"))
        let after = try #require(AzureTrace.seconds("2024-03-01 00:00:00.5"))
        #expect(after - before == 86_401)
        #expect(AzureTrace.seconds("1970-01-01 00:00:00") == 0)
    }

    @Test(
        arguments: [
            ("2023-11-16 18:15:46,12", "line 2: has 2 columns, expected 3"),
            ("yesterday,12,4", "line 2, TIMESTAMP: \"yesterday\" is not a time such as 2023-11-16 18:15:46.6805900"),
            ("2023-11-16 18:15:46,many,4", "line 2, ContextTokens: \"many\" is not a count of tokens"),
            ("2023-11-16 18:15:46,12,-4", "line 2, GeneratedTokens: \"-4\" is not a count of tokens"),
        ]
    )
    func aBadAzureRowIsNamedByLineAndColumn(row: String, message: String) {
        let error = #expect(throws: TraceError.self) {
            try Trace.parse("TIMESTAMP,ContextTokens,GeneratedTokens\n\(row)\n", file: "conv.csv")
        }
        #expect(error?.description == "trace conv.csv \(message)")
    }

    @Test func aMooncakeTraceKeepsItsBlocksAndIsSortedByTime() throws {
        let rows = try Trace.parse(
            """
            {"timestamp": 1040, "input_length": 600, "output_length": 3, "hash_ids": [7, 8]}
            {"timestamp": 1000, "input_length": 20, "output_length": 5}
            """,
            file: "m.jsonl"
        )
        #expect(rows.map(\.blocks) == [[], [7, 8]])
        #expect(rows.map(\.promptTokens) == [20, 600])
        #expect(abs(rows[1].time - 0.04) < 1e-9)
    }

    @Test(
        arguments: [
            (#"{"timestamp": 0, "input_length": 3}"#, "line 1, output_length: is missing"),
            (#"{"timestamp": "0", "input_length": 3, "output_length": 3}"#, "line 1, timestamp: is not a number"),
            (
                #"{"timestamp": 0, "input_length": -3, "output_length": 3}"#,
                "line 1, input_length: must not be negative"
            ),
            (#"{"timestamp": 0,"#, "line 1: is not a JSON object"),
        ]
    )
    func aBadMooncakeLineIsNamedByLineAndField(line: String, message: String) {
        let error = #expect(throws: TraceError.self) { try Trace.parse(line, file: "m.jsonl") }
        #expect(error?.description == "trace m.jsonl \(message)")
    }

    @Test func aMissingFileAndAnEmptyOneAreEachOneClearLine() {
        let missing = #expect(throws: TraceError.self) { try Trace.read(file: "/nowhere/conv.csv") }
        #expect(missing?.description == "trace /nowhere/conv.csv: there is no such file; check the path")
        let empty = #expect(throws: TraceError.self) {
            try Trace.parse("TIMESTAMP,ContextTokens,GeneratedTokens\n", file: "conv.csv")
        }
        #expect(empty?.description.contains("holds no request") == true)
        let other = #expect(throws: TraceError.self) { try Trace.parse("hello\n", file: "conv.csv") }
        #expect(other?.line == 1)
    }

    @Test func requestsLongerThanTheEnginesTakeAreCutAndCounted() {
        var rows = [(10, 5), (100, 5), (3, 400)].map { TraceRow(time: 0, promptTokens: $0.0, outputTokens: $0.1) }
        #expect(Trace.shorten(&rows, to: 50) == 2)
        #expect(rows.map(\.promptTokens) == [10, 45, 1])
        #expect(rows.map(\.outputTokens) == [5, 5, 49])
    }
}
