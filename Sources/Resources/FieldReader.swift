import FleetModel

/// Reads one mapping of a manifest field by field and notes everything that is wrong, so that one run shows it all.
///
/// A field that nobody asked for is a problem, so that a misspelt one is never silently without effect.
struct FieldReader {
    let path: String
    private let fields: [String: ResourceValue]
    private var asked: Set<String> = []
    private(set) var problems: [ResourceProblem] = []

    init(_ value: ResourceValue?, path: String) {
        self.path = path
        switch value {
        case .fields(let fields): self.fields = fields
        case nil, .null: self.fields = [:]
        case .some(let other):
            self.fields = [:]
            self.problems = [ResourceProblem(path: path, reason: "must be a mapping, is \(other.said)")]
        }
    }

    func has(_ name: String) -> Bool { self.fields[name].map { $0 != .null } ?? false }

    mutating func note(_ name: String, _ reason: String) {
        self.problems.append(ResourceProblem(path: self.path(of: name), reason: reason))
    }

    /// Adds what a reader of a part has noted.
    mutating func take(_ problems: [ResourceProblem]) { self.problems += problems }

    /// Takes a field for known without reading it.
    mutating func skip(_ names: String...) { self.asked.formUnion(names) }

    private func path(of name: String) -> String { self.path.isEmpty ? name : "\(self.path).\(name)" }

    private mutating func field(_ name: String, required: Bool) -> ResourceValue? {
        self.asked.insert(name)
        guard let value = self.fields[name], value != .null else {
            if required { self.note(name, "is missing; add it") }
            return nil
        }
        return value
    }

    // MARK: Values

    mutating func text(_ name: String, required: Bool = false) -> String? {
        guard let value = self.field(name, required: required) else { return nil }
        guard case .text(let text) = value, !text.isEmpty else {
            self.note(name, "must be a text, is \(value.said)")
            return nil
        }
        return text
    }

    mutating func number(_ name: String, in range: ClosedRange<Double>, required: Bool = false) -> Double? {
        guard let value = self.field(name, required: required) else { return nil }
        return self.number(value, name, in: range)
    }

    private mutating func number(_ value: ResourceValue, _ name: String, in range: ClosedRange<Double>) -> Double? {
        guard case .number(let number) = value, range.contains(number) else {
            let (low, high) = (ResourceValue.digits(range.lowerBound), ResourceValue.digits(range.upperBound))
            self.note(name, "must be \(low)…\(high), is \(value.said)")
            return nil
        }
        return number
    }

    mutating func integer(_ name: String, in range: ClosedRange<Int>, required: Bool = false) -> Int? {
        guard let value = self.field(name, required: required) else { return nil }
        guard case .number(let number) = value, let whole = Int(exactly: number), range.contains(whole) else {
            self.note(name, "must be \(range.lowerBound)…\(range.upperBound), is \(value.said)")
            return nil
        }
        return whole
    }

    mutating func choice(_ name: String, of words: [String], required: Bool = false) -> String? {
        guard let value = self.field(name, required: required) else { return nil }
        guard case .text(let text) = value, words.contains(text) else {
            self.note(name, "must be \(Self.either(words)), is \(value.said)")
            return nil
        }
        return text
    }

    static func either(_ words: [String]) -> String {
        words.count < 2
            ? words.joined() : "\(words.dropLast().joined(separator: ", ")) or \(words.last ?? "")"
    }

    /// A text that is made into a value that checks itself.
    mutating func name<Value>(
        _ name: String,
        required: Bool = false,
        _ make: (String) throws(InvalidName) -> Value
    )
        -> Value?
    {
        guard let text = self.text(name, required: required) else { return nil }
        return self.check(text, name, make)
    }

    private mutating func check<Value>(
        _ text: String,
        _ name: String,
        _ make: (String) throws(InvalidName) -> Value
    )
        -> Value?
    {
        do throws(InvalidName) {
            return try make(text)
        } catch {
            self.note(name, "\(error.rule), is \"\(text)\"")
            return nil
        }
    }

