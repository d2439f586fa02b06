import FleetModel

/// How the gateways choose a cluster.
enum DemoPolicy: String, Sendable, CaseIterable {
    /// By the hub's plan.
    case ours
    /// The gateway's own region only.
    case nearest
    /// Every cluster in turn.
    case roundRobin = "round-robin"
}

/// The loss of a whole region.
struct RegionFailure: Hashable, Sendable {
    var region: RegionName
    /// Seconds after the load begins.
    var time: Seconds
}

/// What a run of the demo is to do.
struct DemoSettings: Sendable {
    var geography = Geography.standard
    var policy = DemoPolicy.ours
    var requests = Workload.Requests.synthetic
    /// Requests per second over all regions; `nil`: the trace's own times.
    var rate: Double?
    var bursts: [Burst] = []
    var failure: RegionFailure?
    /// How long requests are sent, in seconds; `nil`: until Ctrl-C.
    var duration: Seconds?
    var seed: UInt64 = 1
    /// Where logs and configurations go.
    var directory: String
    /// The program that every child runs.
    var executable: String
    /// The report is one JSON object.
    var wantsJSON = false
}
