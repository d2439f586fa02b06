/// What one page of one engine said.
///
/// What it did not say is `nil`, never zero.
package struct EngineReading: Hashable, Sendable {
    package var engine: EngineKind
    /// Samples of running requests: the data-parallel ranks behind the page.
    ///
    /// A change means that counters summed over ranks cannot be compared.
    package var ranks: Int
    /// Signals that the engine's profile knows and the page did not give, or gave as no number.
    package var missing: [EngineSignal]
    /// Lines of wanted series that were not valid, or repeated a series.
    package var faultyLines: Int
    private var values: [Double?]

    package init(engine: EngineKind, ranks: Int = 1, missing: [EngineSignal] = [], faultyLines: Int = 0) {
        self.engine = engine
        self.ranks = ranks
        self.missing = missing
        self.faultyLines = faultyLines
        self.values = Array(repeating: nil, count: EngineSignal.allCases.count)
    }

    /// The value of a signal, in its own unit: requests, tokens, seconds, or a share from 0 to 1.
    package subscript(signal: EngineSignal) -> Double? {
        get { self.values[signal.rawValue] }
        set { self.values[signal.rawValue] = newValue }
    }

    /// Requests in the running batches, over all ranks.
    package var running: Int? { self.count(.running) }
    /// Requests not begun, over all ranks.
    package var waiting: Int? { self.count(.waiting) }
    /// KV-cache use of the fullest rank, 0 to 1.
    package var kvUse: Double? { self[.kvUse].map { min($0, 1) } }
    /// The most requests that run at once, as the engine itself says.
    package var seats: Int? { self.count(.seats) }
    /// Tokens in a KV-cache block.
    package var blockSize: Int? { self.count(.blockSize) }
    /// KV-cache blocks, over all ranks.
    package var blocks: Int? { self.count(.blocks) }

    /// The size of the KV cache in tokens, over all ranks.
    package var kvTokens: Double? {
        if let tokens = self[.kvTokens] { return tokens }
        guard let blocks = self[.blocks], let size = self[.blockSize] else { return nil }
        return blocks * size
    }

    private func count(_ signal: EngineSignal) -> Int? { self[signal].map { Int(min($0, 1e9)) } }
}
