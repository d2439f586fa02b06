/// What kind of series a metric family holds, as its `# TYPE` line says.
package enum MetricKind: String, Sendable {
    case counter, gauge, histogram
}

/// Writes the Prometheus text format, version 0.0.4: every `/metrics` of ours is made here.
///
/// Source: "Exposition formats", https://prometheus.io/docs/instrumenting/exposition_formats/.
package struct ExpositionWriter: Sendable {
    /// The media type to send with the text.
    package static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// The page so far.
    package private(set) var text = ""

    package init() {}

    /// Begins a family; its samples follow.
    package mutating func family(_ name: String, _ kind: MetricKind, help: String) {
        self.text += "# HELP \(name) "
        Self.escape(help, quotes: false, into: &self.text)
        self.text += "\n# TYPE \(name) \(kind.rawValue)\n"
    }

    /// Writes one sample of the family just begun; a histogram's samples carry their own suffix.
    package mutating func sample(_ name: String, _ labels: KeyValuePairs<String, String> = [:], _ value: Double) {
        self.sample(name, labels.map { ($0.key, $0.value) }, value)
    }

    /// Writes one sample with labels that are known only at run time.
    package mutating func sample(_ name: String, _ labels: [(String, String)], _ value: Double) {
        self.text += name
        if !labels.isEmpty {
            self.text += "{"
            for (index, (label, content)) in labels.enumerated() {
                if index > 0 { self.text += "," }
                self.text += label
                self.text += "=\""
                Self.escape(content, quotes: true, into: &self.text)
                self.text += "\""
            }
            self.text += "}"
        }
        self.text += " "
        self.text += Self.format(value)
        self.text += "\n"
    }

    /// A family with one sample.
    package mutating func single(_ name: String, _ kind: MetricKind, help: String, _ value: Double) {
        self.family(name, kind, help: help)
        self.sample(name, [:], value)
    }

    static func format(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        return "\(value)"
    }

    private static func escape(_ content: String, quotes: Bool, into text: inout String) {
        for character in content.unicodeScalars {
            switch character {
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\"" where quotes: text += "\\\""
            default: text.unicodeScalars.append(character)
            }
        }
    }
}

/// A histogram in the shape that Prometheus wants: cumulative buckets, a sum and a count.
package struct MetricHistogram: Sendable {
    /// Upper bounds, rising, without the last `+Inf`.
    package let bounds: [Double]
    /// Observations per bucket, not cumulative; the last one is `+Inf`.
    package private(set) var counts: [UInt64]
    package private(set) var sum = 0.0

    package init(bounds: [Double]) {
        self.bounds = bounds
        self.counts = Array(repeating: 0, count: bounds.count + 1)
    }

    package var count: UInt64 { self.counts.reduce(0, +) }

    package mutating func observe(_ value: Double, times: UInt64 = 1) {
        let bucket = self.bounds.firstIndex { value <= $0 } ?? self.bounds.count
        self.counts[bucket] += times
        self.sum += value * Double(times)
    }
}

extension ExpositionWriter {
    /// Writes the samples of one histogram of the family just begun.
    package mutating func histogram(_ name: String, _ labels: [(String, String)], _ histogram: MetricHistogram) {
        var cumulative: UInt64 = 0
        for (bound, count) in zip(histogram.bounds + [.infinity], histogram.counts) {
            cumulative += count
            self.sample("\(name)_bucket", labels + [("le", Self.format(bound))], Double(cumulative))
        }
        self.sample("\(name)_sum", labels, histogram.sum)
        self.sample("\(name)_count", labels, Double(cumulative))
    }
}
