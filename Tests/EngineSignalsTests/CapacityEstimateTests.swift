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

    @Test(arguments: EngineProfile.all.map(\.name), [[], [EngineSignal.prefillSum, .prefillCount]])
    func `is within a sixth or so at half load and more after a minute`(name: String, hidden: [EngineSignal]) throws {
        // Engines that do not say how long prompts take are known by their times to first token.
        for (load, ratios) in try Self.row(name, hiding: hidden) {
            let bound = load < 0.5 ? 0.3 : 0.19
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

    @Test func `counts with the context that requests will have, when a minute is too short for it`() throws {
        let profile = try EngineProfile(named: "8b-h100")
        // Exponential lengths with a mean of 3,000 tokens, half a minute each.
        let lengths = (0..<500).map { (prompt: 800, output: 1 + Int(-3000 * log(1 - (Double($0) + 0.5) / 500))) }
        let truth = try EngineTrial.saturatedThroughput(profile, lengths: lengths)
        let ratios = try (1...8).map { seed in
            try Self.estimate(of: profile, SignalSettings(), rate: truth * 0.7, seed: seed, lengths: lengths) / truth
        }
        print("8b-h100, long answers, load 0.70: \(ratios)")
        // By what requests hold while they are young it would be half too much.
        #expect(abs((ratios.mean ?? 0) - 1) <= 0.4, "\(ratios)")
    }

    @Test func `without token counters goes by Little's law`() throws {
        let profile = try EngineProfile(named: "8b-h100")
        let truth = try #require(try EngineTrial.truths[profile.name]?.get())
        let tokens: [EngineSignal] = [
            .promptTokens, .cachedPromptTokens, .generationTokens, .itlSum, .itlCount, .ttftSum, .ttftCount,
            .prefillSum, .prefillCount,
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
        hiding: [EngineSignal]
    ) throws -> [(load: Double, ratios: [Double])] {
        let profile = try EngineProfile(named: name)
        let truth = try #require(try EngineTrial.truths[name]?.get())
        let row = try Self.loads.map { load in
            let ratios = try (2...4).map { seed in
                try Self.estimate(of: profile, SignalSettings(), rate: truth * load, seed: seed, hiding: hiding)
                    / truth
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
        let title = hiding.isEmpty ? "all" : "no prefill times"
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
        hiding: [EngineSignal] = [],
        lengths: [EngineTrial.Length]? = nil
    ) throws -> Double {
        var trial = try EngineTrial(profile, rate: rate, seed: seed, lengths: lengths)
        var tracker = EndpointTracker(endpoint: endpoint(1), settings: settings)
        while trial.now < 60 {
            var reading = try trial.next()
            for signal in hiding { reading[signal] = nil }
            _ = tracker.read(reading, now: trial.now)
        }
        return try #require(tracker.capacity)
    }
}

@Suite struct `A step` {
    private let model = StepModel(weights: 0.01, token: 5e-5, context: 1e-7)

    private func work(running: Double, prompts: Double = 0, tokens: Double = 0) -> StepWork {
        StepWork(running: running, prompts: prompts, promptTokens: tokens, context: running * 1000)
    }

    @Test func `takes as long as the weights while it computes little, and as its tokens when it computes much`() {
        func time(_ tokens: Double) -> Seconds {
            self.model.time(self.model.factors(tokens: tokens, context: 0))
        }
        #expect(time(1) == 0.01 && time(140) == 0.01)
        #expect(abs(time(1000) - (0.0025 + 0.05)) < 1e-12)
    }

    @Test func `of a mix is one with a prompt as often as prompts come`() {
        let factors = self.model.factors(self.work(running: 10, prompts: 0.1, tokens: 100))
        let share = 1 - exp(-0.1)
        #expect(abs(factors.x - (1 - share + share * StepModel.unhidden)) < 1e-12)
        #expect(abs(factors.y - (share * 10 + 100)) < 1e-12)
        #expect(factors.z == 10_000)
    }

    @Test func `that a request comes upon is longer than the mean one`() {
        let work = self.work(running: 10, prompts: 0.1, tokens: 100)
        let mean = self.model.time(self.model.factors(work))
        #expect(self.model.stepUponArrival(work) > 1.5 * mean)
        #expect(abs(self.model.stepUponArrival(self.work(running: 10)) - 0.011) < 1e-12)
    }

    @Test func `is found again from windows of an engine that takes them`() throws {
        var fit = StepFit()
        var prompts = PromptTime()
        for running in [1.0, 2, 4, 8, 16, 32, 64] {
            for begun in [0.0, 4] {
                // Four prompts of 1,000 tokens a second, and steps as long as they then are.
                var step = 0.01
                for _ in 0..<50 {
                    let work = self.work(running: running, prompts: begun * step, tokens: begun * step * 1000)
                    step = self.model.time(self.model.factors(work))
                }
                var window = LoadWindow(length: 10, running: running, waiting: 0, finished: begun)
                window.begun = begun
                window.uncachedPrompt = begun * 1000
                window.tokenTime = running
                window.timedTokens = running / step
                fit.add(window, context: running * 1000)
                fit.addPlain(window, context: running * 1000)
            }
        }
        var window = LoadWindow(length: 10, running: 1, waiting: 0, finished: 4)
        (window.prefill, window.prefilled) = (0.0545, 4)
        prompts.add(window)
        let expected = StepModel(weights: 0.013, token: 8e-5, context: 3e-7)
        for _ in 0..<20 { fit.fit(expected: expected, prompts: prompts.mean(tokens: 1000)) }
        let found = try #require(fit.model).coefficients / self.model.coefficients
        #expect(abs(found.x - 1) < 0.05 && abs(found.y - 1) < 0.1 && abs(found.z - 1) < 0.2, "\(found)")
    }
}

@Suite struct `Two windows as one` {
    @Test func `have means over what each had, and know nothing that one of them does not`() {
        var first = LoadWindow(length: 1, running: 2, waiting: 0, finished: 4)
        (first.begun, first.ttft, first.generated) = (1, 0.1, 100)
        var second = LoadWindow(length: 3, running: 6, waiting: 4, finished: 0)
        (second.begun, second.ttft) = (1, 0.5)
        let whole = first.joined(second)
        #expect(whole.length == 4 && whole.running == 5 && whole.waiting == 3 && whole.finished == 1)
        #expect(whole.begun == 1 && abs((whole.ttft ?? 0) - 0.4) < 1e-12)
        #expect(whole.generated == nil && whole.kvUse == nil)
        second.ttft = nil
        #expect(first.joined(second).ttft == 0.1)
    }
}

@Suite struct `Least squares` {
    private func solve(_ rows: [(x: SIMD3<Double>, y: Double)]) -> SIMD3<Double> {
        rows.reduce(into: LeastSquares()) { $0.add($1.x, $1.y) }.nonNegative
    }

    @Test func `finds the coefficients of exact rows`() {
        let solution = self.solve([
            (SIMD3(1, 2, 0), 5), (SIMD3(0, 1, 4), 14), (SIMD3(3, 0, 1), 6), (SIMD3(1, 1, 1), 6),
        ])
        let off = solution - SIMD3(1, 2, 3)
        #expect((off * off).sum() < 1e-16, "\(solution)")
    }

    @Test func `never goes below zero, and fits the rest as well as it can`() {
        #expect(self.solve([(SIMD3(1, 0, 0), -1), (SIMD3(0, 1, 0), 2), (SIMD3(0, 0, 1), 3)]) == SIMD3(0, 2, 3))
    }

    @Test func `of nothing is nothing, and of too few rows leaves the rest at zero`() {
        #expect(self.solve([]) == .zero)
        #expect(self.solve([(SIMD3(2, 0, 0), 4)]) == SIMD3(2, 0, 0))
    }
}
