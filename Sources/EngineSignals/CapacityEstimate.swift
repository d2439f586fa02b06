import FleetModel

/// Learns how many requests per second one endpoint can finish at the current mix of lengths, without knowing
/// its hardware.
///
/// Each window gives one point of the step model ``StepModel``. Points are kept in bins over log₂ of the running
/// requests, two per octave, so that what was learned at another load is not forgotten; a ridge regression holds
/// the coefficients near what physics says of an idle engine until the load says more. The capacity is the model's
/// throughput with all seats taken. What is measured at saturation outweighs the model, and at first no estimate
/// may run far ahead of what has been seen.
///
/// Differences from that method: the trust region widens with the evidence (see `trust`), and an engine
/// without token counters is fitted by Little's law (see `normalised`).
struct CapacityEstimate: Sendable {
    /// The memory of averages of rates, in seconds.
    private static let rateMemory: Seconds = 20
    /// The mix of lengths is that of about the last 200 requests, but no younger than 20 s and no older than 120 s.
    private static let mixMemory = (requests: 200.0, least: 20.0, most: 120.0)
    /// What share of its answer a running request has generated, by the time it counts as one, when loads settle.
    private static let runningAnswer = 0.4
    /// A prompt token's time when the engine says no time to first token: 33,000 tokens a second.
    private static let usualPromptTokenTime: Seconds = 3e-5
    /// The seats of an engine that never said and never filled them: vLLM's usual `--max-num-seqs`.
    private static let usualSeats = 256.0
    /// The share of the KV cache that fills before requests wait or are pushed out.
    private static let kvFull = 0.92

    private let settings: SignalSettings
    private var bins: [Int: LoadBin] = [:]

    private var finished = Average()
    private var running = Average()
    /// Sums over the last requests that give the mix of lengths, all faded alike.
    private var mix = Mix()
    private var lastRunning: Double?

    /// The shortest mean time between tokens seen, which drifts up slowly so that a fluke is forgotten.
    private var shortestITL: Seconds?
    private var prefill = PrefillTime()
    /// KV-cache use per running request.
    private var kvUsePerRequest: Double?
    private var saturation: [Bool] = []
    private var saturatedThroughput: Double?
    private var saturatedRunning: Double?
    private var greatestThroughput = 0.0
    private var windows = 0.0
    /// Requests per second with every seat taken; `nil` before anything has been served.
    private(set) var capacity: Double?
    private var knownSeats: Double?
    private var kvTokens: Double?

    init(settings: SignalSettings) {
        self.settings = settings
        self.knownSeats = settings.maxRunning.map(Double.init)
    }

    /// Whether requests have been waiting in six of the last eight windows: a single queue during a long
    /// prefill is no saturation.
    var isSaturated: Bool { self.saturation.count { $0 } >= 6 }

    mutating func learn(_ raw: LoadWindow, seats: Int?, kvTokens: Double?) {
        self.knownSeats = (self.settings.maxRunning ?? seats).map(Double.init)
        self.kvTokens = kvTokens
        self.running.add(raw.running, over: raw.length, memory: Self.rateMemory)
        self.finished.add(raw.finished, over: raw.length, memory: Self.rateMemory)
        let window = self.normalised(raw)
        self.learnMix(window)

        if let itl = window.itl, itl > 0, window.running >= 0.8 {
            // Nothing fades in a quiet time: what the engine can do, it can still do after an idle night.
            self.windows += 1
            self.greatestThroughput = max(self.greatestThroughput * 0.999, self.finished.value)
            self.shortestITL = self.shortestITL.map { min($0 * 1.0005, itl) } ?? itl
            let bin = LoadBin(running: window.running, promptInStep: (window.uncachedPrompt ?? 0) * itl, itl: itl)
            let octave = Int((2 * Math.log2(window.running)).rounded())
            if self.bins[octave]?.add(bin) == nil { self.bins[octave] = bin }
        }
        if window.waiting < 0.2 { self.prefill.learn(window, step: self.shortestITL ?? 0) }
        if let kvUse = window.kvUse, kvUse > 0.004, window.running >= 0.8 {
            let perRequest = kvUse / window.running
            self.kvUsePerRequest = self.kvUsePerRequest.map { $0 + 0.03 * (perRequest - $0) } ?? perRequest
        }
        self.saturation = (self.saturation + [window.waiting >= max(2, 0.1 * window.running)]).suffix(8)
        if self.isSaturated {
            self.saturatedThroughput =
                self.saturatedThroughput.map { $0 + 0.08 * (window.finished - $0) } ?? self.finished.value
            self.saturatedRunning = self.saturatedRunning.map { $0 + 0.1 * (window.running - $0) } ?? window.running
        }
        self.capacity = self.currentCapacity
    }

