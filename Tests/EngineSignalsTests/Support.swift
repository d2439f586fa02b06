import FleetModel
import Foundation

@testable import EngineSignals

func recordedPage(_ name: String) throws -> [UInt8] {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    return Array(try Data(contentsOf: root.appending(path: "testenv/fixtures/\(name).prom")))
}

/// A page of an engine that nobody here could run, as its documents have it.
func constructedPage(_ name: String) throws -> [UInt8] { try recordedPage("constructed/\(name)") }

/// A vLLM reading with the signals that a story needs.
func reading(
    running: Double = 0,
    waiting: Double = 0,
    _ others: [EngineSignal: Double] = [:]
) -> EngineReading {
    var reading = EngineReading(engine: .vllm)
    reading[.running] = running
    reading[.waiting] = waiting
    for (signal, value) in others { reading[signal] = value }
    return reading
}

/// An engine without surprises: it serves `rate` requests per second, each of 1,000 prompt and 100 output tokens at
/// 20 ms a token, and so has `2·rate` running.
struct SteadyEngine {
    var rate: Double
    var waiting = 0.0
    var ttft = 0.05
    /// The share of its requests that end in an error: after their last token, or else before any work.
    var failing = 0.0
    var failsLate = true
    private(set) var now: Seconds = 100
    private var ended = 0.0
    private var failed = 0.0
    private var worked = 0.0

    init(rate: Double) { self.rate = rate }

    /// The reading after one more scrape period.
    mutating func next(after period: Seconds = 0.2) -> EngineReading {
        self.now += period
        let working = self.rate * (self.failsLate ? 1 : 1 - self.failing)
        self.ended += self.rate * period
        self.failed += self.rate * self.failing * period
        self.worked += working * period
        return reading(
            running: working * 2,
            waiting: self.waiting,
            [
                .kvUse: working * 2 * 0.01, .finished: self.ended, .failed: self.failed,
                .promptTokens: self.worked * 1000, .cachedPromptTokens: self.worked * 200,
                .generationTokens: self.worked * 100,
                .ttftSum: self.worked * self.ttft, .ttftCount: self.worked,
                .itlSum: self.worked * 100 * 0.02, .itlCount: self.worked * 100,
                .blocks: 1000, .blockSize: 16,
            ]
        )
    }
}

func endpoint(_ port: Int) -> EndpointAddress { EndpointAddress(host: "127.0.0.1", port: port) }
