package import FleetModel

/// What one peer may send.
///
/// What goes beyond is dropped before anybody looks into it, and the peer is not read for a while, so that a flood waits
/// at its source and costs next to nothing here.
///
/// A message costs one, and one more for each ``bytesPerMessage`` of it.
package struct FloodGate: Hashable, Sendable {
    package enum Verdict: Hashable, Sendable {
        case take
        /// Drop it, and read nothing more of this peer for ``FloodGate/pause``.
        case dropAndPause
    }

    /// Messages a second of one agent, and as many at once twice over: its own frames at their most often, and what it
    /// relays within its budget, leave half of it free.
    package static let agentRate = 256.0
    /// The same of another hub, which sends ten flushes a second.
    package static let hubRate = 512.0
    package static let agentBytes = 4_096
    package static let hubBytes = 65_536
    /// In seconds; long enough that a flood is read in batches, short enough that an honest peer that had much to say
    /// at once is heard again before it is missed.
    package static let pause: Seconds = 0.25

    private let bytesPerMessage: Int
    private var bucket: TokenBucket

    package init(for peer: Peer) {
        let rate: Double
        switch peer {
        case .agent: (rate, self.bytesPerMessage) = (Self.agentRate, Self.agentBytes)
        case .hub: (rate, self.bytesPerMessage) = (Self.hubRate, Self.hubBytes)
        }
        self.bucket = TokenBucket(rate: rate, burst: 2 * rate)
    }

    /// Judges one message.
    package mutating func judge(bytes: Int, now: Seconds) -> Verdict {
        let cost = Double(1 + max(0, bytes) / self.bytesPerMessage)
        return self.bucket.take(cost, now: now) ? .take : .dropAndPause
    }
}
