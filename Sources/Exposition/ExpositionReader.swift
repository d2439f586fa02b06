/// Why a whole page was refused.
package enum ExpositionFault: Error, Hashable, CustomStringConvertible {
    /// The page has more bytes than the reader's limit.
    case tooLarge(bytes: Int, limit: Int)

    package var description: String {
        switch self {
        case .tooLarge(let bytes, let limit): "a page of \(bytes) bytes is over the limit of \(limit)"
        }
    }
}

/// What became of the lines that were asked for.
package struct ExpositionTally: Hashable, Sendable {
    /// Samples handed to the visitor.
    package var samples = 0
    /// Lines of wanted series that are not valid; they were left out.
    package var malformed = 0
    /// Samples whose series had been seen already on this page; they were left out.
    package var duplicates = 0
}

/// Reads the Prometheus text formats 0.0.4 and 1.0.0 and OpenMetrics 1.0, but only the series asked for.
///
/// An engine's page is mostly histogram buckets that nobody here needs, and it is read many times a
/// second. So a line is found with `memchr`, looked at as far as the end of its name, and left; only
/// a wanted line is parsed, and only then is memory allocated.
///
/// Bytes are never trusted: every line is bounded by the page, and a wanted line that does not parse
/// is counted and left out. Among samples of one series (same name, same label text) the first counts,
/// as in Prometheus itself. A last line without its newline is read.
///
/// Sources: "Exposition formats", https://prometheus.io/docs/instrumenting/exposition_formats/;
/// OpenMetrics 1.0, https://github.com/prometheus/OpenMetrics.
package struct ExpositionReader: Sendable {
    /// The most bytes that a page may have.
    package let limit: Int
    /// All names, one after the other, shortest first.
    private let text: [UInt8]
    private let names: [Name]
    /// Where in `names` the names of a length begin; one longer than the longest name.
    private let firstOfLength: [Int]

    private struct Name {
        var series: Int
        var start: Int
        var count: Int
    }

    /// A reader of the given series.
    ///
    /// - Parameters:
    ///   - series: full names of samples, such as `vllm:time_to_first_token_seconds_sum`; a sample
    ///     names its series by the index in this array. Each name is given once.
    ///   - limit: the most bytes that a page may have.
    package init(series: [String], limit: Int = 10 << 20) {
        var text: [UInt8] = []
        var names: [Name] = []
        let sorted = series.enumerated().sorted { $0.element.utf8.count < $1.element.utf8.count }
        for (index, name) in sorted {
            names.append(Name(series: index, start: text.count, count: name.utf8.count))
            text += Array(name.utf8)
        }
        self.limit = limit
        self.text = text
        self.names = names
        self.firstOfLength = (0...((names.last?.count ?? 0) + 1)).map { length in
            names.firstIndex { $0.count >= length } ?? names.count
        }
    }

    /// Hands every sample of a wanted series to `visit`, in the order of the page.
    ///
    /// - Throws: ``ExpositionFault`` when the page is over the limit; nothing has been visited then.
    package func read(
        _ page: UnsafeRawBufferPointer,
        _ visit: (borrowing ExpositionSample) -> Void
    ) throws(ExpositionFault) -> ExpositionTally {
        guard page.count <= self.limit else { throw .tooLarge(bytes: page.count, limit: self.limit) }
        return self.walk(page, visit)
    }

    /// As ``read(_:_:)-(UnsafeRawBufferPointer,_)``, for bytes in an array.
    package func read(
        _ page: [UInt8],
        _ visit: (borrowing ExpositionSample) -> Void
    ) throws(ExpositionFault) -> ExpositionTally {
        guard page.count <= self.limit else { throw .tooLarge(bytes: page.count, limit: self.limit) }
        return page.withUnsafeBytes { self.walk($0, visit) }
    }

    private func walk(
        _ page: UnsafeRawBufferPointer,
        _ visit: (borrowing ExpositionSample) -> Void
    ) -> ExpositionTally {
        var tally = ExpositionTally()
        var seen = SeenSamples()
        // The last name that nobody asked for, with the byte that ended it: the buckets of a histogram come in a row.
        var skipped = page.part(0, 0)
        var lineStart = 0
        while lineStart < page.count {
            var lineEnd = lineStart
            defer { lineStart = (page.offset(of: Byte.newline, from: lineEnd) ?? page.count) + 1 }
            if page[lineStart] == Byte.hash { continue }
            if page.has(skipped, at: lineStart) {
                lineEnd += skipped.count
                continue
            }
            let nameEnd = page.endOfName(from: lineStart)
            var found: (series: Int, afterName: Int)?
            if nameEnd > lineStart {
                guard let series = self.series(named: page.part(lineStart, nameEnd)) else {
                    let isEnded = nameEnd < page.count && page[nameEnd] != Byte.newline
                    skipped = isEnded ? page.part(lineStart, nameEnd + 1) : page.part(0, 0)
                    lineEnd = nameEnd
                    continue
                }
                found = (series, nameEnd - lineStart)
            }
            lineEnd = page.offset(of: Byte.newline, from: nameEnd) ?? page.count
            let line = page.part(lineStart, lineEnd)
            guard let (series, afterName) = found ?? self.series(inOtherForm: line) else { continue }
            guard let sample = ExpositionSample(series: series, line: line, afterName: afterName) else {
                tally.malformed += 1
                continue
            }
            guard seen.insert(sample.labels.quickHash(series)) else {
                tally.duplicates += 1
                continue
            }
            tally.samples += 1
            visit(sample)
        }
        return tally
    }

    /// The wanted series of a line that does not begin with its name, and where the rest of the line begins.
    private func series(inOtherForm line: UnsafeRawBufferPointer) -> (series: Int, afterName: Int)? {
        let start = line.skippingBlanks(from: 0)
        guard start < line.count, line[start] != Byte.hash, line[start] != Byte.carriageReturn else { return nil }
        guard line[start] == Byte.openBrace else {
            let end = line.endOfName(from: start)
            return self.series(named: line.part(start, end)).map { ($0, end) }
        }
        // The 1.0.0 form of a name in quotes: {"name",label="x"} 1
        let quote = line.skippingBlanks(from: start + 1)
        guard quote < line.count, line[quote] == Byte.quote, let end = line.endOfQuoted(from: quote) else { return nil }
        return self.series(named: line.part(quote + 1, end - 1)).map { ($0, end) }
    }

    private func series(named name: UnsafeRawBufferPointer) -> Int? {
        guard name.count + 1 < self.firstOfLength.count else { return nil }
        for index in self.firstOfLength[name.count]..<self.firstOfLength[name.count + 1] {
            let candidate = self.names[index]
            let isSame = self.text.withUnsafeBytes { text in
                text.part(candidate.start, candidate.start + candidate.count).hasSameBytes(as: name)
            }
            if isSame { return candidate.series }
        }
        return nil
    }
}

/// The samples of a page so far, by their hashes: a list while they are few, since a set would hash each once more.
private struct SeenSamples {
    private static let fewMax = 48

    private var few: [Int] = []
    private var many: Set<Int> = []

    /// - Returns: Whether it is the first of its kind.
    mutating func insert(_ hash: Int) -> Bool {
        guard self.many.isEmpty else { return self.many.insert(hash).inserted }
        if self.few.contains(hash) { return false }
        if self.few.isEmpty { self.few.reserveCapacity(Self.fewMax) }
        self.few.append(hash)
        if self.few.count == Self.fewMax { self.many = Set(self.few) }
        return true
    }
}
