package import FleetModel

/// What one page of one engine said.
///
/// What it did not say is `nil`, never zero.
package struct EngineReading: Hashable, Sendable {
    package var engine: EngineKind
    /// The data-parallel ranks behind the page, in its order: at least one.
    ///
    /// A change means that counters summed over ranks cannot be compared.
    package var ranks: [RankReading]
    /// Signals that the engine's profile knows and the page did not give, or gave as no number.
    package var missing: [EngineSignal]
    /// Lines of wanted series that were not valid, or repeated a series.
    package var faultyLines: Int
    /// `nil` when the engine says nothing of adapters.
    package var lora: LoRAAdapters?
    private var values: [Value?]

    private struct Value: Hashable {
        var number: Double
        /// The place of the series among those of the engine's profile.
        var origin: Int?
    }

    package init(
        engine: EngineKind,
        ranks: [RankReading] = [RankReading(name: "")],
        missing: [EngineSignal] = [],
        faultyLines: Int = 0
    ) {
        self.engine = engine
        self.ranks = ranks
        self.missing = missing
        self.faultyLines = faultyLines
        self.values = Array(repeating: nil, count: EngineSignal.allCases.count)
    }

    /// The value of a signal, in its own unit: requests, tokens, seconds, or a share from 0 to 1.
    package subscript(signal: EngineSignal) -> Double? {
        get { self.values[signal.rawValue]?.number }
        set { self.values[signal.rawValue] = newValue.map { Value(number: $0) } }
    }

    mutating func set(_ signal: EngineSignal, to number: Double, from origin: Int) {
        self.values[signal.rawValue] = Value(number: number, origin: origin)
    }

    /// Which of the profile's sources gave a signal.
    func origin(of signal: EngineSignal) -> Int? { self.values[signal.rawValue]?.origin }

    /// Requests in the running batches, over all ranks.
    package var running: Int? { self[.running].map(Int.init(bounded:)) }
    /// Requests not begun, over all ranks.
    package var waiting: Int? { self[.waiting].map(Int.init(bounded:)) }
    /// KV-cache use of the fullest rank, 0 to 1.
    package var kvUse: Double? { self[.kvUse].map { min($0, 1) } }
    /// The most requests that run at once, as the engine itself says.
    package var seats: Int? { self[.seats].map(Int.init(bounded:)) }
    /// Tokens in a KV-cache block.
    package var blockSize: Int? { self[.blockSize].map(Int.init(bounded:)) }
    /// KV-cache blocks, over all ranks.
    package var blocks: Int? { self[.blocks].map(Int.init(bounded:)) }
    /// The LoRA adapters in use, sorted; `nil` when the engine says nothing of adapters.
    package var loraAdapters: [String]? { self.lora?.names }
    /// ``LoRAAdapters/setHash(of:)`` of the adapters in use.
    package var loraSetHash: UInt64? { self.loraAdapters.map(LoRAAdapters.setHash(of:)) }

    /// What is wrong with it as a reading of an endpoint's load; its other values are good all the same.
    package var fault: ScrapeFault? {
        let saysRunning = self[.running] != nil || self[.busyTime] != nil
        return saysRunning && self[.waiting] != nil ? nil : .noLoad
    }

    /// The size of the KV cache in tokens, over all ranks.
    package var kvTokens: Double? {
        if let tokens = self[.kvTokens] { return tokens }
        guard let blocks = self[.blocks], let size = self[.blockSize] else { return nil }
        return blocks * size
    }
}

/// What one data-parallel rank said.
package struct RankReading: Hashable, Sendable {
    /// The content of the label that tells ranks apart; empty when there is none.
    package var name: String
    package var running: Int?
    package var waiting: Int?
    /// 0 to 1.
    package var kvUse: Double?

    package init(name: String, running: Int? = nil, waiting: Int? = nil, kvUse: Double? = nil) {
        self.name = name
        self.running = running
        self.waiting = waiting
        self.kvUse = kvUse
    }
}

extension Int {
    /// A count from a page; what no engine can mean is cut.
    init(bounded count: Double) { self = Int(Swift.min(count, 1e9)) }
}
