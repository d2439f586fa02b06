/// Writes values to bytes; ``ByteReader`` reads them in the same order.
struct ByteWriter {
    private(set) var bytes: [UInt8] = []

    /// Seven bits a byte, the low ones first.
    mutating func integer(_ value: UInt64) {
        var rest = value
        while rest > 0x7F {
            self.bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        self.bytes.append(UInt8(rest))
    }

    /// To the last bit, also of what is not a number.
    mutating func number(_ value: Double) {
        for shift in stride(from: 0 as UInt64, to: 64, by: 8) {
            self.bytes.append(UInt8(truncatingIfNeeded: value.bitPattern >> shift))
        }
    }

    mutating func optional(_ value: Double?) {
        self.integer(value == nil ? 0 : 1)
        if let value { self.number(value) }
    }

    mutating func text(_ text: String) {
        self.integer(UInt64(text.utf8.count))
        self.bytes += Array(text.utf8)
    }

    mutating func list<Element>(_ elements: [Element], _ write: (inout ByteWriter, Element) -> Void) {
        self.integer(UInt64(elements.count))
        for element in elements { write(&self, element) }
    }

    mutating func bands<Value>(_ values: ByBand<Value>, _ write: (inout ByteWriter, Value) -> Void) {
        write(&self, values.premium)
        write(&self, values.standard)
        write(&self, values.batch)
    }
}

/// Reads what ``ByteWriter`` wrote; what is cut or damaged is an error, never a trap.
struct ByteReader {
    private let bytes: [UInt8]
    private var place = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { self.place == self.bytes.count }

    private mutating func next() throws(SolverQuestion.Unreadable) -> UInt8 {
        guard self.place < self.bytes.count else { throw SolverQuestion.Unreadable(reason: "is cut short") }
        self.place += 1
        return self.bytes[self.place - 1]
    }

    mutating func integer() throws(SolverQuestion.Unreadable) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: 0 as UInt64, to: 64, by: 7) {
            let byte = try self.next()
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        throw SolverQuestion.Unreadable(reason: "a number that is too long")
    }

    mutating func number() throws(SolverQuestion.Unreadable) -> Double {
        var pattern: UInt64 = 0
        for shift in stride(from: 0 as UInt64, to: 64, by: 8) { pattern |= UInt64(try self.next()) << shift }
        return Double(bitPattern: pattern)
    }

    mutating func optional() throws(SolverQuestion.Unreadable) -> Double? {
        try self.integer() == 0 ? nil : try self.number()
    }

    /// A count of things that take at least one byte each, so that a damaged one reserves no memory.
    private mutating func count() throws(SolverQuestion.Unreadable) -> Int {
        let count = try self.integer()
        guard count <= UInt64(self.bytes.count - self.place) else {
            throw SolverQuestion.Unreadable(reason: "is cut short")
        }
        return Int(count)
    }

    mutating func text() throws(SolverQuestion.Unreadable) -> String {
        let count = try self.count()
        defer { self.place += count }
        return String(decoding: self.bytes[self.place..<self.place + count], as: UTF8.self)
    }

    mutating func list<Element>(
        _ read: (inout ByteReader) throws(SolverQuestion.Unreadable) -> Element
    ) throws(SolverQuestion.Unreadable) -> [Element] {
        var elements: [Element] = []
        for _ in 0..<(try self.count()) { elements.append(try read(&self)) }
        return elements
    }

    mutating func bands<Value>(
        _ read: (inout ByteReader) throws(SolverQuestion.Unreadable) -> Value
    ) throws(SolverQuestion.Unreadable) -> ByBand<Value> {
        ByBand(premium: try read(&self), standard: try read(&self), batch: try read(&self))
    }
}
