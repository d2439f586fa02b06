import Foundation
package import Resources
import Yams

/// One document of a manifest file.
package struct ManifestDocument: Sendable {
    package let value: ResourceValue
    /// The file, or `-`.
    package let file: String
    /// The lines on which fields stand, by path, as in `spec.targetPorts[0].number`.
    private let lines: [String: Int]

    init(value: ResourceValue, file: String, lines: [String: Int]) {
        self.value = value
        self.file = file
        self.lines = lines
    }

    /// `file:line` of a field, or of the nearest part around it that is there.
    package func place(of path: String) -> String {
        var path = Substring(path)
        while true {
            if let line = self.lines[String(path)] { return "\(self.file):\(line)" }
            guard let cut = path.lastIndex(where: { $0 == "." || $0 == "[" }) else { break }
            path = path[..<cut]
        }
        return self.lines[""].map { "\(self.file):\($0)" } ?? self.file
    }
}

/// Manifests in YAML or JSON, as Kubernetes has them.
package enum Manifests {
    /// More values in one file than this are refused: anchors can make a short file very large.
    private static let mostValues = 200_000

    /// Reads a file, all `.yaml`, `.yml` and `.json` of a folder in the order of their names, or `-`, standard input.
    ///
    /// - Throws: ``ConfigurationError`` that names the file, the line and what is wrong.
    package static func read(path: String) throws(ConfigurationError) -> [ManifestDocument] {
        if path == "-" {
            let data: Data?
            do {
                data = try FileHandle.standardInput.readToEnd()
            } catch {
                throw ConfigurationError(place: "-", field: "", reason: "cannot be read: \(error)")
            }
            return try self.read(text: String(decoding: data ?? Data(), as: UTF8.self), file: "-")
        }
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw ConfigurationError(place: path, field: "", reason: "no such file")
        }
        guard isFolder.boolValue else { return try self.read(file: path) }
        let names = ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
        var documents: [ManifestDocument] = []
        for name in names where [".yaml", ".yml", ".json"].contains(where: name.hasSuffix) {
            documents += try self.read(file: "\(path)/\(name)")
        }
        guard !documents.isEmpty else {
            throw ConfigurationError(place: path, field: "", reason: "has no .yaml, .yml or .json file")
        }
        return documents
    }

    private static func read(file: String) throws(ConfigurationError) -> [ManifestDocument] {
        guard let text = try? String(contentsOfFile: file, encoding: .utf8) else {
            throw ConfigurationError(place: file, field: "", reason: "cannot be read as UTF-8")
        }
        return try self.read(text: text, file: file)
    }

    /// Reads text; `file` names it in messages.
    ///
    /// A Kubernetes list counts as its items.
    package static func read(text: String, file: String) throws(ConfigurationError) -> [ManifestDocument] {
        var documents: [ManifestDocument] = []
        do {
            var sequence = try Yams.compose_all(yaml: text)
            while let node = sequence.next() {
                var converter = Converter(file: file)
                // A document of nothing but comments.
                if node.scalar?.string.isEmpty == true { continue }
                if let items = node.mapping?["items"]?.sequence,
                    node.mapping?["kind"]?.string?.hasSuffix("List") == true
                {
                    for item in items {
                        var converter = Converter(file: file)
                        documents.append(try converter.document(item))
                    }
                } else {
                    documents.append(try converter.document(node))
                }
            }
            if let error = sequence.error { throw error }
        } catch let error as ConfigurationError {
            throw error
        } catch YamlError.duplicatedKeysInMapping(let names, let context) {
            let place = "\(file):\(context.mark.line)"
            throw ConfigurationError(place: place, field: names.joined(separator: ", "), reason: "stands there twice")
        } catch {
            let line = "\(error)".split(separator: "\n").first.map(String.init) ?? "\(error)"
            throw ConfigurationError(place: file, field: "", reason: "is not YAML: \(line)")
        }
        guard !documents.isEmpty else { throw ConfigurationError(place: file, field: "", reason: "is empty") }
        return documents
    }

    private struct Converter {
        let file: String
        var lines: [String: Int] = [:]
        var count = 0

        init(file: String) { self.file = file }

        mutating func document(_ node: Node) throws(ConfigurationError) -> ManifestDocument {
            let value = try self.value(node, path: "", depth: 0)
            return ManifestDocument(value: value, file: self.file, lines: self.lines)
        }

        private mutating func value(_ node: Node, path: String, depth: Int) throws(ConfigurationError) -> ResourceValue
        {
            self.count += 1
            let line = node.mark?.line
            if let line { self.lines[path] = line }
            guard depth < ResourceValue.deepest, self.count <= Manifests.mostValues else {
                let place = line.map { "\(self.file):\($0)" } ?? self.file
                throw ConfigurationError(place: place, field: path, reason: "is nested too deeply, or too large")
            }
            switch node {
            case .scalar(let scalar):
                return Manifests.scalar(scalar)
            case .sequence(let sequence):
                var elements: [ResourceValue] = []
                for (place, element) in sequence.enumerated() {
                    elements.append(try self.value(element, path: "\(path)[\(place)]", depth: depth + 1))
                }
                return .list(elements)
            case .mapping(let mapping):
                var fields: [String: ResourceValue] = [:]
                for (key, element) in mapping {
                    let name = key.string ?? ""
                    let inner = path.isEmpty ? name : "\(path).\(name)"
                    fields[name] = try self.value(element, path: inner, depth: depth + 1)
                }
                return .fields(fields)
            case .alias:
                throw ConfigurationError(place: self.file, field: path, reason: "is an alias; write it out")
            }
        }
    }

    /// A scalar by the core rules of YAML 1.2: what is in quotes is text.
    private static func scalar(_ scalar: Node.Scalar) -> ResourceValue {
        let text = scalar.string
        guard scalar.style == .plain || scalar.style == .any else { return .text(text) }
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE": return .bool(true)
        case "false", "False", "FALSE": return .bool(false)
        default: break
        }
        let isNumeric = text.utf8.allSatisfy { (48...57).contains($0) || "+-.eE".utf8.contains($0) }
        if isNumeric, let number = Double(text), number.isFinite { return .number(number) }
        return .text(text)
    }

    /// A manifest as YAML: identity first, then the spec.
    package static func yaml(_ value: ResourceValue) throws -> String {
        try Yams.serialize(node: self.node(value), allowUnicode: true)
    }

    private static func node(_ value: ResourceValue) -> Node {
        switch value {
        case .null: return Node("null")
        case .bool(let flag): return Node(flag ? "true" : "false")
        case .number(let number): return Node(ResourceValue.digits(number))
        case .text(let text):
            return self.scalar(Node.Scalar(text)) == .text(text)
                ? Node(text) : Node(text, Tag(.str), .singleQuoted)
        case .list(let elements): return Node(elements.map(self.node))
        case .fields(let fields):
            let first = ["apiVersion", "kind", "metadata", "name", "namespace"]
            let names = first.filter { fields[$0] != nil } + fields.keys.filter { !first.contains($0) }.sorted()
            return Node(names.map { (Node($0), self.node(fields[$0] ?? .null)) })
        }
    }
}
