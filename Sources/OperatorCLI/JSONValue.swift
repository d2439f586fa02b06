/// A piece of JSON, read or to be written.
enum JSONValue: Codable, Hashable, Sendable {
    case null
    case bool(Bool)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .string(value)
        } else if let value = try? container.decode([JSONValue].self) {
            self = .array(value)
        } else {
            self = .object(try container.decode([String: JSONValue].self))
        }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .number(let value): try container.encode(value)
        case .string(let value): try container.encode(value)
        case .array(let value): try container.encode(value)
        case .object(let value): try container.encode(value)
        }
    }

    /// What it is, for an error.
    var kind: String {
        switch self {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .number(let value): "the number \(value)"
        case .string(let value): "the text \"\(value)\""
        case .array: "a list"
        case .object: "an object"
        }
    }
}

/// What is wrong with a problem file: where, and what would be right.
struct ProblemError: Error, Hashable, CustomStringConvertible {
    /// As in `$.clusters[2].capacity`.
    let path: String
    let fix: String

    var description: String { "\(self.path): \(self.fix)" }
}

/// A piece of JSON that knows where it stands.
struct JSONReader {
    let value: JSONValue
    let path: String

    init(_ value: JSONValue, path: String = "$") {
        self.value = value
        self.path = path
    }

    func error(_ fix: String) -> ProblemError { ProblemError(path: self.path, fix: fix) }

    /// An object's members; with `fields`, no others are accepted.
    ///
    /// - Throws: ``ProblemError`` unless it is such an object.
    func members(fields: [String]? = nil) throws(ProblemError) -> [String: JSONReader] {
        guard case .object(let members) = self.value else {
            throw self.error("expected an object, found \(self.value.kind)")
        }
        var readers: [String: JSONReader] = [:]
        for (name, value) in members.sorted(by: { $0.key < $1.key }) {
            if let fields, !fields.contains(name) {
                throw ProblemError(
                    path: "\(self.path).\(name)",
                    fix: "unknown field; use one of \(fields.joined(separator: ", "))"
                )
            }
            readers[name] = JSONReader(value, path: "\(self.path).\(name)")
        }
        return readers
    }

    /// A list's elements.
    ///
    /// - Throws: ``ProblemError`` unless it is a list.
    func elements() throws(ProblemError) -> [JSONReader] {
        guard case .array(let elements) = self.value else {
            throw self.error("expected a list, found \(self.value.kind)")
        }
        return elements.enumerated().map { JSONReader($0.element, path: "\(self.path)[\($0.offset)]") }
    }

    /// A text that is not empty.
    ///
    /// - Throws: ``ProblemError`` unless it is one.
    func text() throws(ProblemError) -> String {
        guard case .string(let text) = self.value, !text.isEmpty else {
            throw self.error("expected a text that is not empty, found \(self.value.kind)")
        }
        return text
    }

    /// A number; `NaN` and the infinities, which some writers emit, are numbers here.
    ///
    /// - Throws: ``ProblemError`` unless it is one.
    func number() throws(ProblemError) -> Double {
        switch self.value {
        case .number(let value): return value
        case .string(let text) where ["NaN", "Infinity", "-Infinity", "inf", "-inf", "nan"].contains(text):
            return Double(text.lowercased().replacing("infinity", with: "inf")) ?? .nan
        default: throw self.error("expected a number, found \(self.value.kind)")
        }
    }

    /// A number, or nothing for `null`.
    ///
    /// - Throws: ``ProblemError`` unless it is one of these.
    func numberOrNull() throws(ProblemError) -> Double? {
        if case .null = self.value { return nil }
        return try self.number()
    }

    /// A number within bounds.
    ///
    /// - Throws: ``ProblemError`` unless it is one.
    func number(in bounds: ClosedRange<Double>, _ unit: String) throws(ProblemError) -> Double {
        let value = try self.number()
        guard bounds.contains(value) else {
            let upper = bounds.upperBound < .infinity ? " to \(bounds.upperBound)" : " or more"
            throw self.error("expected \(bounds.lowerBound)\(upper) \(unit), found \(value)")
        }
        return value
    }
}
