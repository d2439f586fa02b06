package import FleetModel

/// How lively an agent is, as one hub sees it.
package enum Liveness: String, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// Frames come as announced.
    case fresh
    /// Late: its share of capacity does not grow.
    case aging
    /// So late that it is probably cut or dead: its share shrinks.
    case suspect
    /// Suspected for long enough, or by enough hubs.
    case unreachable
    /// Silent for ten minutes: forgotten but for its stamp.
    case gone

    package var description: String { self.rawValue }
}

/// Tells an agent's silence from its habit: φ-accrual over the times at which newer frames arrive by any path.
///
/// Source: Hayashibara et al., "The φ Accrual Failure Detector", SRDS 2004, with running mean and variance.
package struct SilenceDetector: Hashable, Sendable {
    /// Weight of one interval in the running mean.
    private static let weight = 1.0 / 50
    /// Longer intervals count as this, so that an outage does not make the detector patient, in seconds.
    private static let longestInterval: Seconds = 5

    private var mean: Seconds
    private var variance: Double

    /// - Parameter interval: What the agent announces, in seconds.
    package init(interval: Seconds) {
        self.mean = interval
        self.variance = 0.25
    }

    /// A newer frame came `interval` seconds after the last.
    package mutating func observe(interval: Seconds) {
        let difference = min(interval, Self.longestInterval) - self.mean
        self.mean += difference * Self.weight
        self.variance += (difference * difference - self.variance) * Self.weight
    }

    private func sigma(_ settings: GossipSettings) -> Seconds { max(self.variance.squareRoot(), settings.sigmaFloor) }

    /// The mean is at least what the agent announces: frames at once on a change make no habit.
    private func expected(_ announced: Seconds) -> Seconds { max(self.mean, announced) }

    /// φ of a silence: −log₁₀ of the probability that the next frame takes longer still.
    package func phi(silence: Seconds, announced: Seconds, settings: GossipSettings) -> Double {
        let tail = normalTail((silence - self.expected(announced)) / self.sigma(settings))
        return tail <= 1e-300 ? 300 : max(0, -logarithm(tail) / logarithm(10))
    }

    /// The silence at which φ is 5, and 8, in seconds.
    ///
    /// Solved once for these two: φ(z) = 5 at z = 4.264 891 and 8 at z = 5.612 001 on a standard normal.
    package func thresholds(announced: Seconds, settings: GossipSettings) -> (aging: Seconds, suspect: Seconds) {
        let (mean, sigma) = (self.expected(announced), self.sigma(settings))
        return (mean + Self.z(settings.agingPhi) * sigma, mean + Self.z(settings.suspectPhi) * sigma)
    }

    /// Where the normal tail is 10^(−φ), by bisection; the two usual ones are known.
    private static func z(_ phi: Double) -> Double {
        if phi == 5 { return 4.264_890_793_922_602 }
        if phi == 8 { return 5.612_001_244_174_965 }
        let tail = power(10, -phi)
        var (low, high) = (-10.0, 37.0)
        for _ in 0..<80 {
            let middle = (low + high) / 2
            if normalTail(middle) > tail { low = middle } else { high = middle }
        }
        return low
    }
}

/// How far a hub may trust its own ears, 0 (well) to 8: every time-out is multiplied by one more than this.
///
/// Source: "Lifeguard", DSN-W 2018, local health.
package struct LocalHealth: Hashable, Sendable {
    package static let worst = 8
    /// A clean second takes one point away.
    private static let period: Seconds = 1

    package private(set) var score = 0
    private var cleanSince: Seconds = 0

    package init() {}

    /// The hub was late itself, or a peer fell silent.
    mutating func worsen(now: Seconds) {
        self.score = min(Self.worst, self.score + 1)
        self.cleanSince = now
    }

    mutating func pass(now: Seconds) {
        guard self.score > 0, now - self.cleanSince >= Self.period else { return }
        self.score -= 1
        self.cleanSince = now
    }

    var multiplier: Double { Double(self.score + 1) }
}

/// Sees too much capacity turn suspect at once: more likely the hub is cut off than the world gone.
///
/// Shares freeze until frames refute the suspicions, a majority of the hub replicas confirms them, or
/// ``GossipSettings/freezeMax`` is over.
package struct MassGuard: Hashable, Sendable {
    private struct Doubt: Hashable, Sendable {
        var agent: Int
        var at: Seconds
    }

    private var doubts: [Doubt] = []
    /// When the freeze began; `nil` when nothing is frozen.
    package private(set) var frozenSince: Seconds?

    package init() {}

    /// An agent, by its slot, has turned suspect.
    mutating func doubt(_ agent: Int, now: Seconds) { self.doubts.append(Doubt(agent: agent, at: now)) }

    /// A slot is another agent's from now on.
    mutating func forget(_ agent: Int) { self.doubts.removeAll { $0.agent == agent } }

    /// Weighs the suspicions.
    ///
    /// - Parameters:
    ///   - total: Weight of all agents that count.
    ///   - weight: Weight of an agent; 0 when it was heard again.
    ///   - isConfirmed: Whether a majority of hubs suspects it.
    ///   - now: The hub's clock.
    ///   - settings: Share, window and longest freeze.
    mutating func weigh(
        total: Double,
        weight: (Int) -> Double,
        isConfirmed: (Int) -> Bool,
        now: Seconds,
        settings: GossipSettings
    ) {
        if self.frozenSince == nil { self.doubts.removeAll { now - $0.at > settings.massWindow } }
        guard !self.doubts.isEmpty else {
            self.frozenSince = nil
            return
        }
        var open = 0.0
        for doubt in self.doubts where !isConfirmed(doubt.agent) { open += weight(doubt.agent) }
        if open <= settings.massShare * total {
            self.frozenSince = nil
        } else if let since = self.frozenSince {
            guard now - since > settings.freezeMax else { return }
            self.frozenSince = nil
            self.doubts = []
        } else {
            self.frozenSince = now
        }
    }
}
