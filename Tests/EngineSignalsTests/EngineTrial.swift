import EngineModel
import Exposition
import FleetModel
import Foundation
import TestKit

@testable import EngineSignals

/// One simulated engine under Poisson arrivals with the lengths of real conversations or given ones, read five times a
/// second.
struct EngineTrial {
    typealias Length = (prompt: Int, output: Int)

    private(set) var now: Seconds = 0
    private var machine: EngineMachine
    private let lengths: [Length]
    private let rate: Double
    private var nextArrival: Seconds = 0
    private var nextID: EngineRequestID = 0
    private var dice: SeededGenerator

    init(_ profile: EngineProfile, rate: Double, seed: UInt64, lengths: [Length]? = nil) throws {
        self.machine = EngineMachine(profile: profile, reportsEveryToken: false)
        self.lengths = try lengths ?? Self.conversationLengths()
        self.rate = rate
        self.dice = SeededGenerator(seed: seed)
    }

    var metrics: EngineMetrics { self.machine.metrics }

    /// Lives on for one scrape period, and reads.
    mutating func next(after period: Seconds = 0.2) throws -> EngineReading {
        self.now += period
        while self.nextArrival <= self.now {
            _ = self.machine.advance(to: self.nextArrival)
            let length = self.lengths[Int.random(in: 0..<self.lengths.count, using: &self.dice)]
            try self.machine.submit(
                EngineRequest(id: self.nextID, promptTokens: length.prompt, outputTokens: length.output),
                now: self.nextArrival
            )
            self.nextID += 1
            self.nextArrival -= log(Double.random(in: .leastNonzeroMagnitude...1, using: &self.dice)) / self.rate
        }
        _ = self.machine.advance(to: self.now)
        return self.reading
    }

    private var reading: EngineReading {
        let metrics = self.machine.metrics
        var reading = EngineReading(engine: .vllm)
        reading[.running] = Double(metrics.running)
        reading[.waiting] = Double(metrics.waiting)
        reading[.kvUse] = metrics.kvUse
        reading[.blockSize] = Double(self.machine.profile.blockTokens)
        reading[.blocks] = Double(self.machine.profile.kvBlocks)
        reading[.promptTokens] = Double(metrics.promptTokens)
        reading[.cachedPromptTokens] = Double(metrics.cachedPromptTokens)
        reading[.generationTokens] = Double(metrics.generationTokens)
        reading[.finished] = Double(metrics.finished.values.reduce(0, +))
        reading[.ttftSum] = metrics.timeToFirstToken.sum
        reading[.ttftCount] = Double(metrics.timeToFirstToken.count)
        reading[.itlSum] = metrics.interTokenLatency.sum
        reading[.itlCount] = Double(metrics.interTokenLatency.count)
        reading[.prefillSum] = metrics.prefillTime.sum
        reading[.prefillCount] = Double(metrics.prefillTime.count)
        return reading
    }

    /// What every profile can do, simulated once for all tests.
    static let truths = Dictionary(
        uniqueKeysWithValues: EngineProfile.all.map { profile in
            (profile.name, Result { try saturatedThroughput(profile) })
        }
    )

    /// The throughput of a full engine: requests finished per second under a load that it cannot serve.
    static func saturatedThroughput(_ profile: EngineProfile, lengths: [Length]? = nil) throws -> Double {
        var trial = try EngineTrial(profile, rate: 25, seed: 1, lengths: lengths)
        var finished: [Double] = []
        while trial.now < 600 { finished.append(try trial.next(after: 1)[.finished] ?? 0) }
        return (finished[finished.count - 1] - finished[finished.count / 4]) / 450
    }

    private static func conversationLengths() throws -> [Length] {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let trace = root.appending(path: "testenv/traces/azure2023_conv_2000.csv")
        return try String(contentsOf: trace, encoding: .utf8).split(whereSeparator: \.isNewline).dropFirst()
            .compactMap { line in
                let fields = line.split(separator: ",")
                guard fields.count == 3, let prompt = Int(fields[1]), let output = Int(fields[2]) else { return nil }
                return (prompt, output)
            }
    }
}
