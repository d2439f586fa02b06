import FleetModel
import FleetPlanning
import GossipCore
import GossipTransport
import Leadership
import Logging
import Observability
import PlanStream
import Resources
import StateStore
import Synchronization
import WireProtocol
import WireTransport

/// What one gateway's stream last said.
struct GatewayStanding: Sendable {
    var region: RegionName
    var acknowledged: PlanVersion?
    var refusal: String?
}

/// The hub's state behind one lock, and its two audiences: agents and gateways.
final class Hub: Sendable {
    struct State {
        var mind = HubMind()
        var gateways: [GatewayName: GatewayStanding] = [:]
        var plan: Plan?
        var plannedAt: Seconds = 0
        var counts = HubCounts()
        /// The resources in force, as of this count of changes.
        var resources = ResourceSet()
        var resourceChange: UInt64 = 0
        /// Why the last plan was not made or not stored.
        var planFault: String?
        /// How long storing the last plan took, in seconds.
        var storeWrite: Seconds?
        /// Requests per second that the plan in force cannot place, by pool.
        var overflow: [PoolName: Double] = [:]
        var epoch: UInt64 = 0
    }

    let clock: MonotonicClock
    let links: LinkCredentials?
    let logger: Logger
    let announcements = NewestWins<Announcement>()
    /// Why the next plan is to be made: a tick, or something that should not wait for one.
    let causes: AsyncStream<String>
    private let cause: AsyncStream<String>.Continuation
    private let store: any StateStore
    private let state = Mutex(State())
    private let keys = Mutex<FrameKeys?>(nil)

    init(store: any StateStore, clock: MonotonicClock, links: LinkCredentials? = nil, logger: Logger) {
        self.store = store
        self.clock = clock
        self.links = links
        self.logger = logger
        // One place: a second cause while a plan is being made asks for the same thing.
        (self.causes, self.cause) = AsyncStream.makeStream(of: String.self, bufferingPolicy: .bufferingNewest(1))
    }

    func withState<Value: Sendable>(_ body: (inout sending State) -> sending Value) -> Value {
        self.state.withLock(body)
    }

    /// Asks for a plan.
    func wantPlan(_ cause: String) { self.cause.yield(cause) }
}

// MARK: Agents

extension Hub: DigestReceiver {
    func register(cluster: ClusterName, region: RegionName, agent: AgentName) async throws -> AgentRegistration {
        let keys = try await self.frameKeys()
        let incarnation = try await Incarnations(store: self.store).next(of: cluster)
        self.logger.info(
            "agent registered",
            metadata: [
                "cluster": "\(cluster)", "region": "\(region)", "agent": "\(agent)", "incarnation": "\(incarnation)",
            ]
        )
        return AgentRegistration(incarnation: incarnation, key: keys.key(of: cluster, incarnation: incarnation))
    }

    func open(_ sealed: [UInt8]) async throws -> OpenedFrame {
        let keys = try await self.frameKeys()
        do throws(SealFault) {
            return try keys.open(sealed)
        } catch {
            self.state.withLock { $0.counts.sealsRefused[error, default: 0] += 1 }
            // At debug: whoever floods the hub with forgeries shall not fill its log. The counter has every one.
            self.logger.debug("frame not opened", metadata: ["reason": "\(error)"])
            throw error
        }
    }

    /// Read once; it never changes while a hub runs.
    private func frameKeys() async throws -> FrameKeys {
        if let keys = self.keys.withLock({ $0 }) { return keys }
        let keys = try await FrameSecret(store: self.store).keys()
        self.keys.withLock { $0 = keys }
        return keys
    }

    func receive(_ frame: DigestFrame) -> String? {
        let now = self.clock.now
        var refusal: String?
        let isAlarming = self.state.withLock { state -> Bool in
            do throws(FrameRefusal) {
                let before = try state.mind.digests.receive(frame, now: now)
                state.counts.framesAccepted += 1
                return frame.isAlarming(after: before)
            } catch {
                refusal = error.rawValue
                state.counts.framesRefused[error, default: 0] += 1
                return false
            }
        }
        let metadata: Logger.Metadata = ["frame": "\(frame.id)"]
        if let refusal {
            self.logger.debug("digest refused", metadata: metadata.merging(["reason": "\(refusal)"]) { $1 })
        } else {
            self.logger.debug("digest received", metadata: metadata)
        }
        if isAlarming { self.wantPlan("digest \(frame.id)") }
        return refusal
    }

    func refused(_ error: WireError) {
        self.state.withLock { $0.counts.messagesUnreadable += 1 }
        self.logger.warning("digest unreadable", metadata: ["reason": "\(error)"])
    }
}

// MARK: Gateways

extension Hub: PlanAudience {
    func subscribed(_ gateway: GatewayName, region: RegionName, held: PlanVersion?) {
        self.state.withLock { $0.gateways[gateway] = GatewayStanding(region: region, acknowledged: held) }
        self.logger.info(
            "gateway subscribed",
            metadata: [
                "gateway": "\(gateway)", "region": "\(region)",
                "held": "\(held.map(\.description) ?? "none")",
            ]
        )
    }

    func acknowledged(_ gateway: GatewayName, _ version: PlanVersion) {
        self.state.withLock { state in
            state.gateways[gateway]?.acknowledged = version
            state.gateways[gateway]?.refusal = nil
        }
        self.logger.debug("plan acknowledged", metadata: ["gateway": "\(gateway)", "plan": "\(version)"])
    }

    func refused(_ gateway: GatewayName, _ version: PlanVersion, reason: String) {
        self.state.withLock { state in
            state.gateways[gateway]?.refusal = reason
            state.counts.plansRefused += 1
        }
        self.logger.warning(
            "plan refused by gateway",
            metadata: ["gateway": "\(gateway)", "plan": "\(version)", "reason": "\(reason)"]
        )
    }

    func reported(_ report: DemandReport) {
        let now = self.clock.now
        let change = self.state.withLock { state -> String? in
            let before = state.mind.demand.unreachable
            if !state.mind.demand.receive(report, now: now) { state.counts.reportsDropped += 1 }
            let after = state.mind.demand.unreachable
            return before == after ? nil : after.sorted().map(\.text).joined(separator: ",")
        }
        if let change {
            self.logger.warning("reachability changed", metadata: ["unreachable": "\(change)"])
            self.wantPlan("unreachable: \(change)")
        }
    }

    func left(_ gateway: GatewayName) {
        self.state.withLock { state in
            state.gateways[gateway] = nil
            state.mind.demand.forget(gateway)
        }
        self.logger.info("gateway left", metadata: ["gateway": "\(gateway)"])
        // Its clients go elsewhere, and its region may be gone with it.
        self.wantPlan("gateway \(gateway) left")
    }

    func unreadable(_ error: WireError) {
        self.state.withLock { $0.counts.messagesUnreadable += 1 }
        self.logger.warning("gateway message unreadable", metadata: ["reason": "\(error)"])
    }
}
