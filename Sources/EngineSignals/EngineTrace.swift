/// A reading, and where each of its values came from.
package struct EngineTrace: Sendable {
    package var reading: EngineReading
    package let profile: MetricsProfile
    private let samples: [MergedSamples]
    private let newest: NewestAdapters

    init(reading: EngineReading, profile: MetricsProfile, samples: [MergedSamples], adapters: NewestAdapters) {
        self.reading = reading
        self.profile = profile
        self.samples = samples
        self.newest = adapters
    }

    /// The series that gave a signal, as a selector; `nil` when none did.
    package func series(of signal: EngineSignal) -> String? {
        self.reading.origin(of: signal).map { self.profile.sources[$0].selector }
    }

    /// The series that might have given a signal, as selectors, in the order in which they count.
    package func candidates(for signal: EngineSignal) -> [String] {
        self.profile.sources.filter { $0.signal == signal }.map(\.selector)
    }

    /// When a signal's samples were taken as the page itself says, the oldest of them, in seconds since 1970.
    ///
    /// Engines do not say it of their own series; a page that somebody passes on may.
    package func timestamp(of signal: EngineSignal) -> Double? {
        self.reading.origin(of: signal).flatMap { self.samples[$0].timestamp }
    }

    /// The series of the LoRA adapters and when the engine last wrote it, in seconds since 1970.
    package var adapters: (series: String, updated: Double)? {
        guard self.reading.lora != nil, let series = self.profile.adapters else { return nil }
        return (series.description, self.newest.updated)
    }
}

extension SignalSource {
    /// The series; with the label that has the number, if it is not the sample's own.
    fileprivate var selector: String {
        self.valueLabel.map { "\(self.series) label \($0)" } ?? self.series.description
    }
}
