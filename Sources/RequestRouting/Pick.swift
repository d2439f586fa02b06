package import FleetModel

/// One request, as far as the choice needs to know it.
package struct PickRequest: Sendable {
    package var pool: PoolName
    package var band: Band
    /// Set when another gateway sent the request here: it must not leave the region again.
    package var isHop: Bool
    /// The cluster that the other gateway chose.
    package var cluster: ClusterName?
    /// Addresses that already failed this request.
    package var failed: [EndpointAddress]
    /// What a longer prompt is taken for, so that no sum of lengths overflows.
    package static let longestPrompt = 10_000_000

    /// About how long the prompt is, in tokens; 0 when nobody knows.
    package var promptTokens: Int
    /// What the client calls the session: its requests begin with the same text; `nil` when it names none.
    package var session: UInt64?
    /// The hash of the text that the conversation begins with; `nil` when the prompt was not read.
    package var prefix: UInt64?
    /// The adapter that the request wants; `nil` for the base model.
    package var adapter: UInt64?

    package init(
        pool: PoolName,
        band: Band,
        isHop: Bool = false,
        cluster: ClusterName? = nil,
        failed: [EndpointAddress] = [],
        promptTokens: Int = 0,
        session: UInt64? = nil,
        prefix: UInt64? = nil,
        adapter: UInt64? = nil
    ) {
        self.pool = pool
        self.band = band
        self.isHop = isHop
        self.cluster = cluster
        self.failed = failed
        self.promptTokens = min(max(0, promptTokens), Self.longestPrompt)
        self.session = session
        self.prefix = prefix
        self.adapter = adapter
    }
}

/// Why a cluster was chosen; the words are a metric label, so the set is closed.
package enum PickReason: String, Hashable, Sendable, CaseIterable {
    /// Drawn by the plan's weights.
    case plan
    /// Drawn by the rows that were solved for the loss of a cluster.
    case failover
    /// Drawn by weights of a plan past its time to live.
    case decayed
    /// There is no plan yet.
    case unplanned
    /// The gateway that sent the request here had chosen.
    case hop
    /// By a policy that asks no plan.
    case policy
    /// Its session is there, in a cluster that takes no new ones.
    case existing
    /// Nothing sound is left: what is ejected, silent or draining is better than a certain refusal.
    case panic
}

/// One request's choice.
package struct Pick: Hashable, Sendable {
    /// Counts this gateway's picks.
    package let id: UInt64
    package let pool: PoolName
    package let band: Band
    package let cluster: ClusterName
    package let region: RegionName
    /// The model server, or the gateway of another region.
    package let target: EndpointAddress
    package let isRemote: Bool
    package let reason: PickReason
    package let promptTokens: Int
    /// Whether the target had served this session, conversation or adapter before.
    package let isWarm: Bool
    /// How far down the choice had to go.
    package let need: Need
    /// Where the router had its pool, place and endpoint: the last two may have moved when it ends.
    let hint: Hint

    /// Indices into the router's tables.
    struct Hint: Hashable, Sendable {
        let pool: Int
        let place: Int
        let endpoint: Int
    }
}

/// Why there is no choice.
package enum PickRefusal: String, Error, Hashable, Sendable, CaseIterable {
    /// No endpoint of the pool is known anywhere that may be used.
    case noEndpoints = "no-endpoints"
}

/// How a try ended, as far as the next choice needs to know.
package enum PickOutcome: Hashable, Sendable {
    /// The target answered, and the answer was no error of its own.
    case answered
    /// The target answered with an error of its own (500 to 599).
    case errored
    /// The target could not be reached, or cut the answer: it is to be avoided.
    case failed
    /// The client went away: it says nothing of the target.
    case cancelled
}
