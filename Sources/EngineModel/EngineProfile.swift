package import FleetModel

/// A profile name that nobody knows; it says which ones there are.
package struct UnknownProfile: Error, Hashable, CustomStringConvertible {
    package let given: String

    package var description: String {
        "profile \"\(self.given)\" is not known: use one of \(EngineProfile.all.map(\.name).joined(separator: ", "))"
    }
}

/// One model on one kind of GPU: how fast it steps and how much it can hold.
package struct EngineProfile: Hashable, Sendable {
    package var name: String
    package var cost: StepCost
    /// KV-cache size in tokens.
    package var kvTokens: Int
    /// Tokens that one step may compute.
    package var tokenBudget = 8_192
    /// Sequences that may run at once.
    package var maxSequences = 256
    /// Tokens of one KV block.
    package var blockTokens = 16
    /// Tokens that one prefix hash of a request stands for: a multiple of `blockTokens`.
    package var prefixUnitTokens = 16
    /// From a request's arrival until the scheduler sees it, in seconds.
    package var apiOverhead: Seconds = 0.006

    package init(name: String, cost: StepCost, kvTokens: Int) {
        self.name = name
        self.cost = cost
        self.kvTokens = kvTokens
    }

    /// Finds a profile by its name.
    ///
    /// - Throws: ``UnknownProfile``, which lists the names.
    package init(named name: String) throws(UnknownProfile) {
        guard let profile = Self.all.first(where: { $0.name == name }) else { throw UnknownProfile(given: name) }
        self = profile
    }

    /// The same engine on hardware that is `speed` times as fast: every time is divided by it.
    package func faster(by speed: Double) -> EngineProfile {
        var profile = self
        profile.cost = self.cost.faster(by: speed)
        profile.apiOverhead = self.apiOverhead / speed
        return profile
    }

    /// KV blocks that hold `kvTokens`.
    package var kvBlocks: Int { self.kvTokens / self.blockTokens }

    /// The profiles by which engines are simulated, fitted to published measurements of vLLM.
    package static let all: [EngineProfile] = [
        Self("8b-h100", milliseconds: (6.0, 0.8, 1.5), (22.6, 1.3, 4.5, 76), kvTokens: 421_000),
        Self("8b-a100", milliseconds: (9.8, 0.7, 2), (66.5, 2.9, 4.5, 125), kvTokens: 421_000),
        Self("8b-l40s", milliseconds: (21, 2.2, 3), (100, 4.5, 4.7, 295), kvTokens: 185_000),
        Self("32b-h100-tp2", milliseconds: (12.8, 1.2, 2), (41.8, 2.4, 4.8, 76), kvTokens: 320_000),
        Self("70b-h100-tp4", milliseconds: (14.5, 2.1, 4), (68, 1.6, 5.4, 48), kvTokens: 487_000),
        Self("70b-a100-tp4", milliseconds: (25, 0.6, 10), (184, 3.6, 6, 78), kvTokens: 487_000),
    ]

    /// `fixed` is (T_w, o, t0) in ms; `rates` are cP in µs, cA in ns (1e-6 ms), cB in µs, cC in ns.
    private init(
        _ name: String,
        milliseconds fixed: (weights: Double, overhead: Double, base: Double),
        _ rates: (token: Double, attentionPair: Double, sequence: Double, contextToken: Double),
        kvTokens: Int
    ) {
        self.init(
            name: name,
            cost: StepCost(
                weights: fixed.weights * 1e-3,
                overhead: fixed.overhead * 1e-3,
                base: fixed.base * 1e-3,
                token: rates.token * 1e-6,
                attentionPair: rates.attentionPair * 1e-9,
                sequence: rates.sequence * 1e-6,
                contextToken: rates.contextToken * 1e-9
            ),
            kvTokens: kvTokens
        )
    }
}
