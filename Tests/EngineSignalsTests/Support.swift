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
    /// The share of its requests that end in an error.
    var failing = 0.0
    private(set) var now: Seconds = 100
    private var finished = 0.0
    private var failed = 0.0

    init(rate: Double) { self.rate = rate }

    /// The reading after one more scrape period.
    mutating func next(after period: Seconds = 0.2) -> EngineReading {
        self.now += period
        self.finished += self.rate * period
        self.failed += self.rate * self.failing * period
        return reading(
            running: self.rate * 2,
            waiting: self.waiting,
            [
                .kvUse: self.rate * 2 * 0.01, .finished: self.finished, .failed: self.failed,
                .promptTokens: self.finished * 1000, .cachedPromptTokens: self.finished * 200,
                .generationTokens: self.finished * 100,
                .ttftSum: self.finished * self.ttft, .ttftCount: self.finished,
                .itlSum: self.finished * 100 * 0.02, .itlCount: self.finished * 100,
                .blocks: 1000, .blockSize: 16,
            ]
        )
    }
}

func endpoint(_ port: Int) -> EndpointAddress { EndpointAddress(host: "127.0.0.1", port: port) }
