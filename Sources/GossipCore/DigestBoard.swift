package import FleetModel

/// A frame and how old it is.
package struct DigestView: Hashable, Sendable {
    package var frame: DigestFrame
    /// Since the agent made the frame, as far as the receiver can tell, in seconds.
    package var age: Seconds
}

/// Why a frame was dropped; the words are a metric label, so the set is closed.
package enum FrameRefusal: String, Hashable, Sendable, CaseIterable, Error {
    /// Not newer than the frame held for its agent: a copy, a late one or a replay.
    case stale
    /// The board is full of other clusters, or the cluster of other agents that speak.
    case full
}

/// The newest frame of each agent of each cluster, and which of a cluster's agents speaks for it.
///
/// A cluster may have several agents, which read the same endpoints and send frames of the same shape under one cluster
/// identity. Each agent has a register of its own, joined by (incarnation, sequence). Joining is commutative,
/// associative and idempotent, so frames may come twice, late and by any path. No sender's clock is ever compared: age
/// is the receiver's own time since arrival plus the age that the frame carried.
///
/// One agent speaks for its cluster at any moment, so nothing counts twice. Who that is follows from the registers and
/// the time alone, so every board that holds the same frames agrees:
///
/// 1. Of the agents that are not late, the one with the most ready endpoints: an agent that is cut off from engines
///    which its twin reads shall not take them away. An endpoint is lost when all agents that speak have lost it.
/// 2. Of several, the one with the lowest incarnation: it has learned for longest, and an agent that comes back does not
///    take over.
/// 3. When all are late, the one whose frame is youngest.
///
/// An agent is late once its frame is older than its interval and a quarter. When the one that speaks dies, its twin's
/// frame, which is at most an interval old, stands in its place from then on: the loss costs one digest period.
///
/// Invariant: the (incarnation, sequence) held for an agent never decreases.
package struct DigestBoard: Sendable {
    private struct Register: Sendable {
        var frame: DigestFrame
        /// When the frame was made, on the receiver's clock.
        var madeAt: Seconds

        func isLate(now: Seconds) -> Bool { now - self.madeAt > DigestBoard.lateIntervals * self.frame.interval }

        var endpointsReady: Int { self.frame.digests.reduce(0) { $0 + $1.endpointsReady } }
    }

    /// More clusters than this are refused: every input is bounded.
    package static let clustersMax = 4_096

    /// More agents of one cluster than this are refused, unless one of those held is late and makes room.
    package static let agentsMax = 8

    /// A frame is late at this age, in intervals of its agent: beats come with some jitter.
    package static let lateIntervals = 1.25

    /// An agent is forgotten after this silence, in seconds.
    package static let forgottenAfter: Seconds = 600

    /// By cluster and agent; no cluster is without one.
    private var registers: [ClusterName: [AgentName: Register]] = [:]

    package init() {}

    /// Joins one frame.
    ///
    /// - Parameters:
    ///   - frame: The frame.
    ///   - carriedAge: How old the frame was on arrival, in seconds.
    ///   - now: The receiver's clock.
    /// - Returns: The frame that spoke for the cluster before, or `nil` for a new cluster.
    /// - Throws: ``FrameRefusal`` when the frame is dropped; the board is then unchanged.
    @discardableResult
    package mutating func receive(
        _ frame: DigestFrame,
        carriedAge: Seconds = 0,
        now: Seconds
    ) throws(FrameRefusal) -> DigestFrame? {
        var agents = self.registers[frame.id.cluster] ?? [:]
        if agents.isEmpty, self.registers.count >= Self.clustersMax { throw .full }
        if let held = agents[frame.agent] {
            guard frame.id.isNewer(than: held.frame.id) else { throw .stale }
        } else if agents.count >= Self.agentsMax {
            // Agents that come under a new name with each start leave their old names behind.
            guard let oldest = agents.min(by: { ($0.value.madeAt, $0.key) < ($1.value.madeAt, $1.key) }),
                oldest.value.isLate(now: now)
            else { throw .full }
            agents[oldest.key] = nil
        }
        let before = self[frame.id.cluster, now]?.frame
        agents[frame.agent] = Register(frame: frame, madeAt: now - max(0, carriedAge))
        self.registers[frame.id.cluster] = agents
        return before
    }

    /// The frame that speaks for a cluster.
    package subscript(cluster: ClusterName, now: Seconds) -> DigestView? {
        guard let agents = self.registers[cluster] else { return nil }
        let speaker = agents.values.filter { !$0.isLate(now: now) }.min {
            ($1.endpointsReady, $0.frame.id.incarnation) < ($0.endpointsReady, $1.frame.id.incarnation)
        }
        let youngest = agents.values.max {
            ($0.madeAt, $1.frame.id.incarnation) < ($1.madeAt, $0.frame.id.incarnation)
        }
        return (speaker ?? youngest).map { DigestView(frame: $0.frame, age: max(0, now - $0.madeAt)) }
    }

    /// The frame that speaks for each cluster, by cluster name.
    package func views(now: Seconds) -> [DigestView] {
        self.registers.keys.sorted().compactMap { self[$0, now] }
    }

    /// The newest frame of each agent of a cluster, by agent name: also of those that do not speak.
    package func agents(of cluster: ClusterName, now: Seconds) -> [DigestView] {
        (self.registers[cluster] ?? [:]).sorted { $0.key < $1.key }.map { _, register in
            DigestView(frame: register.frame, age: max(0, now - register.madeAt))
        }
    }

    /// Drops the agents that have been silent for ``forgottenAfter``.
    ///
    /// - Returns: The names of the clusters that have none left, sorted.
    package mutating func forgetSilent(now: Seconds) -> [ClusterName] {
        var silent: [ClusterName] = []
        for (cluster, agents) in self.registers {
            let heard = agents.filter { now - $0.value.madeAt <= Self.forgottenAfter }
            guard heard.count < agents.count else { continue }
            self.registers[cluster] = heard.isEmpty ? nil : heard
            if heard.isEmpty { silent.append(cluster) }
        }
        return silent.sorted()
    }
}
