import Exposition

/// Turns the bytes of a metrics page into an ``EngineReading``, in one pass.
package struct EngineReader: Sendable {
    private let profiles: [MetricsProfile]
    private let reader: ExpositionReader
    /// All sources of all profiles, and for each series of the reader, which of them it feeds.
    private let sources: [SignalSource]
    private let sourcesOfSeries: [[Int]]

    /// A reader of one engine's pages, or of any known engine's.
    ///
    /// - Parameters:
    ///   - engine: the engine, when the settings say it; `nil` to tell it from the page.
    ///   - limit: the most bytes that a page may have.
    package init(engine: EngineKind? = nil, limit: Int = 10 << 20) {
        self.profiles = MetricsProfile.all.filter { engine == nil || $0.kind == engine }
        let sources = self.profiles.flatMap(\.sources)
        let names = Set(sources.map(\.series)).sorted()
        self.sources = sources
        self.sourcesOfSeries = names.map { name in sources.indices.filter { sources[$0].series == name } }
        self.reader = ExpositionReader(series: names, limit: limit)
    }

    /// Reads one page.
    ///
    /// - Throws: ``ScrapeFault/tooLarge`` over the limit; ``ScrapeFault/noKnownSeries`` when neither running nor
    ///   waiting requests of the engine are on the page.
    package func read(_ page: UnsafeRawBufferPointer) throws(ScrapeFault) -> EngineReading {
        var merged = Array(repeating: MergedSamples(), count: self.sources.count)
        let tally: ExpositionTally
        do {
            tally = try self.reader.read(page) { sample in
                for index in self.sourcesOfSeries[sample.series] {
                    merged[index].add(sample, as: self.sources[index])
                }
            }
        } catch {
            throw .tooLarge
        }

        var first = 0
        for profile in self.profiles {
            let own = first..<(first + profile.sources.count)
            first = own.upperBound
            let isPresent = own.contains { index in
                [.running, .waiting].contains(self.sources[index].signal) && merged[index].value != nil
            }
            guard isPresent else { continue }
            var reading = EngineReading(engine: profile.kind, faultyLines: tally.malformed + tally.duplicates)
            for index in own where reading[self.sources[index].signal] == nil {
                reading[self.sources[index].signal] = merged[index].value
                if self.sources[index].signal == .running, merged[index].value != nil {
                    reading.ranks = merged[index].ranks
                }
            }
            reading.missing = profile.signals.filter { reading[$0] == nil }
            return reading
        }
        throw .noKnownSeries
    }

    /// As ``read(_:)-(UnsafeRawBufferPointer)``, for bytes in an array.
    package func read(_ page: [UInt8]) throws(ScrapeFault) -> EngineReading {
        let result = page.withUnsafeBytes { bytes in
            Result { () throws(ScrapeFault) in try self.read(bytes) }
        }
        return try result.get()
    }
}

/// The samples of one source on one page, as one number.
private struct MergedSamples {
    private var total = 0.0
    private var groups: [String: Double] = [:]
    private var count = 0
    /// A sample was no finite number of zero or more.
    ///
    /// The rest is then a part only, and a part is not the whole.
    private var isBroken = false

    var value: Double? {
        guard self.count > 0, !self.isBroken else { return nil }
        return self.groups.isEmpty ? self.total : self.groups.sorted { $0.key < $1.key }.reduce(0) { $0 + $1.value }
    }

    var ranks: Int { self.groups.isEmpty ? self.count : self.groups.count }

    mutating func add(_ sample: borrowing ExpositionSample, as source: SignalSource) {
        if let label = source.label, !sample.has(label.name, label.content) { return }
        var value = sample.value
        if let name = source.valueLabel {
            // Engines write "None" where they do not know the number yet.
            guard let text = sample.label(name), let number = Double(text) else { return }
            value = number
        }
        self.count += 1
        guard value.isFinite, value >= 0 else {
            self.isBroken = true
            return
        }
        value *= source.scale
        switch source.merge {
        case .sum: self.total += value
        case .max: self.total = max(self.total, value)
        case .sumOfMax(let label):
            let rank = sample.label(label) ?? ""
            self.groups[rank] = max(self.groups[rank] ?? 0, value)
        }
    }
}
