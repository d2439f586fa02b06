import FleetModel

/// What an average step of an engine works on.
struct StepWork: Hashable, Sendable {
    /// Requests in the running batch: each gets a token.
    var running: Double
    /// Prompts that are computed in a step, and their tokens.
    var prompts: Double
    var promptTokens: Double
    /// Tokens of context that the batch holds.
    var context: Double

    /// The two kinds of steps, with and without a prompt, by how often they come and how many tokens they compute.
    ///
    /// Prompts come as they like, so that a step has one with the probability `1 − e^−m`.
    fileprivate var kinds: (plain: Kind, prompted: Kind) {
        let without = Math.exp(-self.prompts)
        return (
            Kind(share: without, tokens: self.running),
            Kind(
                share: 1 - without,
                tokens: self.running + (without < 1 ? self.promptTokens / (1 - without) : 0)
            )
        )
    }

    fileprivate struct Kind {
        var share: Double
        var tokens: Double
    }
}

/// How long one step of an engine takes: `max(w, w/4 + c·t) + κ·K` seconds for `t` tokens and `K` tokens of context.
///
/// A step reads all weights (`w`), or it computes its tokens (`c` each), whichever takes longer; and it reads the keys
/// and values of the context (`κ` a token). That is the roofline of S. Williams, A. Waterman and D. Patterson (2009)
/// for a transformer. Steps bound by arithmetic still launch their kernels and sample, which is a quarter of `w`.
///
/// The maximum is what a straight line through an idle engine's steps does not see: there a prompt's first few hundred
/// tokens are hidden behind the weights, and in a full engine none of them is.
struct StepModel: Hashable, Sendable {
    /// What stays of `w` in a step bound by arithmetic.
    static let unhidden = 0.25

    /// `w`, `c` and `κ`.
    var coefficients: SIMD3<Double>

    init(_ coefficients: SIMD3<Double>) { self.coefficients = coefficients }

    init(weights: Seconds, token: Seconds, context: Seconds) {
        self.coefficients = SIMD3(weights, token, context)
    }

    /// How often each coefficient counts in a step: the step's time is the product of both.
    func factors(tokens: Double, context: Double) -> SIMD3<Double> {
        let isBoundByReading = self.coefficients.y * tokens < (1 - Self.unhidden) * self.coefficients.x
        return isBoundByReading ? SIMD3(1, 0, context) : SIMD3(Self.unhidden, tokens, context)
    }

    /// As ``factors(tokens:context:)``, of the average step.
    func factors(_ work: StepWork) -> SIMD3<Double> {
        let (plain, prompted) = work.kinds
        return plain.share * self.factors(tokens: plain.tokens, context: work.context)
            + prompted.share * self.factors(tokens: prompted.tokens, context: work.context)
    }

    func time(_ factors: SIMD3<Double>) -> Seconds { (self.coefficients * factors).sum() }

    /// The mean length of the steps that a request comes upon: long ones are hit more often than short ones.
    func stepUponArrival(_ work: StepWork) -> Seconds {
        let (plain, prompted) = work.kinds
        let short = self.time(self.factors(tokens: plain.tokens, context: work.context))
        let long = self.time(self.factors(tokens: prompted.tokens, context: work.context))
        let once = plain.share * short + prompted.share * long
        return once > 0 ? (plain.share * short * short + prompted.share * long * long) / once : 0
    }

    /// Requests per second that leave when `n` run, each of `lengthIn` uncached prompt and `lengthOut` output tokens,
    /// which holds `context` tokens on the average of its time.
    func throughput(running n: Double, lengthIn: Double, lengthOut: Double, context: Double) -> Double {
        let prompts = n / lengthOut
        let work = StepWork(
            running: n,
            prompts: prompts,
            promptTokens: prompts * lengthIn,
            context: n * context
        )
        return prompts / self.time(self.factors(work))
    }
}

/// Windows with about the same number of requests running, added up.
///
/// Sums, and not means of each window's ratios: a prompt's time and its tokens may fall into two windows.
struct LoadBin: Hashable, Sendable {
    /// What is older than so many seconds of this load is forgotten.
    private static let memory: Seconds = 20

    private(set) var seconds: Seconds = 0
    private(set) var prompts = 0.0
    private var running = 0.0
    private var context = 0.0
    private var promptTokens = 0.0
    private var tokenTime: Seconds = 0
    private var timedTokens = 0.0

    /// The place of a load among the bins: two an octave.
    static func place(running: Double) -> Int { Int((2 * Math.log2(running)).rounded()) }

    /// Adds a window, in which the batch held `context` tokens.
    mutating func add(_ window: LoadWindow, context: Double) {
        let length = window.length
        let kept = min(1, Self.memory / (self.seconds + length))
        self.seconds = (self.seconds + length) * kept
        self.running = (self.running + window.running * length) * kept
        self.prompts = (self.prompts + (window.begun ?? window.finished) * length) * kept
        self.promptTokens = (self.promptTokens + (window.uncachedPrompt ?? 0) * length) * kept
        self.context = (self.context + context * length) * kept
        self.tokenTime = (self.tokenTime + (window.tokenTime ?? 0) * length) * kept
        self.timedTokens = (self.timedTokens + (window.timedTokens ?? 0) * length) * kept
    }

    /// The mean step and its work; `nil` before a token was timed.
    ///
    /// Every running request gets one token a step, so the time between tokens is that of a step.
    var step: (time: Seconds, work: StepWork)? {
        guard self.timedTokens > 0, self.tokenTime > 0 else { return nil }
        let time = self.tokenTime / self.timedTokens
        let steps = self.seconds / time
        return (
            time,
            StepWork(
                running: self.running / self.seconds,
                prompts: self.prompts / steps,
                promptTokens: self.promptTokens / steps,
                context: self.context / self.seconds
            )
        )
    }
}
