package import FleetModel

/// What one peer may send: more is dropped before anybody reads it, and so much more that even dropping it would cost
/// pauses the reading, so that the flood waits at its source.
///
/// A message costs one, and one more for each ``bytesPerMessage`` of it.
package struct FloodGate: Hashable, Sendable {
    package enum Verdict: Hashable, Sendable {
        case take
        case drop
        /// Drop it, and read nothing more of this peer for so long, in seconds.
        case dropAndPause(Seconds)
    }

    /// Messages a second of one agent that are taken, and as many at once twice over: its own frames at their most
    /// often, and what it relays within its budget, leave half of it free.
    package static let agentRate = 256.0
    /// The same of another hub, which sends ten flushes a second.
    package static let hubRate = 512.0
    package static let agentBytes = 4_096
    package static let hubBytes = 65_536
    /// Times the rate that is read at all.
    package static let readFactor = 16.0

    private let bytesPerMessage: Int
    private var taken: TokenBucket
    private var read: TokenBucket

    package init(for peer: Peer) {
        let rate: Double
        switch peer {
        case .agent: (rate, self.bytesPerMessage) = (Self.agentRate, Self.agentBytes)
        case .hub: (rate, self.bytesPerMessage) = (Self.hubRate, Self.hubBytes)
        }
        self.taken = TokenBucket(rate: rate, burst: 2 * rate)
        self.read = TokenBucket(rate: Self.readFactor * rate, burst: Self.readFactor * rate)
    }

    /// Judges one message.
    package mutating func judge(bytes: Int, now: Seconds) -> Verdict {
        let cost = Double(1 + max(0, bytes) / self.bytesPerMessage)
        let resumesAt = self.read.reserve(cost, now: now)
        if self.taken.take(cost, now: now) { return .take }
        return resumesAt > now ? .dropAndPause(min(1, resumesAt - now)) : .drop
    }
}
