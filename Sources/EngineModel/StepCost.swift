package import FleetModel

/// What one step of the engine works on.
struct StepLoad: Hashable, Sendable {
    /// Prompt tokens computed in this step.
    var prefillTokens = 0
    /// Sequences that decode one token.
    var decodes = 0
    /// Context tokens that the decoding sequences attend to.
    var decodeContext = 0
    /// Sequences that take part, prefilling or decoding.
    var sequences = 0
    /// Σ p·(s + p/2) over prefill chunks of `p` tokens after `s` tokens of context.
    var attentionPairs = 0.0

    mutating func addPrefill(tokens: Int, after context: Int) {
        self.sequences += 1
        self.prefillTokens += tokens
        self.attentionPairs += Double(tokens) * (Double(context) + Double(tokens) / 2)
    }

    mutating func addDecode(context: Int) {
        self.sequences += 1
        self.decodes += 1
        self.decodeContext += context
    }
}

/// How long one step takes on some model and hardware, all in seconds.
///
/// `T = max(T_w, t0 + cP·(P + D)) + o + cA·Σ p(s + p/2) + cB·B + cC·K`: a step is bound by reading the weights
/// or by arithmetic, and pays for attention, for each sequence and for each context token read.
package struct StepCost: Hashable, Sendable {
    /// `T_w`: reading all weights once.
    package var weights: Seconds
    /// `o`: launching a step.
    package var overhead: Seconds
    /// `t0`: the fixed part of a step bound by arithmetic.
    package var base: Seconds
    /// `cP`: one token through the model.
    package var token: Seconds
    /// `cA`: one pair of prefill attention.
    package var attentionPair: Seconds
    /// `cB`: one sequence of the batch.
    package var sequence: Seconds
    /// `cC`: one context token of a decoding sequence.
    package var contextToken: Seconds

    package init(
        weights: Seconds,
        overhead: Seconds,
        base: Seconds,
        token: Seconds,
        attentionPair: Seconds,
        sequence: Seconds,
        contextToken: Seconds
    ) {
        self.weights = weights
        self.overhead = overhead
        self.base = base
        self.token = token
        self.attentionPair = attentionPair
        self.sequence = sequence
        self.contextToken = contextToken
    }

    func time(of load: StepLoad) -> Seconds {
        let arithmetic = self.base + self.token * Double(load.prefillTokens + load.decodes)
        return max(self.weights, arithmetic) + self.overhead
            + self.attentionPair * load.attentionPairs
            + self.sequence * Double(load.sequences)
            + self.contextToken * Double(load.decodeContext)
    }

    /// The same work on hardware that is `speed` times as fast.
    func faster(by speed: Double) -> StepCost {
        StepCost(
            weights: self.weights / speed,
            overhead: self.overhead / speed,
            base: self.base / speed,
            token: self.token / speed,
            attentionPair: self.attentionPair / speed,
            sequence: self.sequence / speed,
            contextToken: self.contextToken / speed
        )
    }
}
