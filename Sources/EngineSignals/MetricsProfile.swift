/// The engines whose metrics are known.
package enum EngineKind: String, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    case vllm
    case sglang
    /// TensorRT-LLM behind its own `trtllm-serve`.
    case trtllmServe = "trtllm-serve"
    /// TensorRT-LLM as a backend of Triton.
    case tritonTRTLLM = "triton-trtllm"
    /// Any other model in Triton.
    case triton
    /// An engine that a profile in the settings describes.
    case custom

    package var description: String { self.rawValue }

    /// Whether requests that failed are among those that finished.
    var countsFailedAsFinished: Bool { self == .vllm }
}

/// What an engine may say about itself.
///
/// Names are ours; a ``MetricsProfile`` says which series each one is.
package enum EngineSignal: Int, Hashable, Sendable, CaseIterable {
    // Gauges
    case running, waiting, kvUse
    /// The most requests that run at once.
    case seats
    case blockSize, blocks
    /// The KV cache in tokens, for an engine that says so instead of blocks.
    case kvTokens
    // Counters
    case promptTokens, cachedPromptTokens, generationTokens, finished
    /// Requests that ended in an error of the server; whom the client left is not among them.
    case failed
    case ttftSum, ttftCount, itlSum, itlCount
    /// From a request's first step to its first token.
    case prefillSum, prefillCount
    /// Seconds that requests have spent executing, summed: its rate is the mean number running.
    case busyTime
    /// When the process began, in seconds of its own clock: it differs after a restart, and says nothing else.
    case startTime

    /// How the numbers of data-parallel ranks become one: a mean would hide one full rank.
    var acrossRanks: Merge {
        switch self {
        case .kvUse, .blockSize, .startTime: .max
        default: .sum
        }
    }
}

/// How several samples become one number.
enum Merge: Hashable, Sendable {
    case sum, max

    func callAsFunction(_ first: Double, _ second: Double) -> Double {
        switch self {
        case .sum: first + second
        case .max: Swift.max(first, second)
        }
    }
}

/// One series that gives a signal.
struct SignalSource: Hashable, Sendable {
    let signal: EngineSignal
    let series: SeriesSelector
    /// The value is the number in this label, instead of the sample's own.
    let valueLabel: String?
    /// How the samples of one rank become one number.
    let withinRank: Merge
    /// From the series' unit to seconds.
    let scale: Double

    init(
        _ signal: EngineSignal,
        _ series: String,
        _ labels: KeyValuePairs<String, String> = [:],
        valueLabel: String? = nil,
        withinRank: Merge? = nil,
        scale: Double = 1
    ) {
        self.init(
            signal,
            SeriesSelector(name: series, labels: labels.map { SeriesSelector.Label(name: $0.key, content: $0.value) }),
            valueLabel: valueLabel,
            withinRank: withinRank,
            scale: scale
        )
    }

    init(
        _ signal: EngineSignal,
        _ series: SeriesSelector,
        valueLabel: String? = nil,
        withinRank: Merge? = nil,
        scale: Double = 1
    ) {
        self.signal = signal
        self.series = series
        self.valueLabel = valueLabel
        self.withinRank = withinRank ?? signal.acrossRanks
        self.scale = scale
    }
}

/// Which series of one engine give which signals.
///
/// For a signal with several sources the first one that is on the page counts, so that one profile covers the
/// names of several versions.
package struct MetricsProfile: Hashable, Sendable {
    package let kind: EngineKind
    /// What settings call it: the kind, or a name of their own.
    package let name: String
    /// Where the engine serves Prometheus text by default.
    package let metricsPath: String
    /// The label that tells data-parallel ranks apart.
    let rankLabel: String?
    let sources: [SignalSource]
    /// The series whose labels name LoRA adapters, as vLLM has it.
    let adapters: SeriesSelector?

    init(
        kind: EngineKind,
        metricsPath: String = "/metrics",
        rankLabel: String? = nil,
        sources: [SignalSource],
        adapters: SeriesSelector? = nil
    ) {
        self.init(
            kind: kind,
            name: kind.rawValue,
            metricsPath: metricsPath,
            rankLabel: rankLabel,
            sources: sources,
            adapters: adapters
        )
    }

    private init(
        kind: EngineKind,
        name: String,
        metricsPath: String,
        rankLabel: String?,
        sources: [SignalSource],
        adapters: SeriesSelector?
    ) {
        self.kind = kind
        self.name = name
        self.metricsPath = metricsPath
        self.rankLabel = rankLabel
        self.sources = sources
        self.adapters = adapters
    }

    /// The profile of an engine that is not known here.
    ///
    /// - Parameters:
    ///   - name: what settings call it.
    ///   - metricsPath: where it serves Prometheus text.
    ///   - rankLabel: the label that tells its data-parallel ranks apart, if it has any.
    ///   - signals: the series of each signal; times are in seconds.
    ///   - adapters: a series with vLLM's LoRA labels.
    package init(
        custom name: String,
        metricsPath: String = "/metrics",
        rankLabel: String? = nil,
        signals: [EngineSignal: SeriesSelector],
        adapters: SeriesSelector? = nil
    ) {
        self.init(
            kind: .custom,
            name: name,
            metricsPath: metricsPath,
            rankLabel: rankLabel,
            sources: EngineSignal.allCases.compactMap { signal in signals[signal].map { SignalSource(signal, $0) } },
            adapters: adapters
        )
    }

    /// The profile that a model server's own labels ask for, if they name one of `profiles`.
    ///
    /// The keys are those of llm-d and, before it, of the Gateway API Inference Extension.
    package static func chosen(byLabels labels: [String: String], among profiles: [MetricsProfile]) -> MetricsProfile? {
        guard
            let name = ["llm-d.ai/engine-type", "inference.networking.k8s.io/engine-type"].lazy
                .compactMap({ labels[$0] }).first
        else { return nil }
        let own = name == "triton-tensorrt-llm" ? EngineKind.tritonTRTLLM.rawValue : name
        return profiles.first { $0.name == own }
    }

    /// The signals that a profile knows a source for, without those that only help.
    var signals: [EngineSignal] {
        EngineSignal.allCases.filter { signal in
            ![.startTime, .prefillSum, .prefillCount].contains(signal) && self.sources.contains { $0.signal == signal }
        }
    }
}
