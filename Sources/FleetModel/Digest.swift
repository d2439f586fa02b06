/// What a cluster may be used for.
package enum ClusterState: String, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// Takes new and existing sessions.
    case active
    /// Takes no new sessions; existing ones finish.
    case draining
    /// Takes nothing.
    case down

    package var description: String { self.rawValue }
}

/// Why a pool is down although its operator does not want it so; the words are shown to operators, so the set is
/// closed.
package enum PoolTrouble: String, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// No endpoint has given a reading since the agent began.
    case unread
    /// Endpoints have been read, and none of them has a fresh reading now.
    case blind

    package var description: String { self.rawValue }
}

/// An agent's summary of one pool in one cluster.
///
/// Unknown is `nil`, never zero: a solver must not take a server that says nothing for an idle one.
package struct PoolDigest: Hashable, Sendable {
    package var pool: PoolName
    package var state: ClusterState
    /// Why the pool is down, when it is for want of readings.
    package var trouble: PoolTrouble?
    /// Endpoints with a fresh reading.
    package var endpointsReady: Int
    /// Endpoints that are configured.
    package var endpointsKnown: Int
    /// Age of the oldest of the fresh readings when the digest was made, in seconds.
    package var readingAge: Seconds?
    /// Requests in the running batches of the ready endpoints.
    package var running: Int?
    /// Requests that the ready endpoints have accepted and not begun.
    package var waiting: Int?
    /// Mean KV-cache use over the ready endpoints, 0 to 1.
    package var kvMean: Double?
    /// The fullest endpoint's KV-cache use: what the mean hides.
    package var kvMax: Double?
    /// Requests that ended in an error, as a share of all that ended in about ten seconds, 0 to 1.
    package var errorShare: Double?
    /// Requests per second that the ready endpoints can finish at the current mix of lengths, if nothing fails.
    package var capacity: Double?
    /// Requests that would start at once: free seats over the ready endpoints.
    package var freeSeats: Int?
    /// Time to first token without a queue, in seconds.
    package var unloadedTTFT: Seconds?
    /// The queueing delay's scale `q_c` of `D = T + q·φ(ρ)`, in seconds.
    package var queueScale: Seconds?
    /// Requests finished per second.
    package var requestRate: Double?
    /// Uncached prompt tokens per second.
    package var promptTokenRate: Double?
    /// Generated tokens per second.
    package var generationTokenRate: Double?
    /// A hash of the names of the LoRA adapters at hand; 0 when they are not known.
    package var loraSet: UInt64

    package init(
        pool: PoolName,
        state: ClusterState,
        trouble: PoolTrouble? = nil,
        endpointsReady: Int,
        endpointsKnown: Int,
        readingAge: Seconds? = nil,
        running: Int? = nil,
        waiting: Int? = nil,
        kvMean: Double? = nil,
        kvMax: Double? = nil,
        errorShare: Double? = nil,
        capacity: Double? = nil,
        freeSeats: Int? = nil,
        unloadedTTFT: Seconds? = nil,
        queueScale: Seconds? = nil,
        requestRate: Double? = nil,
        promptTokenRate: Double? = nil,
        generationTokenRate: Double? = nil,
        loraSet: UInt64 = 0
    ) {
        self.pool = pool
        self.state = state
        self.trouble = trouble
        self.endpointsReady = endpointsReady
        self.endpointsKnown = endpointsKnown
        self.readingAge = readingAge
        self.running = running
        self.waiting = waiting
        self.kvMean = kvMean
        self.kvMax = kvMax
        self.errorShare = errorShare
        self.capacity = capacity
        self.freeSeats = freeSeats
        self.unloadedTTFT = unloadedTTFT
        self.queueScale = queueScale
        self.requestRate = requestRate
        self.promptTokenRate = promptTokenRate
        self.generationTokenRate = generationTokenRate
        self.loraSet = loraSet
    }
}

/// Names one frame for ever: the id by which an operator follows a digest through every log.
package struct FrameID: Hashable, Sendable, CustomStringConvertible {
    package var cluster: ClusterName
    /// Grows with every start of the cluster's agent.
    package var incarnation: UInt64
    /// Grows with every frame of one incarnation.
    package var sequence: UInt64

    package init(cluster: ClusterName, incarnation: UInt64, sequence: UInt64) {
        self.cluster = cluster
        self.incarnation = incarnation
        self.sequence = sequence
    }

    /// As in `us-east-a@12.345`.
    package var description: String { "\(self.cluster)@\(self.incarnation).\(self.sequence)" }

    /// Whether this frame replaces `other`, of the same cluster: (incarnation, sequence) is greater.
    package func isNewer(than other: FrameID) -> Bool {
        (self.incarnation, self.sequence) > (other.incarnation, other.sequence)
    }
}

/// An agent's message: the digests of all pools of its cluster.
package struct DigestFrame: Hashable, Sendable {
    package var id: FrameID
    package var region: RegionName
    package var agent: AgentName
    /// How long until the next frame, if nothing happens, in seconds.
    package var interval: Seconds
    package var digests: [PoolDigest]

    package init(id: FrameID, region: RegionName, agent: AgentName, interval: Seconds, digests: [PoolDigest]) {
        self.id = id
        self.region = region
        self.agent = agent
        self.interval = interval
        self.digests = digests
    }
}
