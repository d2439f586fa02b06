import EngineModel
import FleetModel
import Foundation
import Testing

@testable import EngineSignals

/// How far the estimate is off on simulated engines, against a long run under more load than they can serve.
///
/// A minute of a slow engine is some hundred requests, whose mean length alone is off by a tenth; so the mean over
/// seeds has a bound, and each run twice that. Every run prints its row of the table.
@Suite struct `The capacity estimate` {
    private static let loads = [0.2, 0.5, 0.7, 0.95]

    @Test(arguments: EngineProfile.all.map(\.name), [5e-6, nil])
    func `is within a sixth or so at half load and more after a minute`(
        name: String,
        tokenPerWeights: Double?
    ) throws {
        // Without the size of the model in the settings, and with it.
        let size = name.hasPrefix("8b") ? 8.2e-6 : name.hasPrefix("32b") ? 4e-6 : 2.3e-6
        let settings = SignalSettings(kvTokenPerWeights: tokenPerWeights ?? size)
        let title = tokenPerWeights == nil ? "size known" : "by default"
        for (load, ratios) in try Self.row(name, settings: settings, title: title) {
            let bound = load < 0.5 ? 0.3 : 0.18
            Self.expect(ratios, within: bound, "\(name) at load \(load)")
        }
    }

    @Test func `of an engine with a hidden limit of seats is right once the limit is in the settings`() throws {
        var profile = try EngineProfile(named: "8b-h100")
        profile.maxSequences = 64
        let truth = try EngineTrial.saturatedThroughput(profile)
        let hidden = try Self.estimate(of: profile, SignalSettings(), rate: truth * 0.7, seed: 2) / truth
        let told = try Self.estimate(of: profile, SignalSettings(maxRunning: 64), rate: truth * 0.7, seed: 2) / truth
        print(String(format: "8b-h100, 64 seats: hidden %.2f, told %.2f", hidden, told))
        #expect(hidden > 1.2)
        #expect(abs(told - 1) <= 0.15)
    }

    @Test func `of an engine that saturates is what it then finishes`() throws {
        var profile = try EngineProfile(named: "8b-h100")
        profile.maxSequences = 64
        let truth = try EngineTrial.saturatedThroughput(profile)
        let ratio = try Self.estimate(of: profile, SignalSettings(), rate: truth * 1.5, seed: 2) / truth
        #expect(abs(ratio - 1) <= 0.15)
    }

    @Test func `without token counters goes by Little's law`() throws {
        let profile = try EngineProfile(named: "8b-h100")
        let truth = try #require(try EngineTrial.truths[profile.name]?.get())
        let tokens: [EngineSignal] = [
            .promptTokens, .cachedPromptTokens, .generationTokens, .itlSum, .itlCount, .ttftSum, .ttftCount,
        ]
        for load in Self.loads {
            let ratio =
                try Self.estimate(
                    of: profile,
                    SignalSettings(maxRunning: 256),
                    rate: truth * load,
                    seed: 2,
                    hiding: tokens
                ) / truth
            print(String(format: "8b-h100 without tokens, load %.2f: %.2f", load, ratio))
            #expect((0.5...2).contains(ratio))
        }
    }

    @Test func `is not there before anything was served`() {
        var tracker = EndpointTracker(endpoint: endpoint(1))
        for second in 0..<30 { _ = tracker.read(reading(running: 0, [.finished: 0]), now: Double(second)) }
        #expect(tracker.window(now: 29) != nil)
        #expect(tracker.capacity == nil)
    }

    @Test func `is the same after an idle night`() throws {
        var engine = SteadyEngine(rate: 4)
        var tracker = EndpointTracker(endpoint: endpoint(1))
        while engine.now < 200 { _ = tracker.read(engine.next(), now: engine.now) }
        let evening = try #require(tracker.capacity)
        engine.rate = 0
        while engine.now < 40_000 { _ = tracker.read(engine.next(after: 1), now: engine.now) }
        #expect(abs(try #require(tracker.capacity) / evening - 1) < 0.1)
    }

    @Test func `does not run far ahead of what little has been seen`() throws {
        var engine = SteadyEngine(rate: 0.5)
        var tracker = EndpointTracker(endpoint: endpoint(1))
        while engine.now < 110 { _ = tracker.read(engine.next(), now: engine.now) }
        #expect(try #require(tracker.capacity) <= 0.5 * 3.1)
    }

    private static func row(
        _ name: String,
        settings: SignalSettings,
        title: String
    ) throws -> [(load: Double, ratios: [Double])] {
        let profile = try EngineProfile(named: name)
        let truth = try #require(try EngineTrial.truths[name]?.get())
        let row = try Self.loads.map { load in
            let ratios = try (2...4).map { seed in
                try Self.estimate(of: profile, settings, rate: truth * load, seed: seed) / truth
            }
            return (load: load, ratios: ratios)
        }
        let columns = row.map { load, ratios in
            String(
                format: "load %.2f: %.2f (%.2f to %.2f)",
                load,
                ratios.mean ?? 0,
                ratios.min() ?? 0,
                ratios.max() ?? 0
            )
        }
        print("\(title), \(name), \(String(format: "%.2f", truth)) req/s: \(columns.joined(separator: "  "))")
        return row
    }

    private static func expect(_ ratios: [Double], within bound: Double, _ comment: String) {
        #expect(abs((ratios.mean ?? 0) - 1) <= bound, "\(comment): \(ratios)")
        for ratio in ratios { #expect(abs(ratio - 1) <= 2 * bound, "\(comment)") }
    }

    private static func estimate(
        of profile: EngineProfile,
        _ settings: SignalSettings,
        rate: Double,
        seed: UInt64,
        hiding: [EngineSignal] = []
    ) throws -> Double {
        var trial = try EngineTrial(profile, rate: rate, seed: seed)
        var tracker = EndpointTracker(endpoint: endpoint(1), settings: settings)
        while trial.now < 60 {
            var reading = try trial.next()
            for signal in hiding { reading[signal] = nil }
            _ = tracker.read(reading, now: trial.now)
        }
        return try #require(tracker.capacity)
    }
}

@Suite struct `Least squares` {
    @Test func `finds the coefficients of exact rows`() {
        let rows = [([1, 2, 0], 5), ([0, 1, 4], 14), ([3, 0, 1], 6), ([1, 1, 1], 6)] as [(x: [Double], y: Double)]
        let solution = LeastSquares.nonNegative(rows)
        #expect(zip(solution, [1, 2, 3]).allSatisfy { abs($0 - $1) < 1e-9 }, "\(solution)")
    }

    @Test func `never goes below zero, and fits the rest as well as it can`() {
        let rows = [([1, 0, 0], -1), ([0, 1, 0], 2), ([0, 0, 1], 3)] as [(x: [Double], y: Double)]
        #expect(LeastSquares.nonNegative(rows) == [0, 2, 3])
    }

    @Test func `of nothing is nothing`() {
        #expect(LeastSquares.nonNegative([]) == [0, 0, 0])
    }
}
