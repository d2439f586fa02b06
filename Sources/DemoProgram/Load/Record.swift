import FleetModel

/// How a request ended, as its client saw it.
enum Outcome: Hashable, Sendable {
    case answered
    /// Never answered: every attempt failed, or its deadline passed.
    case failed
    /// Cut after its first byte.
    case interrupted
    /// Still running when the run ended.
    case unfinished
}

/// What is known of one request when it is over.
///
/// Times are seconds after the load began.
struct Record: Hashable, Sendable {
    var source: RegionName
    var sentAt: Seconds
    var endedAt: Seconds
    /// From the first attempt's send to the first content; `nil` when there was none.
    var ttft: Seconds?
    /// The cluster that answered, when the gateway said so.
    var cluster: String?
    var retries: Int
    var outcome: Outcome
}
