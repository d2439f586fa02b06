package import FleetModel

/// What an agent's settings say about the endpoints of one pool; the defaults suit most.
package struct SignalSettings: Hashable, Sendable {
    /// The most requests that one endpoint runs at once (`--max-num-seqs`, `--max-running-requests`,
    /// `--max_batch_size`); without it, a hidden limit shows only at the first saturation.
    package var maxRunning: Int?
    /// How many failed scrapes in a row make an endpoint stale.
    package var staleAfterFailures: Int
    /// The age at which a reading is stale, in seconds: ten periods of 5 Hz; at least four of the longest.
    package var staleAfter: Seconds
    /// KV-cache bytes a token takes, divided by the bytes of the weights: how much a token of context costs
    /// compared with a step's fixed cost.
    ///
    /// 8.7e-6 for Llama-8B, 4e-6 for Qwen-32B, 2.3e-6 for Llama-70B; only the prior of an idle engine uses it.
    package var kvTokenPerWeights: Double
    /// Whether what an endpoint finishes while requests wait outweighs the model of its steps.
    package var learnsFromSaturation: Bool

    package init(
        maxRunning: Int? = nil,
        staleAfterFailures: Int = 3,
        staleAfter: Seconds = 2,
        kvTokenPerWeights: Double = 5e-6,
        learnsFromSaturation: Bool = true
    ) {
        self.maxRunning = maxRunning
        self.staleAfterFailures = staleAfterFailures
        self.staleAfter = staleAfter
        self.kvTokenPerWeights = kvTokenPerWeights
        self.learnsFromSaturation = learnsFromSaturation
    }
}
