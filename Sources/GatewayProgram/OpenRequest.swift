import FleetModel
import RequestRouting
import ReverseProxy

/// What the gateway knows of a request from its head to its end.
///
/// A class, so that news of a request writes to its one place and copies nothing.
///
/// It is sendable because what varies is read and written under the gateway's lock only, but for two moments at which
/// nobody else has a hand on it: after the verdict to forward it, when all news of it comes from the event loop that
/// asked, and after its end, when the gateway has forgotten it.
final class OpenRequest: @unchecked Sendable {
    enum Phase: Sendable {
        /// No try has been chosen, or the last one is over.
        case choosing
        /// It waits in the queue until then, for room or for an endpoint.
        case waiting(until: Seconds, since: Seconds)
        /// Its turn has come: the pick is made, and the proxy is being told.
        case assigned(Pick)
        /// It gave way to another.
        case evicted
        /// It is under way.
        case sent(Pick)
    }

    var request: PickRequest
    let pool: GatewayConfiguration.Pool
    let tenant: UInt64
    /// When its client gives up, on the gateway's clock.
    let deadline: Seconds?
    /// The header by which it said so.
    let deadlineHeader: RequestDeadline.Header?
    var trace: TraceContext?
    /// The model that the client asked for.
    let model: String?
    /// The model that it gets instead.
    let rewritten: String?
    let edit: BodyEdit?
    let streams: Bool
    /// When its head came, on the gateway's clock.
    var begunAt: Seconds = 0
    var phase = Phase.choosing
    var waitsForRoom = false
    var tries = 0
    /// Seconds in the queue.
    var waited: Seconds = 0
    /// Pauses because everything had failed it.
    var pauses = 0
    /// The pick of a second try beside the one that was sent.
    var rival: Pick?
    /// Where a second try went, whatever became of it.
    var hedgedTo: EndpointAddress?
    var lastPick: Pick?
    var plan: PlanVersion?
    var timeToFirstByte: Seconds?
    var drop: DropReason?

    init(
        request: PickRequest,
        pool: GatewayConfiguration.Pool,
        tenant: UInt64,
        deadline: Seconds?,
        deadlineHeader: RequestDeadline.Header?,
        model: String?,
        rewritten: String?,
        edit: BodyEdit?,
        streams: Bool
    ) {
        self.request = request
        self.pool = pool
        self.tenant = tenant
        self.deadline = deadline
        self.deadlineHeader = deadlineHeader
        self.model = model
        self.rewritten = rewritten
        self.edit = edit
        self.streams = streams
    }

    /// The pick that is not finished, if any.
    var openPick: Pick? {
        switch self.phase {
        case .assigned(let pick), .sent(let pick): pick
        case .choosing, .waiting, .evicted: nil
        }
    }
}

/// What becomes of a request now.
enum Verdict: Sendable {
    case forward(OpenRequest, Pick)
    case wait(Seconds)
    case drop(DropReason, retryAfter: Int)
}
