/// One sample of a wanted series, valid while the reader's visitor runs: it looks into the page.
package struct ExpositionSample: ~Copyable {
    /// Index of the series in the reader's list.
    package let series: Int
    package let value: Double
    /// When the sample was taken, in seconds since 1970, if it says so.
    package let timestamp: Double?
    /// The text between the braces, already checked; after the name in the quoted form.
    let labels: UnsafeRawBufferPointer

    /// Parses what follows the name; `nil` when it is not valid.
    init?(series: Int, line: UnsafeRawBufferPointer, afterName: Int) {
        var offset = line.skippingBlanks(from: afterName)
        var labels = line.part(offset, offset)
        let isQuotedForm = line[line.skippingBlanks(from: 0)] == Byte.openBrace
        if isQuotedForm || (offset < line.count && line[offset] == Byte.openBrace) {
            if !isQuotedForm { offset += 1 }
            var labelCursor = LabelCursor(bytes: line, offset: offset)
            while labelCursor.next() != nil {}
            guard labelCursor.isAtEnd else { return nil }
            labels = line.part(offset, labelCursor.offset)
            offset = line.skippingBlanks(from: labelCursor.offset + 1)
        }
        var end = offset
        while end < line.count, !Byte.isBlank(line[end]), line[end] != Byte.carriageReturn { end += 1 }
        guard let value = line.part(offset, end).parsedNumber(), let tail = SampleTail(line, from: end) else {
            return nil
        }
        self.series = series
        self.value = value
        self.timestamp = tail.timestamp
        self.labels = labels
    }

    /// The content of a label, or `nil` when the sample does not have it.
    package func label(_ name: String) -> String? {
        var name = name
        return name.withUTF8 { name in self.content(of: UnsafeRawBufferPointer(name))?.unescaped() }
    }

    /// Whether a label has exactly this content, without making a string of it.
    package func has(_ name: String, _ content: String) -> Bool {
        var name = name
        var content = content
        return name.withUTF8 { name in
            guard let found = self.content(of: UnsafeRawBufferPointer(name)) else { return false }
            if found.contains(Byte.backslash) { return found.unescaped() == content }
            return content.withUTF8 { found.hasSameBytes(as: UnsafeRawBufferPointer($0)) }
        }
    }

    private func content(of name: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        var cursor = LabelCursor(bytes: self.labels, offset: 0)
        while let label = cursor.next() {
            if label.name.hasSameBytes(as: name) { return label.content }
        }
        return nil
    }
}

/// Steps through `name="content",…` up to the closing brace or the end of the bytes.
private struct LabelCursor {
    let bytes: UnsafeRawBufferPointer
    var offset: Int
    /// Whether the cursor stopped at a closing brace, that is, without an error.
    private(set) var isAtEnd = false

    init(bytes: UnsafeRawBufferPointer, offset: Int) {
        self.bytes = bytes
        self.offset = offset
    }

    /// The next label, or `nil` at the end or at the first error.
    mutating func next() -> (name: UnsafeRawBufferPointer, content: UnsafeRawBufferPointer)? {
        self.offset = self.bytes.skippingBlanks(from: self.offset)
        if self.offset < self.bytes.count, self.bytes[self.offset] == Byte.comma {
            self.offset = self.bytes.skippingBlanks(from: self.offset + 1)
        }
        guard self.offset < self.bytes.count else { return nil }
        if self.bytes[self.offset] == Byte.closeBrace {
            self.isAtEnd = true
            return nil
        }
        guard let name = self.name() else { return nil }
        let equals = self.bytes.skippingBlanks(from: self.offset)
        guard equals < self.bytes.count, self.bytes[equals] == Byte.equals else { return nil }
        let quote = self.bytes.skippingBlanks(from: equals + 1)
        guard quote < self.bytes.count, self.bytes[quote] == Byte.quote,
            let end = self.bytes.endOfQuoted(from: quote)
        else { return nil }
        self.offset = end
        let next = self.bytes.skippingBlanks(from: end)
        guard next == self.bytes.count || self.bytes[next] == Byte.comma || self.bytes[next] == Byte.closeBrace else {
            return nil
        }
        return (name, self.bytes.part(quote + 1, end - 1))
    }

    /// A plain or quoted label name, which the offset is then behind.
    private mutating func name() -> UnsafeRawBufferPointer? {
        let start = self.offset
        if self.bytes[start] == Byte.quote {
            guard let end = self.bytes.endOfQuoted(from: start) else { return nil }
            self.offset = end
            return self.bytes.part(start + 1, end - 1)
        }
        var end = start
        while end < self.bytes.count, Byte.isInLabelName(self.bytes[end]) { end += 1 }
        self.offset = end
        return end > start ? self.bytes.part(start, end) : nil
    }
}

/// What follows the value of a sample: perhaps a timestamp, perhaps an exemplar.
private struct SampleTail {
    /// A number of seconds stays below this until the year 5138; a number of milliseconds passed it in 1973.
    private static let leastMilliseconds = 1e11

    /// In seconds since 1970: OpenMetrics writes seconds, the older formats milliseconds.
    var timestamp: Double?

    /// `nil` when something else follows.
    init?(_ line: UnsafeRawBufferPointer, from start: Int) {
        var offset = line.skippingBlanks(from: start)
        let begin = offset
        while offset < line.count, !Byte.isBlank(line[offset]), line[offset] != Byte.carriageReturn,
            line[offset] != Byte.hash
        { offset += 1 }
        if offset > begin {
            guard let number = line.part(begin, offset).parsedNumber() else { return nil }
            self.timestamp = abs(number) < Self.leastMilliseconds ? number : number / 1000
        }
        offset = line.skippingBlanks(from: offset)
        if offset < line.count, line[offset] == Byte.hash { return }
        if offset < line.count, line[offset] == Byte.carriageReturn { offset += 1 }
        guard offset == line.count else { return nil }
    }
}
