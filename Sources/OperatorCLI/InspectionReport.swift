import EngineSignals
import FleetModel
import Foundation

/// One page as an agent reads it, to be read by a program or by a person.
struct InspectionReport {
    let trace: EngineTrace
    /// Where the page is from.
    let source: String
    /// When the page was asked for, or its file written: it is not younger.
    let takenAt: Date?
    var now = Date()

    private var reading: EngineReading { self.trace.reading }

    /// What a signal is called outside, in the order of the table.
    private static let names: [(signal: EngineSignal, name: String)] = [
        (.running, "running"), (.waiting, "waiting"), (.kvUse, "kvUse"), (.blocks, "kvBlocks"),
        (.blockSize, "blockSize"), (.promptTokens, "promptTokensTotal"), (.generationTokens, "generationTokensTotal"),
        (.kvTokens, "kvTokens"), (.seats, "seats"), (.cachedPromptTokens, "cachedPromptTokensTotal"),
        (.finished, "finishedTotal"), (.failed, "failedTotal"), (.ttftSum, "ttftSecondsSum"),
        (.ttftCount, "ttftSecondsCount"),
        (.itlSum, "itlSecondsSum"), (.itlCount, "itlSecondsCount"), (.busyTime, "busySecondsTotal"),
    ]
    /// Those that every engine is asked for.
    private static let always = names.prefix(7).map(\.signal)

    /// What an engine should say and this page does not.
    private var missing: [(signal: EngineSignal, name: String)] {
        Self.names.filter { signal, _ in
            self.value(of: signal) == nil && (Self.always.contains(signal) || self.reading.missing.contains(signal))
        }
    }

    private func value(of signal: EngineSignal) -> Double? {
        signal == .kvUse ? self.reading.kvUse : self.reading[signal]
    }

    // MARK: - JSON

    /// - Throws: what the encoder throws.
    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        var tree: [String: JSONValue] = [
            "engine": .string(self.reading.engine.rawValue),
            "ranks": .array(
                self.reading.ranks.map { rank in
                    .object([
                        "rank": .string(rank.name),
                        "running": rank.running.map { .number(Double($0)) } ?? .null,
                        "waiting": rank.waiting.map { .number(Double($0)) } ?? .null,
                        "kvUse": rank.kvUse.map { .number($0) } ?? .null,
                    ])
                }
            ),
            "missing": .array(self.missing.map { .string($0.name) }),
        ]
        for (signal, name) in Self.names where Self.always.contains(signal) {
            tree[name] = self.value(of: signal).map { .number($0) } ?? .null
        }
        return String(decoding: try encoder.encode(JSONValue.object(tree)), as: UTF8.self)
    }

    // MARK: - Table

    var table: String {
        var text = "\(self.source): \(self.trace.profile.name)"
        if let takenAt { text += ", \(Self.words(age: self.now.timeIntervalSince(takenAt))) old" }
        text += "\n\n" + Self.aligned([["WHAT", "VALUE", "AGE", "FROM"]] + self.rows)
        if self.reading.ranks.count > 1 {
            text += "\n" + Self.aligned([["RANK", "RUNNING", "WAITING", "KV USE"]] + self.ranks)
        }
        if !self.missing.isEmpty {
            text += "\nmissing: \(self.missing.map(\.name).joined(separator: ", "))\n"
        }
        if self.reading.faultyLines > 0 {
            text += "\n\(self.reading.faultyLines) lines were not valid or repeated a series, and were left out\n"
        }
        return String(text.dropLast())
    }

    private var rows: [[String]] {
        let missing = self.missing.map(\.signal)
        var rows = Self.names.compactMap { signal, name -> [String]? in
            if let value = self.value(of: signal) {
                let series = self.trace.series(of: signal) ?? "header \(LoadReport.header)"
                return [name, Self.words(value), self.age(at: self.trace.timestamp(of: signal)), series]
            }
            guard missing.contains(signal) else { return nil }
            let candidates = self.trace.candidates(for: signal)
            let reason =
                candidates.isEmpty
                ? "\(self.trace.profile.name) does not say it"
                : "not on the page, or no number: \(candidates.joined(separator: ", "))"
            return [name, "-", "-", reason]
        }
        if let lora = self.reading.lora, let adapters = self.trace.adapters {
            let age = self.age(at: adapters.updated)
            rows.append(["loraRunning", Self.words(lora.running), age, adapters.series])
            rows.append(["loraWaiting", Self.words(lora.waiting), age, adapters.series])
            if let most = lora.most { rows.append(["loraMax", "\(most)", age, adapters.series]) }
        }
        return rows
    }

    private var ranks: [[String]] {
        self.reading.ranks.map { rank in
            [
                rank.name, rank.running.map { "\($0)" } ?? "-", rank.waiting.map { "\($0)" } ?? "-",
                rank.kvUse.map { Self.words($0) } ?? "-",
            ]
        }
    }

    /// The age of a sample that says when it was taken, or else that of the page.
    private func age(at timestamp: Double?) -> String {
        let taken = timestamp.map { Date(timeIntervalSince1970: $0) } ?? self.takenAt
        return taken.map { Self.words(age: self.now.timeIntervalSince($0)) } ?? "-"
    }

    private static func words(_ names: [String]) -> String {
        names.isEmpty ? "none" : names.joined(separator: ",")
    }

    private static func words(_ value: Double) -> String {
        value == value.rounded() ? String(format: "%.0f", value) : String(format: "%.4g", value)
    }

    private static func words(age: TimeInterval) -> String {
        switch age {
        case ..<0: "0 s"
        case ..<10: String(format: "%.2f s", age)
        case ..<120: String(format: "%.0f s", age)
        case ..<7200: String(format: "%.0f min", age / 60)
        case ..<172_800: String(format: "%.0f h", age / 3600)
        default: String(format: "%.0f d", age / 86_400)
        }
    }

    private static func aligned(_ rows: [[String]]) -> String {
        let widths = (0..<4).map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            zip(row, widths).enumerated().map { column, cell in
                let padding = String(repeating: " ", count: cell.1 - cell.0.count)
                // Numbers stand right, words left.
                return column == 1 || column == 2 ? padding + cell.0 : column == 3 ? cell.0 : cell.0 + padding
            }.joined(separator: "  ") + "\n"
        }.joined()
    }
}