    private var currentCapacity: Double? {
        guard let model = self.model, let lengthOut = self.lengthOut, self.greatestThroughput > 0 else { return nil }
        var capacity = model.throughput(running: self.seats, lengthIn: self.lengthIn, lengthOut: lengthOut)
        if self.settings.learnsFromSaturation, self.isSaturated, let measured = self.saturatedThroughput {
            capacity = 0.3 * capacity + 0.7 * measured
        }
        return min(capacity, self.trust * self.greatestThroughput)
    }

    /// The most requests that run at once: what the settings or the engine say, the KV cache, and what
    /// saturation has shown, whichever is least.
    var seats: Double {
        var seats = self.knownSeats ?? Self.usualSeats
        if let perRequest = self.kvUsePerRequest { seats = min(seats, Self.kvFull / perRequest) }
        if let saturated = self.saturatedRunning { seats = min(seats, max(1, saturated * 1.02)) }
        return seats
    }

    /// Requests finished per second, averaged.
    var throughput: Double { self.finished.value }

    /// The fitted step; `nil` before any token has been timed.
    var model: StepModel? {
        guard let a = self.shortestITL else { return nil }
        let context: Double
        if let perRequest = self.kvUsePerRequest, let kvTokens = self.kvTokens {
            context = perRequest * kvTokens
        } else {
            context = self.lengthIn + (self.lengthOut ?? 0) / 2
        }
        // Weights (a) and context (b) are both read through the same memory, so their ratio does not depend on
        // the hardware; 1.43 was fitted on decode times of Llama-8B and 70B.
        let b = 1.43 * self.settings.kvTokenPerWeights * max(context, 1) * a
        let c = self.prefill.perToken ?? Self.usualPromptTokenTime
        let bins = self.bins.sorted { $0.key < $1.key }.map(\.value)
        return StepModel.fit(bins, prior: StepModel(a: 0.98 * a, b: b, c: c))
    }

    /// Time to first token of the current mix while nothing waits: a step, and the prompt.
    var unloadedTTFT: Seconds? {
        guard let step = self.shortestITL, let perToken = self.prefill.perToken else { return nil }
        return step + perToken * self.lengthIn
    }

    /// Mean uncached prompt tokens and output tokens of a request.
    var lengthIn: Double { self.mix.begun > 0 ? self.mix.prompt / self.mix.begun : 0 }
    var lengthOut: Double? {
        self.mix.answers > 0 && self.mix.generated > 0 ? self.mix.generated / self.mix.answers : nil
    }

    private mutating func learnMix(_ window: LoadWindow) {
        let risen = window.running - (self.lastRunning ?? window.running)
        self.lastRunning = window.running
        guard window.finished > 0 || window.begun ?? 0 > 0 || window.generated ?? 0 > 0 else { return }
        let memory = Self.mixMemory
        let kept = Math.exp(
            -window.length / min(max(memory.requests / max(self.finished.value, 1e-9), memory.least), memory.most)
        )
        // Tokens of requests that are still running are counted already, so those requests must be as well; in a
        // steady state as many begin as end, and the correction is nothing.
        // No more than have finished can have left; others that are gone were given up.
        let finished = window.finished * window.length
        let answers = finished + Self.runningAnswer * max(risen, -finished)
        self.mix = Mix(
            prompt: self.mix.prompt * kept + (window.uncachedPrompt ?? 0) * window.length,
            begun: self.mix.begun * kept + (window.begun ?? window.finished) * window.length,
            generated: self.mix.generated * kept + (window.generated ?? 0) * window.length,
            answers: self.mix.answers * kept + answers
        )
    }

    /// How far over the greatest throughput seen an estimate may lie: twice at first, once more for every ten
    /// seconds of evidence.
    ///
    /// A wrong prior then costs little, and a long quiet time is no prison.
    private var trust: Double { 2 + self.windows / 10 }

    /// The window with its gaps filled.
    ///
    /// Without a token time, running requests take turns: `ITL = n/G`. Without token counters a whole request
    /// counts as one token: by Little's law its time is `n/X`, of the averages, since requests are too few in
    /// one window; prompts then are part of that time.
    private func normalised(_ raw: LoadWindow) -> LoadWindow {
        var window = raw
        if let generated = raw.generated {
            if raw.itl == nil, generated > 0 { window.itl = raw.running / generated }
        } else {
            window.generated = raw.finished
            window.uncachedPrompt = nil
            window.itl = self.finished.value > 0 ? self.running.value / self.finished.value : nil
        }
        return window
    }
}

/// What the last requests were made of.
private struct Mix {
    /// Uncached prompt tokens, and the requests that they belong to.
    var prompt = 0.0
    var begun = 0.0
    /// Generated tokens, and the answers that they make.
    var generated = 0.0
    var answers = 0.0
}

/// The time that a prompt token takes to the first answer, from times to first token without a queue.
///
/// A window has few requests and their lengths differ, so times are added up until twelve requests have begun.
/// Of these sums the low side is the unloaded side: the estimate falls quickly and rises slowly.
private struct PrefillTime {
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
