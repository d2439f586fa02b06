import FleetModel

/// Learns how long an engine's steps take.
///
/// Three kinds of evidence show one coefficient of the ``StepModel`` best each:
///
/// - steps without a prompt, which read weights and context and hardly compute;
/// - all steps, by the number of requests running;
/// - the time from a request's first step to its first token, which computes its prompt.
struct StepFit: Sendable {
    /// How firmly `w`, `c` and `κ` are held to what is expected of them, where a second of evidence has the weight 1.
    private static let firmness = SIMD3(0.5, 0.3, 0.25)
    /// More requests than these say no more of a prompt's time.
    private static let mostRequests = 20.0
    /// How many times a fit goes between the coefficients and the regimes of steps, which depend on each other.
    ///
    /// Going half of the way keeps them from swinging. Later fits begin where the last one ended.
    private static let (firstTurns, laterTurns) = (10, 3)

    /// By ``LoadBin/place(running:)``.
    private var steps: [Int: LoadBin] = [:]
    private var plainSteps: [Int: LoadBin] = [:]
    private(set) var model: StepModel?

    /// Adds a window with anything in it.
    mutating func add(_ window: LoadWindow, context: Double) {
        self.steps[LoadBin.place(running: window.running), default: LoadBin()].add(window, context: context)
    }

    /// Adds a window in which no prompt was worked on; any other is left out.
    mutating func addPlain(_ window: LoadWindow, context: Double) {
        // Whoever runs and gets no tokens has its prompt computed.
        guard window.begun == 0, let decoding = window.tokenTime, window.timedTokens ?? 0 > 0,
            abs(window.running - decoding) < max(0.4, 0.05 * window.running)
        else { return }
        self.plainSteps[LoadBin.place(running: window.running), default: LoadBin()].add(window, context: context)
    }

    /// Fits the coefficients to all windows so far: none of them negative, in relative errors, so that short steps
    /// count as much as long ones.
    ///
    /// - Parameters:
    ///   - expected: what physics says of an engine of which nothing else is known.
    ///   - prompts: the time of prompts; `nil` when the engine does not say.
    mutating func fit(expected: StepModel, prompts: PromptTime.Mean?) {
        var model = self.model ?? expected
        for _ in 0..<(self.model == nil ? Self.firstTurns : Self.laterTurns) {
            var problem = LeastSquares()
            func add(_ factors: SIMD3<Double>, _ time: Seconds, weight: Double) {
                let scale = weight.squareRoot() / model.time(factors)
                guard scale.isFinite else { return }
                problem.add(scale * factors * expected.coefficients, scale * time)
            }
            var met = (prompts: 0.0, others: 0.0, running: 0.0, context: 0.0, step: 0.0)
            for bin in self.steps.values {
                guard let (time, work) = bin.step else { continue }
                add(model.factors(work), time, weight: bin.seconds)
                // What an arriving request meets: arrivals see averages over time.
                let step = model.stepUponArrival(work)
                met.prompts += bin.prompts
                met.others += bin.prompts * work.prompts / time * step
                met.running += bin.prompts * work.running
                met.context += bin.prompts * work.context
                met.step += bin.prompts * step
            }
            for bin in self.plainSteps.values {
                guard let (time, work) = bin.step else { continue }
                add(model.factors(work), time, weight: bin.seconds)
            }
            if let prompts, met.prompts > 0 {
                // A prompt shares its step with those that came during the step before, and with what decodes.
                let tokens = prompts.tokens * (1 + met.others / met.prompts) + met.running / met.prompts
                let factors = SIMD3(StepModel.unhidden, tokens, met.context / met.prompts)
                // Times to first token begin before the first step: on average half a step before.
                let time = prompts.time - (prompts.includesWaiting ? met.step / met.prompts / 2 : 0)
                if time > 0 { add(factors, time, weight: min(prompts.requests, Self.mostRequests)) }
            }
            for index in 0..<3 {
                var factors = SIMD3<Double>.zero
                factors[index] = Self.firmness[index]
                problem.add(factors, Self.firmness[index])
            }
            let found = problem.nonNegative * expected.coefficients
            model.coefficients = (model.coefficients + found) / 2
        }
        self.model = model
    }
}

/// How long prompts take, on average over about the last forty requests.
struct PromptTime: Hashable, Sendable {
    struct Mean: Hashable, Sendable {
        var requests: Double
        /// Uncached tokens of a prompt.
        var tokens: Double
        var time: Seconds
        /// The time began when the request came, and not with its first step.
        var includesWaiting: Bool
    }

    private static let memory = 40.0

    private var requests = 0.0
    private var time: Seconds = 0
    private var includesWaiting = false

    mutating func add(_ window: LoadWindow) {
        if let prefill = window.prefill, let prefilled = window.prefilled {
            self.add(prefilled * window.length, prefill, includesWaiting: false)
        } else if window.prefilled == nil, window.waiting < 0.2, let ttft = window.ttft, let begun = window.begun {
            self.add(begun * window.length, ttft, includesWaiting: true)
        }
    }

    private mutating func add(_ requests: Double, _ time: Seconds, includesWaiting: Bool) {
        self.includesWaiting = includesWaiting
        self.requests += requests
        self.time += requests * time
        let kept = min(1, Self.memory / max(self.requests, 1))
        self.requests *= kept
        self.time *= kept
    }

    /// For prompts of so many uncached tokens.
    func mean(tokens: Double) -> Mean? {
        guard self.requests > 0, tokens > 0 else { return nil }
        return Mean(
            requests: self.requests,
            tokens: tokens,
            time: self.time / self.requests,
            includesWaiting: self.includesWaiting
        )
    }
}
