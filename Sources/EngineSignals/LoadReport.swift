package import FleetModel

/// What a model server says of its load in the headers of an answer: an ORCA load report.
///
/// Sources: "Open Request Cost Aggregation", https://github.com/cncf/xds/blob/main/xds/data/orca/v3/orca_load_report.proto;
/// the header `endpoint-load-metrics` in its forms `TEXT` and `JSON` as vLLM and Triton write it.
package struct LoadReport: Hashable, Sendable {
    /// The name of the header.
    package static let header = "endpoint-load-metrics"

    /// Numbers by name; those of a map by `map.name`, as in `named_metrics.kv_cache_usage_perc`.
    package let values: [String: Double]

    /// Reads the content of the header.
    ///
    /// What is no number of zero or more is left out. It is `nil` when the content has neither form, or no number.
    package init?(_ content: String) {
        guard content.utf8.count <= Self.limit else { return nil }
        let parts = content.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: true)
        guard parts.count == 2 else { return nil }
        var values: [String: Double]?
        switch parts[0].lowercased() {
        case "text": values = Self.text(parts[1])
        case "json":
            var json = FlatJSON(parts[1])
            values = json.numbers()
        default: return nil
        }
        guard let found = values?.filter({ $0.value.isFinite && $0.value >= 0 }), !found.isEmpty else { return nil }
        self.values = found
    }

    /// Sets the signals of a reading that its page did not give.
    package func complete(_ reading: inout EngineReading) {
        for (signal, names) in Self.names where reading[signal] == nil {
            guard let value = names.lazy.compactMap({ self.values["named_metrics.\($0)"] }).first else { continue }
            reading[signal] = value
            reading.missing.removeAll { $0 == signal }
        }
    }

    /// What it says of the server's load; `nil` when that is nothing.
    package var load: ReportedLoad? {
        func value(_ signal: EngineSignal) -> Double? {
            Self.names.first { $0.0 == signal }?.1.lazy.compactMap { self.values["named_metrics.\($0)"] }.first
        }
        let load = ReportedLoad(
            running: value(.running).map(Int.init(bounded:)),
            waiting: value(.waiting).map(Int.init(bounded:)),
            kvUse: value(.kvUse).map { min($0, 1) }
        )
        return load == ReportedLoad() ? nil : load
    }

    /// Longer contents are not read.
    private static let limit = 8192

    /// What vLLM and Triton with TensorRT-LLM call their signals.
    private static let names: [(EngineSignal, [String])] = [
        (.running, ["num_requests_running"]),
        (.waiting, ["num_requests_waiting"]),
        (.kvUse, ["kv_cache_usage_perc", "kv_cache_utilization"]),
        (.kvTokens, ["max_token_capacity"]),
    ]

    /// `name=number, map.name=number`; `nil` when it is not of this form.
    private static func text(_ text: Substring) -> [String: Double]? {
        var values: [String: Double] = [:]
        for part in text.split(separator: ",") {
            let pair = part.split(separator: "=", omittingEmptySubsequences: false)
            guard pair.count == 2, let number = Double(pair[1].filter { $0 != " " }) else { return nil }
            values[pair[0].filter { $0 != " " }] = number
        }
        return values
    }
}

/// Reads the numbers of a JSON object, and of the objects right inside it.
private struct FlatJSON {
    private var rest: Substring.UTF8View

    init(_ text: Substring) { self.rest = text.utf8 }

    /// `nil` when the text is not such an object.
    mutating func numbers() -> [String: Double]? {
        var values: [String: Double] = [:]
        guard self.object(under: "", mayNest: true, into: &values) else { return nil }
        self.skipBlanks()
        return self.rest.isEmpty ? values : nil
    }

    private mutating func object(under path: String, mayNest: Bool, into values: inout [String: Double]) -> Bool {
        guard self.take("{") else { return false }
        if self.take("}") { return true }
        repeat {
            guard let name = self.name(), self.take(":") else { return false }
            self.skipBlanks()
            if self.rest.first == UInt8(ascii: "{") {
                guard mayNest, self.object(under: "\(name).", mayNest: false, into: &values) else { return false }
            } else {
                let word = self.rest.prefix { ![UInt8(ascii: ","), UInt8(ascii: "}"), UInt8(ascii: " ")].contains($0) }
                guard let number = Double(String(Substring(word))) else { return false }
                self.rest = self.rest.dropFirst(word.count)
                values["\(path)\(name)"] = number
            }
        } while self.take(",")
        return self.take("}")
    }

    /// A name in quotes; those of load reports need no escapes.
    private mutating func name() -> String? {
        guard self.take("\"") else { return nil }
        let word = self.rest.prefix { $0 != UInt8(ascii: "\"") }
        guard !word.contains(UInt8(ascii: "\\")) else { return nil }
        self.rest = self.rest.dropFirst(word.count)
        return self.take("\"") ? String(Substring(word)) : nil
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        self.skipBlanks()
        guard self.rest.first == UInt8(ascii: character) else { return false }
        self.rest = self.rest.dropFirst()
        return true
    }

    private mutating func skipBlanks() {
        self.rest = self.rest.drop { [UInt8(ascii: " "), UInt8(ascii: "\t")].contains($0) }
    }
}
