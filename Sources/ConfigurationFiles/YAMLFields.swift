package import FleetModel
import Foundation
import Yams

/// Why a configuration file was refused: the file, the line, the field, and the fix.
package struct ConfigurationError: Error, Hashable, CustomStringConvertible {
    /// `file:line`, or the file alone.
    package let place: String
    /// The path of the field, as in `pools[0].endpoints[2]`; empty for the whole file.
    package let field: String
    package let reason: String

    package init(place: String, field: String, reason: String) {
        self.place = place
        self.field = field
        self.reason = reason
    }

    package var description: String {
        self.field.isEmpty ? "\(self.place): \(self.reason)" : "\(self.place): \(self.field): \(self.reason)"
    }
}

/// The fields of one YAML mapping, read one by one; a field that nobody asked for is an error, so
/// that a misspelt one is never silently without effect.
package struct YAMLFields {
    private let file: String
    private let path: String
    private let line: Int?
    private let fields: [String: Node]
    private var asked: Set<String> = []

    /// Reads a file whose top is a mapping.
    ///
    /// - Throws: ``ConfigurationError`` when it cannot be read or is no such YAML.
    package init(file: String) throws(ConfigurationError) {
        let text: String
        do {
            text = try String(contentsOfFile: file, encoding: .utf8)
        } catch {
            let reason = FileManager.default.fileExists(atPath: file) ? "cannot be read as UTF-8" : "no such file"
            throw ConfigurationError(place: file, field: "", reason: reason)
        }
        try self.init(text: text, file: file)
    }

    /// Reads text; `file` names it in messages.
    package init(text: String, file: String) throws(ConfigurationError) {
        do {
            guard let node = try Yams.compose(yaml: text) else {
                throw ConfigurationError(place: file, field: "", reason: "is empty")
            }
            try self.init(node, file: file, path: "")
        } catch let error as ConfigurationError {
            throw error
        } catch YamlError.duplicatedKeysInMapping(let names, let context) {
            throw ConfigurationError(
                place: "\(file):\(context.mark.line)",
                field: names.joined(separator: ", "),
                reason: "stands there twice; remove one"
            )
        } catch {
            let line = "\(error)".split(separator: "\n").first.map(String.init) ?? "\(error)"
            throw ConfigurationError(place: file, field: "", reason: "is not YAML: \(line)")
        }
    }

    private init(_ node: Node, file: String, path: String) throws(ConfigurationError) {
        self.file = file
        self.path = path
        self.line = node.mark?.line
        guard let mapping = node.mapping else {
            throw ConfigurationError(
                place: Self.place(file, node),
                field: path,
                reason: "should be a mapping of `field: value` lines"
            )
        }
        var fields: [String: Node] = [:]
        for (key, value) in mapping {
            fields[key.string ?? ""] = value
        }
        self.fields = fields
    }

    // MARK: Reading

    /// A field that must be there, made into a value that checks itself.
    package mutating func required<Value>(
        _ name: String,
        _ make: (String) throws -> Value
    ) throws(ConfigurationError) -> Value {
        guard let value = try self.optional(name, make) else {
            throw self.error(name, at: nil, "is missing; add a line `\(name): …`")
        }
        return value
    }

    /// A field that may be missing.
    package mutating func optional<Value>(
        _ name: String,
        _ make: (String) throws -> Value
    ) throws(ConfigurationError) -> Value? {
        self.asked.insert(name)
        guard let node = self.fields[name] else { return nil }
        return try self.scalar(node, name, make)
    }

    /// A whole number within bounds, or `default` when the field is missing.
    package mutating func integer(
        _ name: String,
        in range: ClosedRange<Int>,
        default fallback: Int?
    ) throws(ConfigurationError) -> Int? {
        try self.optional(name) { text in
            guard let number = Int(text), range.contains(number) else {
                throw OutOfBounds(
                    text: text,
                    rule: "use a whole number from \(range.lowerBound) to \(range.upperBound)"
                )
            }
            return number
        } ?? fallback
    }

    /// A number of seconds within bounds, or `default` when the field is missing.
    package mutating func seconds(
        _ name: String,
        in range: ClosedRange<Seconds>,
        default fallback: Seconds
    ) throws(ConfigurationError) -> Seconds {
        try self.optional(name) { text in
            guard let number = Double(text), range.contains(number) else {
                throw OutOfBounds(text: text, rule: "use seconds from \(range.lowerBound) to \(range.upperBound)")
            }
            return number
        } ?? fallback
    }

    /// One of a closed list of words, or `default` when the field is missing.
    package mutating func choice<Value: RawRepresentable & CaseIterable>(
        _ name: String,
        default fallback: Value
    ) throws(ConfigurationError) -> Value where Value.RawValue == String {
        try self.optional(name) { text in
            guard let value = Value(rawValue: text) else {
                throw OutOfBounds(text: text, rule: "use \(Value.allCases.map(\.rawValue).joined(separator: ", "))")
            }
            return value
        } ?? fallback
    }

    /// A list of values; a missing field is an empty list.
    package mutating func list<Value>(
        _ name: String,
        _ make: (String) throws -> Value
    ) throws(ConfigurationError) -> [Value] {
        var values: [Value] = []
        for (index, node) in try self.sequence(name).enumerated() {
            values.append(try self.scalar(node, "\(name)[\(index)]", make))
        }
        return values
    }

    /// One mapping, read to its end, or `nil` when the field is missing.
    package mutating func mapping<Value>(
        _ name: String,
        _ make: (inout YAMLFields) throws(ConfigurationError) -> Value
    ) throws(ConfigurationError) -> Value? {
        self.asked.insert(name)
        guard let node = self.fields[name] else { return nil }
        let path = self.path.isEmpty ? name : "\(self.path).\(name)"
        var fields = try YAMLFields(node, file: self.file, path: path)
        let value = try make(&fields)
        try fields.finish()
        return value
    }

    /// A list of mappings, each read to its end; a missing field is an empty list.
    package mutating func mappings<Value>(
        _ name: String,
        _ make: (inout YAMLFields) throws(ConfigurationError) -> Value
    ) throws(ConfigurationError) -> [Value] {
        var values: [Value] = []
        for (index, node) in try self.sequence(name).enumerated() {
            values.append(try self.mapping(node, "\(name)[\(index)]", make))
        }
        return values
    }

    /// A list whose items are values or, to say more, mappings that are each read to their end; a missing field is
    /// an empty list.
    package mutating func list<Value>(
        _ name: String,
        _ make: (String) throws -> Value,
        orMapping makeFromFields: (inout YAMLFields) throws(ConfigurationError) -> Value
    ) throws(ConfigurationError) -> [Value] {
        var values: [Value] = []
        for (index, node) in try self.sequence(name).enumerated() {
            if node.mapping == nil {
                values.append(try self.scalar(node, "\(name)[\(index)]", make))
            } else {
                values.append(try self.mapping(node, "\(name)[\(index)]", makeFromFields))
            }
        }
        return values
    }

    /// A mapping of text to text, with any keys; a missing field is empty.
    package mutating func texts(_ name: String) throws(ConfigurationError) -> [String: String] {
        self.asked.insert(name)
        guard let node = self.fields[name] else { return [:] }
        guard let mapping = node.mapping else {
            throw self.error(name, at: node, "should be a mapping of `name: text` lines")
        }
        var texts: [String: String] = [:]
        for (key, value) in mapping {
            let key = key.string ?? ""
            texts[key] = try self.scalar(value, "\(name).\(key)") { $0 }
        }
        return texts
    }

    /// Refuses the fields that nobody asked for.
    package func finish() throws(ConfigurationError) {
        for (name, node) in self.fields.sorted(by: { $0.key < $1.key }) where !self.asked.contains(name) {
            throw self.error(name, at: node, "is unknown; known here: \(self.asked.sorted().joined(separator: ", "))")
        }
    }

    /// An error about a field of this mapping.
    package func error(_ name: String, _ reason: String) -> ConfigurationError {
        self.error(name, at: self.fields[name], reason)
    }

    // MARK: Inside

    private struct OutOfBounds: Error, CustomStringConvertible {
        let text: String
        let rule: String
        var description: String { "\"\(self.text)\" is not valid: \(self.rule)" }
    }

    private mutating func sequence(_ name: String) throws(ConfigurationError) -> [Node] {
        self.asked.insert(name)
        guard let node = self.fields[name] else { return [] }
        guard let sequence = node.sequence else { throw self.error(name, at: node, "should be a list") }
        return Array(sequence)
    }

    private func mapping<Value>(
        _ node: Node,
        _ name: String,
        _ make: (inout YAMLFields) throws(ConfigurationError) -> Value
    ) throws(ConfigurationError) -> Value {
        let path = self.path.isEmpty ? name : "\(self.path).\(name)"
        var fields = try YAMLFields(node, file: self.file, path: path)
        let value = try make(&fields)
        try fields.finish()
        return value
    }

    private func scalar<Value>(
        _ node: Node,
        _ name: String,
        _ make: (String) throws -> Value
    ) throws(ConfigurationError) -> Value {
        guard let text = node.scalar?.string else { throw self.error(name, at: node, "should be one value") }
        do {
            return try make(text)
        } catch {
            throw self.error(name, at: node, "\(error)")
        }
    }

    private func error(_ name: String, at node: Node?, _ reason: String) -> ConfigurationError {
        ConfigurationError(
            place: node.map { Self.place(self.file, $0) } ?? (self.line.map { "\(self.file):\($0)" } ?? self.file),
            field: self.path.isEmpty ? name : "\(self.path).\(name)",
            reason: reason
        )
    }

    private static func place(_ file: String, _ node: Node) -> String {
        node.mark.map { "\(file):\($0.line)" } ?? file
    }
}
