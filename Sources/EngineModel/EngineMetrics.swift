package import Exposition
import FleetModel

/// What the engine reports of itself, with the meaning and the buckets of vLLM 0.32's families.
package struct EngineMetrics: Sendable {
    // Gauges
    package internal(set) var running = 0
    package internal(set) var waiting = 0
    /// 0 to 1; blocks that only remember an idle prefix count as unused.
    package internal(set) var kvUse = 0.0

    // Counters
    package internal(set) var promptTokens = 0
    package internal(set) var cachedPromptTokens = 0
    package internal(set) var generationTokens = 0
    package internal(set) var prefixQueriedTokens = 0
    package internal(set) var prefixHitTokens = 0
    package internal(set) var preemptions = 0
    package internal(set) var finished: [EngineFinish: Int] = [:]

    // Histograms of times, in seconds
    package internal(set) var timeToFirstToken = MetricHistogram(bounds: Self.firstTokenBounds)
    package internal(set) var interTokenLatency = MetricHistogram(bounds: Self.tokenTimeBounds)
    package internal(set) var timePerOutputToken = MetricHistogram(bounds: Self.tokenTimeBounds)
    package internal(set) var endToEnd = MetricHistogram(bounds: Self.requestTimeBounds)
    package internal(set) var queueTime = MetricHistogram(bounds: Self.requestTimeBounds)
    package internal(set) var inferenceTime = MetricHistogram(bounds: Self.requestTimeBounds)
    package internal(set) var prefillTime = MetricHistogram(bounds: Self.requestTimeBounds)
    package internal(set) var decodeTime = MetricHistogram(bounds: Self.requestTimeBounds)

    // Histograms of counts
    package internal(set) var requestPromptTokens = MetricHistogram(bounds: Self.tokenCountBounds)
    package internal(set) var requestGenerationTokens = MetricHistogram(bounds: Self.tokenCountBounds)
    package internal(set) var requestComputedTokens = MetricHistogram(bounds: Self.tokenCountBounds)
    package internal(set) var requestPreemptions = MetricHistogram(bounds: [1, 2, 3, 4, 5, 10, 20])
    /// Tokens of one step: prompts that were completed and tokens that were generated.
    package internal(set) var iterationTokens = MetricHistogram(bounds: Self.iterationBounds)

    static let firstTokenBounds: [Seconds] = [
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640,
        2_560,
    ]
    static let tokenTimeBounds: [Seconds] = [
        0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
    ]
    static let requestTimeBounds: [Seconds] = [
        0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1_920, 7_680,
    ]
    static let tokenCountBounds: [Double] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000]
    static let iterationBounds: [Double] = [
        1, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096, 8_192, 16_384,
    ]
}
