import Exposition
import FleetModel

/// Turns the bytes of a metrics page into an ``EngineReading``, in one pass.
package struct EngineReader: Sendable {
    private let profiles: [MetricsProfile]
    private let reader: ExpositionReader
    /// All sources of all profiles, one profile after the other.
    private let sources: [ProfiledSource]
    /// What each series of the reader feeds.
    private let uses: [SeriesUse]

    private struct ProfiledSource {
        let source: SignalSource
        let rankLabel: String?
    }

    private struct SeriesUse {
        var sources: [Int] = []
        /// Profiles that have their adapters from this series.
        var adapters: [Int] = []
    }

    /// A reader of pages that one of the given profiles describes.
    ///
    /// - Parameters:
    ///   - profiles: tried in this order; one alone is what the settings say, several are told apart by the page.
    ///   - limit: the most bytes that a page may have.
    package init(profiles: [MetricsProfile], limit: Int = 10 << 20) {
        self.profiles = profiles
        self.sources = profiles.flatMap { profile in
            profile.sources.map { ProfiledSource(source: $0, rankLabel: profile.rankLabel) }
        }
        var uses: [String: SeriesUse] = [:]
        for (index, profiled) in self.sources.enumerated() {
            uses[profiled.source.series.name, default: SeriesUse()].sources.append(index)
        }
        for (index, profile) in profiles.enumerated() {
            guard let series = profile.adapters else { continue }
            uses[series.name, default: SeriesUse()].adapters.append(index)
        }
        let sorted = uses.sorted { $0.key < $1.key }
        self.uses = sorted.map(\.value)
        self.reader = ExpositionReader(series: sorted.map(\.key), limit: limit)
    }

    /// A reader of one known engine's pages, or of any known engine's.
    package init(engine: EngineKind? = nil, limit: Int = 10 << 20) {
        self.init(profiles: MetricsProfile.builtIn.filter { engine == nil || $0.kind == engine }, limit: limit)
    }

    /// Reads one page.
    ///
    /// - Throws: ``ScrapeFault/tooLarge`` over the limit; ``ScrapeFault/noKnownSeries`` when neither running nor
    ///   waiting requests of the engine are on the page.
    package func read(_ page: UnsafeRawBufferPointer) throws(ScrapeFault) -> EngineReading {
        try self.trace(page).reading
    }

    /// As ``read(_:)-(UnsafeRawBufferPointer)``, for bytes in an array.
    package func read(_ page: [UInt8]) throws(ScrapeFault) -> EngineReading {
        try self.trace(page).reading
    }

    /// As ``read(_:)-(UnsafeRawBufferPointer)``, with where each value came from.
    package func trace(_ page: [UInt8]) throws(ScrapeFault) -> EngineTrace {
        let result = page.withUnsafeBytes { bytes in
            Result { () throws(ScrapeFault) in try self.trace(bytes) }
        }
        return try result.get()
    }

    /// As ``trace(_:)-([UInt8])``, for bytes where they are.
    package func trace(_ page: UnsafeRawBufferPointer) throws(ScrapeFault) -> EngineTrace {
        var merged = Array(repeating: MergedSamples(), count: self.sources.count)
        var adapters = Array(repeating: NewestAdapters(), count: self.profiles.count)
        let tally: ExpositionTally
        do {
            tally = try self.reader.read(page) { sample in
                let use = self.uses[sample.series]
                for index in use.sources {
                    merged[index].add(sample, as: self.sources[index].source, rankLabel: self.sources[index].rankLabel)
                }
                for index in use.adapters {
                    guard let series = self.profiles[index].adapters, sample.matches(series) else { continue }
                    adapters[index].add(sample)
                }
            }
        } catch {
            throw .tooLarge
        }

        var first = 0
        for (place, profile) in self.profiles.enumerated() {
            let own = merged[first..<(first + profile.sources.count)]
            first = own.endIndex
            let isPresent = zip(profile.sources, own).contains { source, samples in
                [.running, .waiting].contains(source.signal) && samples.isPresent
            }
            guard isPresent else { continue }
            var reading = EngineReading(engine: profile.kind, faultyLines: tally.malformed + tally.duplicates)
            reading.take(Array(own), of: profile)
            reading.lora = adapters[place].adapters
            return EngineTrace(reading: reading, profile: profile, samples: Array(own), adapters: adapters[place])
        }
        throw .noKnownSeries
    }
}

