/// Why a selector was refused.
package struct InvalidSelector: Error, Hashable, CustomStringConvertible {
    package let given: String

    package var description: String {
        "\"\(self.given)\" is not valid: use a series' name, or name{label=value} with more labels after commas"
    }
}

/// Names a series, and the labels that its samples must have, as in `engine_requests{state=running}`.
///
/// The form is that of the Gateway API Inference Extension; values may also stand in quotes.
package struct SeriesSelector: Hashable, Sendable, CustomStringConvertible {
    package struct Label: Hashable, Sendable {
        package let name: String
        package let content: String
    }

    package let name: String
    package let labels: [Label]

    init(name: String, labels: [Label] = []) {
        self.name = name
        self.labels = labels
    }

    /// Reads `name` or `name{label=value,…}`.
    ///
    /// - Throws: ``InvalidSelector`` for anything else.
    package init(_ text: String) throws(InvalidSelector) {
        let name = text.prefix { $0 != "{" }
        let rest = text.dropFirst(name.count)
        var labels: [Label] = []
        if !rest.isEmpty {
            guard rest.last == "}" else { throw InvalidSelector(given: text) }
            for part in rest.dropFirst().dropLast().split(separator: ",", omittingEmptySubsequences: false) {
                guard let equals = part.firstIndex(of: "=") else { throw InvalidSelector(given: text) }
                let label = Self.trimmed(part[..<equals])
                var content = Self.trimmed(part[part.index(after: equals)...])
                if content.count >= 2, content.first == "\"", content.last == "\"" {
                    content = content.dropFirst().dropLast()
                }
                guard Self.isName(label), !label.contains(":"), !content.contains("\"") else {
                    throw InvalidSelector(given: text)
                }
                labels.append(Label(name: String(label), content: String(content)))
            }
        }
        guard Self.isName(name) else { throw InvalidSelector(given: text) }
        self.init(name: String(name), labels: labels)
    }

    /// The series beside this one, as a histogram has them.
    package func suffixed(_ suffix: String) -> SeriesSelector {
        SeriesSelector(name: self.name + suffix, labels: self.labels)
    }

    package var description: String {
        guard !self.labels.isEmpty else { return self.name }
        return "\(self.name){\(self.labels.map { "\($0.name)=\($0.content)" }.joined(separator: ","))}"
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text.drop { $0 == " " }
        while text.last == " " { text.removeLast() }
        return text
    }

    /// The classic names of Prometheus.
    private static func isName(_ text: Substring) -> Bool {
        guard let first = text.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else {
            return false
        }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: ":"):
                true
            default: false
            }
        }
    }
}
