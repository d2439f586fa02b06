import FleetModel

/// What an engine did in about a second, from the differences of its counters and the means of its gauges.
struct LoadWindow: Hashable, Sendable {
    var length: Seconds
    /// Mean requests running and waiting.
    var running: Double
    var waiting: Double
    /// Mean KV-cache use of the fullest rank.
    var kvUse: Double?
    /// Requests finished and begun (first token sent), per second.
    var finished: Double
    var begun: Double?
    /// Tokens per second: prompt tokens that were computed, not taken from a cache, and generated tokens.
    var uncachedPrompt: Double?
    var generated: Double?
    /// Mean time between tokens, and to the first one, of the tokens sent in the window.
    var itl: Seconds?
    var ttft: Seconds?
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
        guard let running = self.gauges.compactMap(\.running).mean ?? rate(.busyTime), let finished = rate(.finished)
        else { return nil }
        return LoadWindow(
            length: length,
            running: running,
            waiting: self.gauges.map(\.waiting).mean ?? 0,
            kvUse: self.gauges.compactMap(\.kvUse).mean,
            finished: finished,
            begun: rate(.ttftCount),
            uncachedPrompt: rate(.promptTokens).map { max(0, $0 - (rate(.cachedPromptTokens) ?? 0)) },
            generated: rate(.generationTokens),
            itl: mean(.itlSum, .itlCount),
            ttft: mean(.ttftSum, .ttftCount)
        )
    }
}

extension Array where Element == Double {
    /// The mean; `nil` of nothing.
    var mean: Double? { self.isEmpty ? nil : self.reduce(0, +) / Double(self.count) }
}
