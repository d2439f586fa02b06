package import FleetModel

/// How a gateway shares requests over clusters.
package enum RoutingPolicy: String, Sendable, CaseIterable {
    /// By the hub's plan, with two choices.
    case ours
    /// The own region while it has an endpoint, then the nearest other: what DNS does.
    case nearest
    /// Every cluster in turn, near or far.
    case roundRobin = "round-robin"
}

/// Limits of a gateway's decisions; times in seconds.
package struct RoutingSettings: Sendable {
    /// A sample older than this says nothing of an endpoint's load any more.
    package var sampleAgeMax: Seconds = 3
    /// How long a dispatch takes to show in a digest at the hub and in a plan from it: agent,
    /// hub tick and the way down, beside half a round trip.
    package var digestDelay: Seconds = 1.5
    /// Clusters that a request draws by weight, to take the best of them.
    package var draws = 2
    /// Whether a cluster's estimate counts what this gateway has sent there since the digest behind the plan.
    package var countsOwnDispatches = true
    /// Whether an endpoint's backlog counts this gateway's prompts that have not given their first token.
    package var countsUnbegunPrompts = true
    /// Whether, when requests wait, long prompts lean to the clusters that are quick at prompts, and short ones to the
    /// others.
    package var weighsPrompts = true
    /// How many seconds of difference between prompts' times are worth a factor of e in weight.
    package var promptSmoothing: Seconds = 0.05
    /// A wait longer than this makes the second draw one by capacity instead of by the plan's weights.
    package var reliefWait: Seconds = 1
    /// How much longer the wait in a cluster is taken for that is to relieve another: it is known a moment late, and
    /// every gateway sees it.
    package var reliefMargin = 1.5
    /// Whether requests of one session keep to one cluster and endpoint, where their text is still cached.
    package var keepsSessions = true
    /// Prompt tokens that an adapter already loaded is worth.
    package var adapterTokens = 512
    /// The most that a cached prompt is worth, in tokens: what bounds how far behind others a warm endpoint may be.
    package var warmTokensMax = 4_096
    /// How much work a cluster holds back when it counts as full, in seconds.
    package var fullWait: Seconds = 2

    package init() {}
}
