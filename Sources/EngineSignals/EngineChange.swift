/// Why two readings of one endpoint are not of one run of one engine.
enum EngineChange: Hashable, Sendable {
    /// The same engine began anew, or with other ranks: its counters do not compare.
    case restarted
    /// Another engine, version or size answers now: what was learned of the old one does not hold.
    case upgraded
}

extension EngineReading {
    private static let counters: [EngineSignal] = [
        .promptTokens, .cachedPromptTokens, .generationTokens, .finished, .failed, .ttftSum, .ttftCount, .itlSum,
        .itlCount, .prefillSum, .prefillCount, .busyTime,
    ]
    /// What an engine keeps as long as nobody changes it.
    private static let sizes: [EngineSignal] = [.seats, .blockSize, .blocks, .kvTokens]
    /// How far a size may differ after a restart, as a share: the memory left for the KV cache is measured each time.
    private static let sameSize = 0.1

    /// What happened to the engine between an earlier reading and this one; `nil` when it ran on.
    func change(since earlier: EngineReading) -> EngineChange? {
        guard self.engine == earlier.engine, self.hasNames(of: earlier) else { return .upgraded }
        let isSameRun =
            self.ranks.map(\.name) == earlier.ranks.map(\.name)
            && Self.agree(self[.startTime], earlier[.startTime]) { $0 == $1 }
            && Self.counters.allSatisfy { signal in
                Self.agree(self[signal], earlier[signal]) { $0 >= $1 }
            }
        if isSameRun { return nil }
        let isSameSize = Self.sizes.allSatisfy { signal in
            Self.agree(self[signal], earlier[signal]) { abs($0 - $1) <= Self.sameSize * $1 }
        }
        return isSameSize ? .restarted : .upgraded
    }

    /// Whether every signal that both readings have comes from the same series: versions differ in their names.
    private func hasNames(of earlier: EngineReading) -> Bool {
        EngineSignal.allCases.allSatisfy { Self.agree(self.origin(of: $0), earlier.origin(of: $0)) { $0 == $1 } }
    }

    /// Whether two values agree; nothing is said of one that is missing.
    private static func agree<Value>(_ new: Value?, _ old: Value?, _ agree: (Value, Value) -> Bool) -> Bool {
        guard let new, let old else { return true }
        return agree(new, old)
    }
}
