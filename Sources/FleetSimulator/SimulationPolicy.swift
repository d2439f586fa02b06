import EngineSignals
import FleetModel
import FleetPlanning
import RequestRouting
import WeightSolver

/// A name that is no policy; it says which ones there are.
package struct UnknownPolicy: Error, Hashable, CustomStringConvertible {
    package let given: String

    package var description: String {
        "policy \"\(self.given)\" is not known: use all or one of "
            + SimulationPolicy.allCases.map(\.rawValue).joined(separator: ", ")
    }
}

/// How the requests of a simulated fleet find their cluster.
///
/// Whatever chooses the cluster, the router of its region chooses the endpoint, as the better of two by samples at most a
/// fifth of a second old. Baselines that need telemetry get the same digests at the same time as the hub. Both are more
/// than most of them have in practice. They do not get what is ours beyond that: keeping sessions together, and counting
/// prompts that have not begun.
package enum SimulationPolicy: String, Sendable, CaseIterable {
    case ours

    // Ours without one of its parts
    /// One draw by weight instead of the better of two.
    case oursOneChoice = "ours-one-choice"
    /// Estimates without the gateway's own dispatches.
    case oursNoOwnCount = "ours-no-own-count"
    /// Endpoints by the last sample, without the gateway's own unbegun prompts.
    case oursNoPromptCount = "ours-no-prompt-count"
    /// The same weights for long and short prompts.
    case oursNoPromptWeights = "ours-no-prompt-weights"
    /// Both draws by the plan's weights, however long the queue.
    case oursNoRelief = "ours-no-relief"
    /// Sessions go anywhere, as requests without a session do.
    case oursNoSessions = "ours-no-sessions"
    /// Capacity by the model of steps alone.
    case oursNoSaturation = "ours-no-saturation"
    case oursNoStepLimit = "ours-no-step-limit"
    /// No rows for the loss of a cluster.
    case oursNoFailoverRows = "ours-no-failover-rows"
    case oursNoFloor = "ours-no-floor"
    /// Digests on the beat only, never at once.
    case oursNoEarlyDigest = "ours-no-early-digest"
    /// The weights of the first minute, for ever: without the hub.
    case oursFrozen = "ours-frozen"

    // Baselines
    case nearest
    case roundRobin = "round-robin"
    /// The cluster in which this gateway has the fewest requests per endpoint.
    case leastInFlight = "least-in-flight"
    /// The cluster whose digest says the least KV-cache use.
    case leastKV = "least-kv"
    /// Weights in proportion to capacity, near or far.
    case capacityProportional = "capacity-proportional"
    /// Near first, up to a part of capacity, planned each tick from measured demand.
    case waterfall40 = "waterfall-0.4"
    case waterfall70 = "waterfall-0.7"
    case waterfall80 = "waterfall-0.8"
    case waterfall90 = "waterfall-0.9"
    /// The same, with demand and capacity that are five seconds old: the freshness of a cloud's load reports.
    case waterfall80Late = "waterfall-0.8-late"
    /// The nearest cluster whose last digest is below a part of capacity.
    case spill40 = "spill-0.4"
    case spill70 = "spill-0.7"
    case spill80 = "spill-0.8"
    case spill90 = "spill-0.9"
    /// The nearest cluster whose KV cache was less full than this in its last digest: what a multi-cluster inference
    /// gateway does with that metric.
    case kvSpill40 = "kv-spill-0.4"
    case kvSpill60 = "kv-spill-0.6"
    case kvSpill80 = "kv-spill-0.8"
    /// The nearest region; below 71 % of healthy endpoints the rest goes to the next: Envoy's default.
    case priorityFailover = "priority-failover"
    /// The endpoint with the least predicted time to first token of this request, from the true state of every engine
    /// at this instant: no delay, no loss, no model error. It is greedy, so it is no bound.
    case clairvoyant

    /// Finds a policy by its name.
    ///
    /// - Throws: ``UnknownPolicy``, which lists the names.
    package init(named name: String) throws(UnknownPolicy) {
        guard let policy = Self(rawValue: name) else { throw UnknownPolicy(given: name) }
        self = policy
    }

    /// Whether it is ours, or ours without a part.
    package var isOurs: Bool { self.rawValue.hasPrefix("ours") }

    /// The part of capacity at which a waterfall or a spill goes on to the next cluster.
    var threshold: Double? {
        switch self {
        case .waterfall40, .spill40, .kvSpill40: 0.4
        case .kvSpill60: 0.6
        case .waterfall70, .spill70: 0.7
        case .waterfall80, .waterfall80Late, .spill80, .kvSpill80: 0.8
        case .waterfall90, .spill90: 0.9
        default: nil
        }
    }

    /// How much longer than a plan of ours a baseline's view takes to its gateways.
    var viewDelay: Seconds { self == .waterfall80Late ? 5 : 0 }

    var routing: RoutingPolicy {
        switch self {
        case .nearest: .nearest
        case .roundRobin: .roundRobin
        default: .ours
        }
    }

    /// Whether the router of the gateway chooses the cluster itself.
    var usesRouter: Bool { self.isOurs || self == .nearest || self == .roundRobin }

    var routingSettings: RoutingSettings {
        var settings = RoutingSettings()
        if self == .oursOneChoice { settings.draws = 1 }
        if self == .oursNoOwnCount { settings.countsOwnDispatches = false }
        if self == .oursNoPromptWeights { settings.weighsPrompts = false }
        if self == .oursNoRelief { settings.reliefWait = .infinity }
        if self == .oursNoSessions || !self.isOurs { settings.keepsSessions = false }
        if self == .oursNoPromptCount || !self.isOurs { settings.countsUnbegunPrompts = false }
        return settings
    }

    var solverPolicy: SolverPolicy {
        var policy = SolverPolicy.placingAll
        switch self {
        case .oursNoStepLimit: policy.stepLimit = nil
        case .oursNoFloor: policy.floor = ByBand(all: 0)
        case .ours, .oursOneChoice, .oursNoOwnCount, .oursNoPromptCount, .oursNoPromptWeights, .oursNoRelief,
            .oursNoSessions, .oursNoSaturation, .oursNoEarlyDigest, .oursFrozen:
            break
        default: policy.failover = .none
        }
        return policy
    }

    func signalSettings(maxSequences: Int) -> SignalSettings {
        SignalSettings(maxRunning: maxSequences, learnsFromSaturation: self != .oursNoSaturation)
    }
}
