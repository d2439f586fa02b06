import FleetModel
import Foundation

/// The Mooncake traces: JSON lines with `timestamp` (ms), `input_length`, `output_length` and, optionally,
/// `hash_ids`, the names of the prompt's 512-token blocks.
///
/// Source: R. Qin et al., "Mooncake", FAST 2025; github.com/kvcache-ai/Mooncake.
enum MooncakeTrace {
    private struct Line: Decodable {
        var timestamp: Double
        var input_length: Int
        var output_length: Int
        var hash_ids: [UInt64]?
    }

    static func rows(of lines: [Substring], file: String) throws(TraceError) -> [TraceRow] {
        let decoder = JSONDecoder()
        var rows: [TraceRow] = []
        rows.reserveCapacity(lines.count)
        for (index, line) in lines.enumerated() where !line.allSatisfy(\.isWhitespace) {
            let read: Line
            do {
                read = try decoder.decode(Line.self, from: Data(line.utf8))
            } catch let error as DecodingError {
                let (column, reason) = self.explain(error)
                throw TraceError(file: file, line: index + 1, column: column, reason: reason)
            } catch {
                throw TraceError(file: file, line: index + 1, reason: "is not a JSON object")
            }
            for (column, value) in [
                ("timestamp", read.timestamp), ("input_length", Double(read.input_length)),
                ("output_length", Double(read.output_length)),
            ] where value < 0 {
                throw TraceError(file: file, line: index + 1, column: column, reason: "must not be negative")
            }
            rows.append(
                TraceRow(
                    time: read.timestamp / 1_000,
                    promptTokens: max(1, read.input_length),
                    outputTokens: max(1, read.output_length),
                    blocks: read.hash_ids ?? []
                )
            )
        }
        return rows
    }

    private static func explain(_ error: DecodingError) -> (column: String?, reason: String) {
        switch error {
        case .keyNotFound(let key, _): (key.stringValue, "is missing")
        case .typeMismatch(_, let context): (context.codingPath.first?.stringValue, "is not a number")
        case .valueNotFound(_, let context): (context.codingPath.first?.stringValue, "is null")
        case .dataCorrupted(let context):
            (
                context.codingPath.first?.stringValue,
                context.codingPath.isEmpty ? "is not a JSON object" : "is not a count"
            )
        @unknown default: (nil, "is not a JSON object")
        }
    }
}