extension EngineReading {
    /// Sets the values, ranks and missing signals from the samples of each source of a profile.
    fileprivate mutating func take(_ samples: [MergedSamples], of profile: MetricsProfile) {
        var ranks: [RankReading] = []
        for (index, source) in profile.sources.enumerated() where self[source.signal] == nil {
            guard let value = samples[index].value(source.signal.acrossRanks) else { continue }
            self.set(source.signal, to: value, from: index)
            guard [.running, .waiting, .kvUse].contains(source.signal) else { continue }
            for part in samples[index].ranks {
                if !ranks.contains(where: { $0.name == part.name }) { ranks.append(RankReading(name: part.name)) }
                guard let place = ranks.firstIndex(where: { $0.name == part.name }) else { continue }
                switch source.signal {
                case .running: ranks[place].running = Int(bounded: part.value)
                case .waiting: ranks[place].waiting = Int(bounded: part.value)
                default: ranks[place].kvUse = min(part.value, 1)
                }
            }
        }
        if !ranks.isEmpty { self.ranks = ranks }
        self.missing = profile.signals.filter { signal in
            // Blocks and their size say the same as tokens.
            self[signal] == nil && !(signal == .kvTokens && self.kvTokens != nil)
        }
    }
}

extension ExpositionSample {
    fileprivate func matches(_ selector: SeriesSelector) -> Bool {
        for label in selector.labels where !self.has(label.name, label.content) { return false }
        return true
    }
}

/// The samples of one source on one page, one number a rank.
struct MergedSamples: Sendable {
    /// More ranks than any engine has; a page is not trusted to have fewer.
    private static let mostRanks = 1024

    private(set) var ranks: [(name: String, value: Double)] = []
    /// The oldest time that a sample claims for itself, in seconds since 1970.
    private(set) var timestamp: Double?
    /// A sample was no finite number of zero or more.
    ///
    /// The rest is then a part only, and a part is not the whole.
    private var isBroken = false

    /// Whether the series is on the page, with or without a number.
    var isPresent: Bool { self.isBroken || !self.ranks.isEmpty }

    func value(_ merge: Merge) -> Double? {
        guard !self.isBroken, let first = self.ranks.first else { return nil }
        return self.ranks.dropFirst().reduce(first.value) { merge($0, $1.value) }
    }

    mutating func add(_ sample: borrowing ExpositionSample, as source: SignalSource, rankLabel: String?) {
        guard sample.matches(source.series) else { return }
        var value = sample.value
        if let name = source.valueLabel {
            // Engines write "None" where they do not know the number yet.
            guard let text = sample.label(name), let number = Double(text) else { return }
            value = number
        }
        guard value.isFinite, value >= 0 else {
            self.isBroken = true
            return
        }
        if let timestamp = sample.timestamp { self.timestamp = min(self.timestamp ?? timestamp, timestamp) }
        value *= source.scale
        let name = rankLabel.flatMap { sample.label($0) } ?? ""
        if let place = self.ranks.lastIndex(where: { $0.name == name }) {
            self.ranks[place].value = source.withinRank(self.ranks[place].value, value)
        } else if self.ranks.count < Self.mostRanks {
            self.ranks.append((name, value))
        } else {
            self.isBroken = true
        }
    }
}

/// The LoRA adapters of the sample that was written last.
///
/// Each set of adapters that ever ran keeps a sample of its own, whose value is the time of its last update.
struct NewestAdapters: Sendable {
    private(set) var adapters: LoRAAdapters?
    /// In seconds since 1970.
    private(set) var updated = -Double.infinity

    mutating func add(_ sample: borrowing ExpositionSample) {
        guard sample.value > self.updated else { return }
        self.updated = sample.value
        self.adapters = LoRAAdapters(
            running: Self.names(in: sample.label("running_lora_adapters")),
            waiting: Self.names(in: sample.label("waiting_lora_adapters")),
            most: sample.label("max_lora").flatMap { Int($0) }
        )
    }

    /// The names in a label such as `alpha,beta`.
    private static func names(in text: String?) -> [String] {
        (text ?? "").split(separator: ",").prefix(LoRAAdapters.mostNames).map(String.init).sorted()
    }
}
