import FleetModel

/// Learns how many requests per second one endpoint can finish at the current mix of lengths, without knowing
/// its hardware.
///
/// A ``StepFit`` learns from windows how long the engine's steps take for what they work on. The capacity is what such
/// an engine finishes with all seats taken: `n` requests that need `L` steps each leave at `n/(L·T)`. What is measured
/// with every seat taken outweighs the model, and at first no estimate may run far ahead of what has been seen.
///
/// It is what the endpoint could finish if nothing failed. The share of requests that fail is told beside it, and the
/// hub takes that off: here it must not be missing already.
///
/// docs/capacity.md says how well this does.
struct CapacityEstimate: Sendable {
    /// The memory of averages of rates, in seconds.
    private static let rateMemory: Seconds = 20
    /// The mix of lengths is that of about the last 200 requests, but no younger than 20 s and no older than 120 s.
    private static let mixMemory = (requests: 200.0, least: 20.0, most: 120.0)
    /// What share of its answer a running request has generated, by the time it counts as one, when loads settle.
    ///
    /// Under a steady load it is `(1 − v²)/2` for answers whose lengths vary by `v`, their deviation over their mean;
    /// those of conversations vary by 0.7 to 1.
    private static let runningAnswer = 0.1
    /// What share of the mean answer a running request has generated when loads have settled: `(1 + v²)/2`, as those that
    /// run are the longer ones.
    private static let settledAnswer = 1 - runningAnswer
    /// Reading the whole memory of a GPU once, in seconds: what weights and a full KV cache take together.
    ///
    /// Size over bandwidth, from the makers' data sheets, is 24 ms (H100), 29 (H200), 39 (A100 80 GB) and 56 (L40S);
    /// servers use nine tenths of the memory, and kernels reach about six tenths of the bandwidth.
    private static let wholeMemory: Seconds = 0.058
    /// What a token of context takes over what all weights take, where the size of the KV cache is not known: 1.43
    /// times the bytes, of a model between 8B (8.7e-6) and 70B (2.3e-6).
    private static let usualContext = 1.43 * 5e-6
    /// As many tokens are computed in the time in which all weights are read: arithmetic over bandwidth of the same
    /// data sheets is 295 (H100), 153 (A100) and 209 (L40S).
    private static let tokensPerReading = 200.0
    /// The seats of an engine that never said and never filled them: vLLM's usual `--max-num-seqs`.
    private static let usualSeats = 256.0
    /// The share of the KV cache that fills before requests wait or are pushed out.
    private static let kvFull = 0.92
    /// Steps are learned from windows of a second, and of four times to first token where that is more: what is cut in
    /// the middle of a prompt has its time without its tokens.
    private static let stepWindow = (firstTokens: 4.0, most: 5.0)

    private let settings: SignalSettings
    private var steps = StepFit()
    private var prompts = PromptTime()
    /// Windows that are not long enough yet to learn steps from.
    private var gathered: LoadWindow?
    private var firstToken = Average()

    private var lateFailures = LateFailures()
    private var finished = Average()
    private var running = Average()
    /// Sums over the last requests that give the mix of lengths, all faded alike.
    private var mix = Mix()
    private var lastRunning: Double?

    /// The shortest mean time between tokens seen, which drifts up slowly so that a fluke is forgotten.
    private var shortestITL: Seconds?
    /// Tokens of context that the batch held then.
    private var shortestContext = 0.0
    private var unloaded = UnloadedPromptTime()
    private var kvUse = KVUse()
    private var queues: [Bool] = []
    private var saturatedThroughput: Double?
    private var saturatedRunning: Double?
    private var greatestThroughput = 0.0
    private var windows = 0.0
    /// Requests per second with every seat taken; `nil` before anything has been served.
    private(set) var capacity: Double?
    private var knownSeats: Double?
    private var kvTokens: Double?
    /// Steps make tokens; without token counters a step is a whole request.
    private var countsTokens = true

    init(settings: SignalSettings) {
        self.settings = settings
        self.knownSeats = settings.maxRunning.map(Double.init)
    }

    /// Whether requests have been waiting in six of the last eight windows: a single queue during a long
    /// prefill is no saturation.
    var isSaturated: Bool { self.queues.count { $0 } >= 6 }

    /// Whether requests wait because no seat is free.
    ///
    /// While the number running still rises, prompts wait for each other and not for seats, and fewer requests end
    /// than could, because those that will are only just begun.
    private var isFull: Bool {
        guard self.isSaturated, let running = self.lastRunning else { return false }
        return running <= 1.1 * self.running.value
    }

