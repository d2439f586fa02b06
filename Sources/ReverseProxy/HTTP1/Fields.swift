/// The fields of a message's head, or its trailers, as they go on the wire: `name: value`, line after line, in one
/// piece of memory, with a mark for each line.
///
/// So a message that is passed on costs two pieces of memory and not two for each of its fields, and writing it is one
/// copy. Names keep their case and are compared without it.
struct Fields: Sendable {
    /// Where a line stands in ``bytes``, and whose it is.
    struct Line: Sendable {
        fileprivate(set) var start: UInt32
        fileprivate let nameCount: UInt32
        fileprivate let valueCount: UInt32
        let kind: KnownHeader

        fileprivate var name: Range<Int> { Int(self.start)..<Int(self.start) + Int(self.nameCount) }
        fileprivate var value: Range<Int> { self.name.upperBound + 2..<self.name.upperBound + 2 + Int(self.valueCount) }
        fileprivate var all: Range<Int> { Int(self.start)..<self.value.upperBound + 2 }
    }

    /// The lines as they go on the wire, without the empty one at their end.
    private(set) var bytes: [UInt8] = []
    private(set) var lines: [Line] = []

    init() {}

    var isEmpty: Bool { self.lines.isEmpty }

    mutating func reserve(bytes: Int, lines: Int) {
        self.bytes.reserveCapacity(bytes)
        self.lines.reserveCapacity(lines)
    }

    // MARK: Adding

    /// Adds a line whose parts hold no line break and whose value has no blanks at its ends.
    mutating func add(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        self.mark(name.count, value.count, KnownHeader(name))
        self.bytes.append(contentsOf: name)
        self.separate()
        self.bytes.append(contentsOf: value)
        self.endLine()
    }

    /// Adds a line of texts that hold no line break.
    mutating func add(_ name: String, _ value: String) {
        var (name, value) = (name, value)
        name.withUTF8 { name in
            value.withUTF8 { value in self.add(UnsafeRawBufferPointer(name), UnsafeRawBufferPointer(value)) }
        }
    }

    private mutating func mark(_ nameCount: Int, _ valueCount: Int, _ kind: KnownHeader) {
        self.lines.append(
            Line(
                start: UInt32(self.bytes.count),
                nameCount: UInt32(nameCount),
                valueCount: UInt32(valueCount),
                kind: kind
            )
        )
    }

    private mutating func separate() {
        self.bytes.append(UInt8(ascii: ":"))
        self.bytes.append(UInt8(ascii: " "))
    }

    private mutating func endLine() {
        self.bytes.append(UInt8(ascii: "\r"))
        self.bytes.append(UInt8(ascii: "\n"))
    }

    /// Takes the last line away again.
    mutating func removeLast() {
        guard let last = self.lines.popLast() else { return }
        self.bytes.removeLast(self.bytes.count - Int(last.start))
    }

    /// Takes away every line of that name, and adds one.
    mutating func set(_ name: String, _ value: String) {
        if self.lines.contains(where: { self.isNamed($0, name) }) {
            self = self.kept(room: name.utf8.count + value.utf8.count + 4) { !self.isNamed($0, name) }
        }
        self.add(name, value)
    }

    /// The lines that are wanted, with room for so many bytes more.
    func kept(room: Int, where isWanted: (Line) -> Bool) -> Fields {
        var kept = Fields()
        kept.reserve(bytes: self.bytes.count + room, lines: self.lines.count + 4)
        for line in self.lines where isWanted(line) {
            var line = line
            let range = line.all
            line.start = UInt32(kept.bytes.count)
            kept.lines.append(line)
            self.bytes.withUnsafeBytes { kept.bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: $0[range])) }
        }
        return kept
    }

    // MARK: Reading

    func contains(_ kind: KnownHeader) -> Bool { self.lines.contains { $0.kind == kind } }

    /// The first value of a kind.
    func first(_ kind: KnownHeader) -> String? { self.lines.first { $0.kind == kind }.map(self.value) }

    /// The first value of a name.
    func first(name: String) -> String? { self.line(name).map(self.value) }

    /// The first line of a name.
    func line(_ name: String) -> Line? { self.lines.first { self.isNamed($0, name) } }

    func name(of line: Line) -> String { String(decoding: self.bytes[line.name], as: UTF8.self) }

    func value(of line: Line) -> String { String(decoding: self.bytes[line.value], as: UTF8.self) }

    /// Calls the body with a line's value.
    func withValue<Value>(of line: Line, _ body: (UnsafeRawBufferPointer) -> Value) -> Value {
        self.bytes.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[line.value])) }
    }

    /// Whether a line has that name, in any case.
    func isNamed(_ line: Line, _ name: String) -> Bool {
        guard name.utf8.count == Int(line.nameCount) else { return false }
        var name = name
        return name.withUTF8 { name in
            self.bytes.withUnsafeBytes { bytes in
                let start = Int(line.start)
                for index in 0..<name.count
                where bytes[start + index].asciiLowercased != name[index].asciiLowercased { return false }
                return true
            }
        }
    }
}

extension Fields: Hashable {
    static func == (lhs: Self, rhs: Self) -> Bool { lhs.bytes == rhs.bytes }

    func hash(into hasher: inout Hasher) { hasher.combine(self.bytes) }
}

extension Fields: CustomStringConvertible {
    var description: String { String(decoding: self.bytes, as: UTF8.self) }
}

extension Fields: ExpressibleByDictionaryLiteral {
    init(dictionaryLiteral elements: (String, String)...) {
        for (name, value) in elements { self.add(name, value) }
    }
}

/// The fields that an intermediary treats in a way of their own, told apart by length before any byte is compared.
enum KnownHeader: UInt8, Sendable {
    case other, host, contentLength, transferEncoding, connection, expect, upgrade, forwardedFor, via, hopByHop
    /// What a server says of its load, and a client's wish to read it (ORCA).
    case loadReport, loadReportFormat

    init(_ name: UnsafeRawBufferPointer) {
        func isSame(_ word: StaticString) -> Bool {
            word.withUTF8Buffer { word in
                for index in 0..<word.count where name[index].asciiLowercased != word[index] { return false }
                return true
            }
        }
        self =
            switch name.count {
            case 2 where isSame("te"): .hopByHop
            case 3 where isSame("via"): .via
            case 4 where isSame("host"): .host
            case 6 where isSame("expect"): .expect
            case 7 where isSame("upgrade"): .upgrade
            case 10 where isSame("connection"): .connection
            case 10 where isSame("keep-alive"): .hopByHop
            case 14 where isSame("content-length"): .contentLength
            case 15 where isSame("x-forwarded-for"): .forwardedFor
            case 16 where isSame("proxy-connection"): .hopByHop
            case 17 where isSame("transfer-encoding"): .transferEncoding
            case 18 where isSame("proxy-authenticate"): .hopByHop
            case 19 where isSame("proxy-authorization"): .hopByHop
            case 21 where isSame("endpoint-load-metrics"): .loadReport
            case 28 where isSame("endpoint-load-metrics-format"): .loadReportFormat
            default: .other
            }
    }

    init(_ name: String) {
        var name = name
        self = name.withUTF8 { KnownHeader(UnsafeRawBufferPointer($0)) }
    }
}

extension UInt8 {
    /// The byte, as a lower-case letter if it is a letter of ASCII.
    var asciiLowercased: UInt8 { self >= 0x41 && self <= 0x5A ? self | 0x20 : self }
}
