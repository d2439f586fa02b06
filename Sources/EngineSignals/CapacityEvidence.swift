import FleetModel

// What a ``CapacityEstimate`` remembers of the windows so far.

/// Which share of the requests that fail does so after the first token, so that the engine has worked on them.
///
/// What has begun ends: in the long run it has finished or has failed late. An engine that does not count what begins
/// (Triton) does not count the time and tokens of a failed request either.
struct LateFailures {
    private static let memory: Seconds = 60

    private var unfinished = Average()
    private var failed = Average()

    var share: Double {
        self.failed.value > 0 ? min(max(0, self.unfinished.value / self.failed.value), 1) : 0
    }

    mutating func add(_ window: LoadWindow) {
        guard let failed = window.failed, let begun = window.begun else { return }
        self.unfinished.add(begun - window.finished, over: window.length, memory: Self.memory)
        self.failed.add(failed, over: window.length, memory: Self.memory)
    }
}

/// What the last requests were made of.
struct Mix {
    /// Uncached prompt tokens, and the requests that they belong to.
    var prompt = 0.0
    var begun = 0.0
    /// Generated tokens, and the answers that they make.
    var generated = 0.0
    var answers = 0.0

    /// By how much to take the mean answer as longer, where what is wanted is one over it.
    ///
    /// One over the mean of `k` lengths is on average too much by `v²/k`, to the first order, where `v` is their
    /// deviation over their mean: about 1 for answers.
    var caution: Double { 1 + 1 / max(self.answers, 1) }
}

/// How much of the KV cache running requests take.
struct KVUse {
    /// After so many times an average request's stay, the ages of those that run have settled.
    static let residences = 24.0
    private static let memory: (least: Seconds, most: Seconds) = (33, 300)

    private var use = 0.0
    private var running = 0.0
    /// For how long requests were seen to run.
    private(set) var seconds: Seconds = 0

    /// What one request takes on average.
    var perRequest: Double? { self.use > 0 ? self.use / self.running : nil }

    mutating func add(_ window: LoadWindow, residence: Seconds) {
        guard let use = window.kvUse, use > 0.004 else { return }
        let memory = min(max(Self.residences * residence, Self.memory.least), Self.memory.most)
        let kept = Math.exp(-window.length / memory)
        self.use = self.use * kept + use * window.length
        self.running = self.running * kept + window.running * window.length
        self.seconds += window.length
    }
}

/// The time that a prompt token takes to the first answer while nothing waits, from times to first token.
///
/// A window has few requests and their lengths differ, so times are added up until twelve requests have begun.
/// Of these sums the low side is the unloaded side: the estimate falls quickly and rises slowly.
struct UnloadedPromptTime {
    private static let enough = 12.0

    private var requests = 0.0
    private var tokens = 0.0
    private var time = 0.0
    private var settled: Seconds?

    /// Seconds per prompt token; of the first requests alone until there are enough.
    var perToken: Seconds? { self.settled ?? self.current }

    private var current: Seconds? { self.tokens > 0 && self.time > 0 ? self.time / self.tokens : nil }

    mutating func learn(_ window: LoadWindow, step: Seconds) {
        guard let ttft = window.ttft, let begun = window.begun, let prompt = window.uncachedPrompt else { return }
        self.requests += begun * window.length
        self.tokens += prompt * window.length
        self.time += begun * window.length * (ttft - step)
        guard self.requests >= Self.enough, let current = self.current else { return }
        self.settled = self.settled.map { $0 + (current < $0 ? 0.3 : 0.05) * (current - $0) } ?? current
        (self.requests, self.tokens, self.time) = (0, 0, 0)
    }
}

/// A moving average in which the first values count as much as they should.
struct Average: Hashable, Sendable {
    private var sum = 0.0
    private var weight = 0.0

    var value: Double { self.weight > 0 ? self.sum / self.weight : 0 }

    mutating func add(_ sample: Double, over length: Seconds, memory: Seconds) {
        let kept = Math.exp(-length / memory)
        self.sum = self.sum * kept + sample * (1 - kept)
        self.weight = self.weight * kept + (1 - kept)
    }
}