    /// One number for all bands, or a mapping with one for each band that it names.
    mutating func bands(_ name: String, in range: ClosedRange<Double>) -> [Band: Double] {
        guard let value = self.field(name, required: false) else { return [:] }
        guard case .fields(let fields) = value else {
            guard let number = self.number(value, name, in: range) else { return [:] }
            return Dictionary(uniqueKeysWithValues: Band.allCases.map { ($0, number) })
        }
        var values: [Band: Double] = [:]
        for (word, value) in fields.sorted(by: { $0.key < $1.key }) {
            guard let band = Band(rawValue: word) else {
                self.note("\(name).\(word)", "is no band; use premium, standard or batch")
                continue
            }
            values[band] = self.number(value, "\(name).\(word)", in: range)
        }
        return values
    }

    // MARK: Inside

    /// A mapping, read to its end.
    @discardableResult
    mutating func mapping<Value>(
        _ name: String,
        required: Bool = false,
        _ read: (inout FieldReader) -> Value
    ) -> Value? {
        guard let value = self.field(name, required: required) else { return nil }
        return self.mapping(value, path: self.path(of: name), read)
    }

    private mutating func mapping<Value>(
        _ value: ResourceValue,
        path: String,
        _ read: (inout FieldReader) -> Value
    ) -> Value? {
        var reader = FieldReader(value, path: path)
        let isMapping = reader.problems.isEmpty
        let result = isMapping ? read(&reader) : nil
        if isMapping { reader.finish() }
        self.problems += reader.problems
        return result
    }

    /// A list of mappings, each read to its end.
    mutating func mappings<Value>(
        _ name: String,
        count: ClosedRange<Int>,
        required: Bool = false,
        _ read: (inout FieldReader) -> Value
    ) -> [Value] {
        guard let elements = self.elements(name, count: count, required: required) else { return [] }
        return elements.enumerated().compactMap { place, element in
            self.mapping(element, path: "\(self.path(of: name))[\(place)]", read)
        }
    }

    /// A list of texts that check themselves.
    mutating func names<Value>(
        _ name: String,
        count: ClosedRange<Int>,
        _ make: (String) throws(InvalidName) -> Value
    )
        -> [Value]
    {
        guard let elements = self.elements(name, count: count, required: false) else { return [] }
        return elements.enumerated().compactMap { place, element in
            guard case .text(let text) = element else {
                self.note("\(name)[\(place)]", "must be a text, is \(element.said)")
                return nil
            }
            return self.check(text, "\(name)[\(place)]", make)
        }
    }

    private mutating func elements(_ name: String, count: ClosedRange<Int>, required: Bool) -> [ResourceValue]? {
        guard let value = self.field(name, required: required) else { return nil }
        guard case .list(let elements) = value else {
            self.note(name, "must be a list, is \(value.said)")
            return nil
        }
        guard count.contains(elements.count) else {
            self.note(name, "must have \(count.lowerBound)…\(count.upperBound) elements, has \(elements.count)")
            return nil
        }
        return elements
    }

    /// A mapping whose keys are names, as of labels or regions.
    mutating func members(_ name: String, count: ClosedRange<Int>, required: Bool = false) -> [String: ResourceValue] {
        guard let value = self.field(name, required: required) else { return [:] }
        guard case .fields(let members) = value else {
            self.note(name, "must be a mapping, is \(value.said)")
            return [:]
        }
        if !count.contains(members.count) {
            self.note(name, "must have \(count.lowerBound)…\(count.upperBound) members, has \(members.count)")
        }
        return members
    }

    /// Notes the fields that nobody asked for.
    mutating func finish() {
        for name in self.fields.keys.sorted() where !self.asked.contains(name) {
            self.note(name, "is unknown; known here: \(self.asked.sorted().joined(separator: ", "))")
        }
    }
}