    mutating func learn(_ told: LoadWindow, seats: Int?, kvTokens: Double?) {
        self.knownSeats = (self.settings.maxRunning ?? seats).map(Double.init)
        self.kvTokens = kvTokens
        self.lateFailures.add(told)
        var raw = told
        // The engine worked on these as on any other.
        raw.finished += self.lateFailures.share * (told.failed ?? 0)
        self.running.add(raw.running, over: raw.length, memory: Self.rateMemory)
        self.finished.add(raw.finished, over: raw.length, memory: Self.rateMemory)
        self.countsTokens = raw.generated != nil
        let window = self.normalised(raw)
        self.learnMix(window)

        if window.running >= 0.8 {
            // Nothing fades in a quiet time: what the engine can do, it can still do after an idle night.
            self.windows += 1
            self.greatestThroughput = max(self.greatestThroughput * 0.999, self.finished.value)
            if let itl = window.itl {
                let drifted = self.shortestITL.map { $0 * 1.0005 } ?? .infinity
                self.shortestITL = min(drifted, itl)
                if itl <= drifted { self.shortestContext = self.context(in: window) }
            }
            self.kvUse.add(window, residence: self.residence)
            self.steps.addPlain(window, context: self.context(in: window))
        }
        self.prompts.add(window)
        if window.waiting < 0.2 { self.unloaded.learn(window, step: self.shortestITL ?? 0) }
        self.learnSteps(window)

        self.queues = (self.queues + [window.waiting >= max(2, 0.1 * window.running)]).suffix(8)
        if self.isFull {
            self.saturatedThroughput =
                self.saturatedThroughput.map { $0 + 0.08 * (window.finished - $0) } ?? self.finished.value
            self.saturatedRunning = self.saturatedRunning.map { $0 + 0.1 * (window.running - $0) } ?? window.running
        }
        self.capacity = self.currentCapacity
    }

    private var currentCapacity: Double? {
        guard let model = self.steps.model, let lengthOut = self.lengthOut, self.greatestThroughput > 0 else {
            return nil
        }
        var capacity = model.throughput(
            running: self.seats,
            lengthIn: self.lengthIn,
            lengthOut: lengthOut * self.mix.caution,
            context: self.contextPerRequest
        )
        if self.settings.learnsFromSaturation, self.isFull, let measured = self.saturatedThroughput {
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

    /// Time to first token of the current mix while nothing waits: a step, and the prompt.
    var unloadedTTFT: Seconds? {
        guard let step = self.shortestITL, let perToken = self.unloaded.perToken else { return nil }
        return step + perToken * self.lengthIn
    }

    /// Mean uncached prompt tokens and output tokens of a request.
    var lengthIn: Double { self.mix.begun > 0 ? self.mix.prompt / self.mix.begun : 0 }
    var lengthOut: Double? {
        self.mix.answers > 0 && self.mix.generated > 0 ? self.mix.generated / self.mix.answers : nil
    }

    /// How long an average request stays, in seconds.
    private var residence: Seconds { (self.lengthOut ?? 0) * (self.shortestITL ?? 0) }

    /// KV-cache use per running request once the load has settled.
    ///
    /// Until requests have come and gone for a while those that run are younger than they will be, and hold less.
    private var kvUsePerRequest: Double? {
        guard let measured = self.kvUse.perRequest else { return nil }
        guard let kvTokens = self.kvTokens, kvTokens > 0 else { return measured }
        let unsettled = max(0, 1 - self.kvUse.seconds / (KVUse.residences * self.residence))
        return measured + unsettled * max(0, self.settledContext / kvTokens - measured)
    }

    /// Tokens of context that a running request holds.
    private var contextPerRequest: Double {
        if let perRequest = self.kvUsePerRequest, let kvTokens = self.kvTokens { return perRequest * kvTokens }
        return self.settledContext
    }

    /// The same, by the lengths of prompts and answers.
    private var settledContext: Double { self.lengthIn + Self.settledAnswer * (self.lengthOut ?? 0) }

    /// Tokens of context that the batch held.
    private func context(in window: LoadWindow) -> Double {
        if let kvUse = window.kvUse, let kvTokens = self.kvTokens { return kvUse * kvTokens }
        return window.running * self.contextPerRequest
    }

    private mutating func learnSteps(_ window: LoadWindow) {
        if let ttft = window.ttft {
            let begun = (window.begun ?? window.finished) * window.length
            self.firstToken.add(ttft, over: begun, memory: 40)
        }
        let whole = self.gathered?.joined(window) ?? window
        guard whole.length >= min(Self.stepWindow.firstTokens * self.firstToken.value, Self.stepWindow.most) else {
            self.gathered = whole
            return
        }
        self.gathered = nil
        guard whole.running >= 0.8, let step = self.shortestITL, step > 0 else { return }
        self.steps.add(whole, context: self.context(in: whole))
        let prompts = self.prompts.mean(tokens: self.lengthIn)
        let context =
            if let kvTokens = self.kvTokens, kvTokens > 0, self.countsTokens {
                max(Self.wholeMemory - step, 0.3 * Self.wholeMemory) / kvTokens
            } else {
                Self.usualContext * step
            }
        self.steps.fit(
            expected: StepModel(
                weights: max(step - context * self.shortestContext, 0.5 * step),
                token: prompts.map { $0.time / $0.tokens } ?? step / Self.tokensPerReading,
                context: context
            ),
            prompts: prompts
        )
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
    /// Without times between tokens, running requests take turns: `ITL = n/G`. Without token counters a whole request
    /// counts as one token: by Little's law its time is `n/X`, of the averages, since requests are too few in
    /// one window; prompts then are part of that time.
    private func normalised(_ raw: LoadWindow) -> LoadWindow {
        var window = raw
        if let generated = raw.generated {
            if raw.timedTokens == nil, generated > 0 {
                window.tokenTime = raw.running
                window.timedTokens = generated
            }
        } else {
            window.generated = raw.finished
            window.uncachedPrompt = nil
            window.tokenTime = self.running.value
            window.timedTokens = self.finished.value
        }
        return window
    }
}
