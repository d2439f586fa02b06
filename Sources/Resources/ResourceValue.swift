/// A piece of a manifest: what YAML and JSON have in common.
package enum ResourceValue: Hashable, Sendable {
    case null
    case bool(Bool)
    case number(Double)
    case text(String)
    case list([ResourceValue])
    case fields([String: ResourceValue])

    /// More nesting than this is refused: every input is bounded.
    package static let deepest = 32

    /// A member of a mapping, `nil` where there is none.
    package subscript(name: String) -> ResourceValue? {
        guard case .fields(let fields) = self else { return nil }
        return fields[name]
    }

    /// The text, when it is one.
    package var text: String? {
        guard case .text(let text) = self else { return nil }
        return text
    }

    /// How an error names it.
    package var said: String {
        switch self {
        case .null: "empty"
        case .bool(let value): "\(value)"
        case .number(let value): Self.digits(value)
        case .text(let text): "\"\(text)\""
        case .list: "a list"
        case .fields: "a mapping"
        }
    }

    /// A number without the `.0` of whole ones.
    package static func digits(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? "\(Int64(value))" : "\(value)"
    }
}

/// What is wrong with a manifest: where, and what would be right.
package struct ResourceProblem: Error, Hashable, Sendable, CustomStringConvertible {
    /// As in `spec.targetPorts[0].number`.
    package let path: String
    /// As in `must be 1…65535, is 0`.
    package let reason: String

    package init(path: String, reason: String) {
        self.path = path
        self.reason = reason
    }

    package var description: String { self.path.isEmpty ? self.reason : "\(self.path): \(self.reason)" }
}
