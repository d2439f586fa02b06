import FleetModel

/// What an engine did in about a second, from the differences of its counters and the means of its gauges.
struct LoadWindow: Hashable, Sendable {
    var length: Seconds
    /// Mean requests running and waiting.
    var running: Double
    var waiting: Double
    /// Mean KV-cache use of the fullest rank.
    var kvUse: Double?
    /// Requests finished, without those that failed, and begun (first token sent), per second.
    var finished: Double
    var begun: Double?
    /// Requests that ended in an error, per second.
    var failed: Double?
    /// Tokens per second: prompt tokens that were computed, not taken from a cache, and generated tokens.
    var uncachedPrompt: Double?
    var generated: Double?
    /// Times between tokens, summed, in seconds a second: the mean number of requests that are past their first token.
    var tokenTime: Double?
    /// The tokens that end them, per second.
    var timedTokens: Double?
    /// Mean time to the first token, of the first tokens sent in the window.
    var ttft: Seconds?
    /// Mean time from a request's first step to its first token, and how many requests a second it is of.
    var prefill: Seconds?
    var prefilled: Double?

    /// Mean time between tokens.
    var itl: Seconds? {
        guard let time = self.tokenTime, let tokens = self.timedTokens, tokens > 0 else { return nil }
        return time / tokens
    }

    /// This window and the one after it as one.
    func joined(_ next: LoadWindow) -> LoadWindow {
        let length = self.length + next.length
        func mean(_ first: Double, _ second: Double) -> Double {
            (first * self.length + second * next.length) / length
        }
        func mean(_ first: Double?, _ second: Double?) -> Double? {
            guard let first, let second else { return nil }
            return mean(first, second)
        }
        // A mean over requests; a window without any has none.
        func mean(_ first: Double?, of firstRate: Double?, _ second: Double?, of secondRate: Double?) -> Double? {
            guard let first else { return second }
            guard let second else { return first }
            let weights = ((firstRate ?? 0) * self.length, (secondRate ?? 0) * next.length)
            guard weights.0 + weights.1 > 0 else { return second }
            return (first * weights.0 + second * weights.1) / (weights.0 + weights.1)
        }
        return LoadWindow(
            length: length,
            running: mean(self.running, next.running),
            waiting: mean(self.waiting, next.waiting),
            kvUse: mean(self.kvUse, next.kvUse),
            finished: mean(self.finished, next.finished),
            begun: mean(self.begun, next.begun),
            failed: mean(self.failed, next.failed),
            uncachedPrompt: mean(self.uncachedPrompt, next.uncachedPrompt),
            generated: mean(self.generated, next.generated),
            tokenTime: mean(self.tokenTime, next.tokenTime),
            timedTokens: mean(self.timedTokens, next.timedTokens),
            ttft: mean(self.ttft, of: self.begun, next.ttft, of: next.begun),
            prefill: mean(self.prefill, of: self.prefilled, next.prefill, of: next.prefilled),
            prefilled: mean(self.prefilled, next.prefilled)
        )
    }
}

/// Cuts the readings of one endpoint into windows.
struct WindowMeter: Sendable {
    /// A window is closed by the first reading after this many seconds.
    static let length: Seconds = 1
    /// A gap after which gauges of the two sides do not describe one window any more.
    static let longestLength: Seconds = 10

    private var first: (reading: EngineReading, at: Seconds)?
    private var previous: EngineReading?
    private var gauges: [(running: Double?, waiting: Double, kvUse: Double?)] = []
    /// Breaks seen between two readings, upgrades included.
    private(set) var restarts = 0
    /// Breaks after which the engine was another one.
    private(set) var upgrades = 0

    /// Takes one reading, and gives the window that it closes.
    mutating func add(_ reading: EngineReading, now: Seconds) -> LoadWindow? {
        guard let first = self.first, let previous = self.previous, now - first.at <= Self.longestLength else {
            if let change = self.previous.flatMap({ reading.change(since: $0) }) { self.note(change) }
            self.begin(with: reading, now: now)
            return nil
        }
        if let change = reading.change(since: previous) {
            self.note(change)
            self.begin(with: reading, now: now)
            return nil
        }
        self.previous = reading
        self.gauges.append((reading[.running], reading[.waiting] ?? 0, reading.kvUse))
        guard now - first.at >= Self.length else { return nil }
        let window = self.window(from: first.reading, to: reading, length: now - first.at)
        self.begin(with: reading, now: now)
        return window
    }

    private mutating func note(_ change: EngineChange) {
        self.restarts += 1
        if change == .upgraded { self.upgrades += 1 }
    }

    private mutating func begin(with reading: EngineReading, now: Seconds) {
        self.first = (reading, now)
        self.previous = reading
        self.gauges = []
    }

    private func window(from first: EngineReading, to last: EngineReading, length: Seconds) -> LoadWindow? {
        func rate(_ signal: EngineSignal) -> Double? {
            guard let from = first[signal], let to = last[signal] else { return nil }
            return (to - from) / length
        }
        func mean(_ sum: EngineSignal, _ count: EngineSignal) -> Double? {
            guard let sum = rate(sum), let count = rate(count), count > 0 else { return nil }
            return sum / count
        }
        guard let running = self.gauges.compactMap(\.running).mean ?? rate(.busyTime), let ended = rate(.finished)
        else { return nil }
        let failed = rate(.failed)
        // What fails is not served: an engine that refuses quickly must not look able. The estimate of the capacity adds
        // those again that were worked on.
        let finished = last.engine.countsFailedAsFinished ? max(0, ended - (failed ?? 0)) : ended
        return LoadWindow(
            length: length,
            running: running,
            waiting: self.gauges.map(\.waiting).mean ?? 0,
            kvUse: self.gauges.compactMap(\.kvUse).mean,
            finished: finished,
            begun: rate(.ttftCount),
            failed: failed,
            uncachedPrompt: rate(.promptTokens).map { max(0, $0 - (rate(.cachedPromptTokens) ?? 0)) },
            generated: rate(.generationTokens),
            tokenTime: rate(.itlSum),
            timedTokens: rate(.itlCount),
            ttft: mean(.ttftSum, .ttftCount),
            prefill: mean(.prefillSum, .prefillCount),
            prefilled: rate(.prefillCount)
        )
    }
}

extension Array where Element == Double {
    /// The mean; `nil` of nothing.
    var mean: Double? { self.isEmpty ? nil : self.reduce(0, +) / Double(self.count) }
}
