package import FleetModel
import Foundation

/// One request of a trace: when it came and how long it was.
package struct TraceRow: Hashable, Sendable {
    /// Seconds since the first row.
    package var time: Seconds
    package var promptTokens: Int
    package var outputTokens: Int
    /// Names of the 512-token blocks that the prompt begins with; equal names stand for equal text.
    ///
    /// Empty when the trace does not tell.
    package var blocks: [UInt64]

    package init(time: Seconds, promptTokens: Int, outputTokens: Int, blocks: [UInt64] = []) {
        self.time = time
        self.promptTokens = promptTokens
        self.outputTokens = outputTokens
        self.blocks = blocks
    }
}

/// Why a trace cannot be replayed: the file, the place in it, and what would be accepted there.
package struct TraceError: Error, Hashable, CustomStringConvertible {
    package var file: String
    /// Counts from 1; `nil` when the whole file is meant.
    package var line: Int?
    /// The name of the column or field.
    package var column: String?
    package var reason: String

    package var description: String {
        let place = self.line.map { " line \($0)" } ?? ""
        let column = self.column.map { ", \($0)" } ?? ""
        return "trace \(self.file)\(place)\(column): \(self.reason)"
    }
}

/// Reads the two formats of public LLM request traces.
package enum Trace {
    /// The rows of a file, in the order of their times, the first at 0.
    ///
    /// A file that begins with `{` is read as ``MooncakeTrace``, any other as ``AzureTrace``.
    ///
    /// - Throws: ``TraceError`` when the file cannot be read, holds no request, or holds a row that is not one.
    package static func read(file: String) throws(TraceError) -> [TraceRow] {
        let data: Data
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: file))
        } catch {
            let reason =
                FileManager.default.fileExists(atPath: file)
                ? "cannot be read; check that it is a file and readable" : "there is no such file; check the path"
            throw TraceError(file: file, reason: reason)
        }
        return try self.parse(String(decoding: data, as: UTF8.self), file: file)
    }

    /// Cuts the prompts of requests that are longer than `limit` tokens together with their answers.
    ///
    /// - Returns: How many were cut.
    package static func shorten(_ rows: inout [TraceRow], to limit: Int) -> Int {
        var count = 0
        for index in rows.indices where rows[index].promptTokens + rows[index].outputTokens > limit {
            rows[index].outputTokens = min(rows[index].outputTokens, limit - 1)
            rows[index].promptTokens = limit - rows[index].outputTokens
            count += 1
        }
        return count
    }

    static func parse(_ text: String, file: String) throws(TraceError) -> [TraceRow] {
        let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
        let isMooncake = lines.first { !$0.isEmpty }?.hasPrefix("{") ?? false
        var rows =
            isMooncake ? try MooncakeTrace.rows(of: lines, file: file) : try AzureTrace.rows(of: lines, file: file)
        guard let first = rows.map(\.time).min() else {
            throw TraceError(file: file, reason: "holds no request; give an Azure CSV or a Mooncake JSONL file")
        }
        for index in rows.indices { rows[index].time -= first }
        // Requests of one instant keep the order of the file.
        return rows.enumerated().sorted { ($0.element.time, $0.offset) < ($1.element.time, $1.offset) }.map(\.element)
    }
}
