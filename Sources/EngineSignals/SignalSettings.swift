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
    /// Whether what an endpoint finishes while requests wait outweighs the model of its steps.
    package var learnsFromSaturation: Bool

    package init(
        maxRunning: Int? = nil,
        staleAfterFailures: Int = 3,
        staleAfter: Seconds = 2,
        learnsFromSaturation: Bool = true
    ) {
        self.maxRunning = maxRunning
        self.staleAfterFailures = staleAfterFailures
        self.staleAfter = staleAfter
        self.learnsFromSaturation = learnsFromSaturation
    }
}
