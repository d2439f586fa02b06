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

/// This replica's standing in the election.
struct Standing: Sendable {
    /// The epoch in which this replica leads.
    var epoch: UInt64?
    /// Until when its lease may be counted on.
    var leaseUntil: Seconds = -.infinity
    /// Whoever leads, as far as is known.
    var leader: Leader?
}

/// The hub's state behind one lock, and its two audiences: agents and gateways.
final class Hub: Sendable {
    struct State {
        var mind = HubMind()
        var gateways: [GatewayName: GatewayStanding] = [:]
        var plan: Plan?
        /// What this replica made last, while it leads; it may not stand in the store yet, or never.
        var made: (plan: Plan, encoded: EncodedPlan)?
        var plannedAt: Seconds = 0
        var announced = AnnouncedPlans()
        /// Refuses to go back, whatever order plans come in.
        var fence = PlanFence()
        var standing = Standing()
        var storeHealth: StoreHealth?
        /// What of the store failed lately, for the log.
        var storeFaults = RecentFaults()
        /// Reports on their way to other replicas.
        var outboxes: [ReplicaMember: DemandOutbox] = [:]
        /// When another replica last passed on a gateway's report.
        var sharedAt: [GatewayName: Seconds] = [:]
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
        /// What a restored store's epochs begin above; see ``EpochFloor``.
        var epochFloor: UInt64 = 0
        /// The regions that no gateway could reach when that was last looked at.
        var unreachable: Set<RegionName> = []
    }

    /// This replica's name among the others.
    let name: String
    let clock: MonotonicClock
    let links: LinkCredentials?
    /// Bytes above which the etcd beside this hub takes no more writes; `nil` when hubs do not run etcd.
    let storeQuota: Int64?
    let logger: Logger
    /// The plan in force, for the gateways' streams.
    let board: PlanBoard
    /// The replicas that the store knows of.
    let members = NewestWins<[ReplicaMember]>()
    /// Why the next plan is to be made: a tick, or something that should not wait for one.
    let causes: AsyncStream<String>
    private let cause: AsyncStream<String>.Continuation
    private let store: any StateStore
    /// The gossip's streams, to agents and to other replicas.
    let streams: GossipStreams
    private let state = Mutex(State())
    private let keys = Mutex<FrameKeys?>(nil)
    private let meshEnd = Mutex<MeshHub?>(nil)
    private let registrations = Turnstile()

    init(
        name: String,
        store: any StateStore,
        clock: MonotonicClock,
        links: LinkCredentials? = nil,
        storeQuota: Int64? = nil,
        logger: Logger
    ) {
        self.name = name
        self.store = store
        self.clock = clock
        self.links = links
        self.storeQuota = storeQuota
        self.logger = logger
        self.streams = GossipStreams(now: { clock.now })
        self.board = PlanBoard(clock: { clock.now })
        // One place: a second cause while a plan is being made asks for the same thing.
        (self.causes, self.cause) = AsyncStream.makeStream(of: String.self, bufferingPolicy: .bufferingNewest(1))
    }

    func withState<Value: Sendable>(_ body: (inout sending State) -> sending Value) -> Value {
        self.state.withLock(body)
    }

    /// Asks for a plan.
    func wantPlan(_ cause: String) { self.cause.yield(cause) }
}

// MARK: Leadership

extension Hub {
    /// Takes the election's word.
    func stand(as election: Election) {
        let isNew = self.state.withLock { state in
            let before = state.standing.epoch
            state.standing = Standing(
                epoch: election.epoch,
                leaseUntil: election.leaseUntil ?? -.infinity,
                leader: election.leader
            )
            return election.epoch != nil && election.epoch != before
        }
        if isNew { self.wantPlan("leading") }
    }

    /// Whether this replica could make the next plan at once, were it to lead.
    var isPrepared: Bool {
        let now = self.clock.now
        return self.state.withLock { state in state.plan.map { state.mind.hasHeard($0, now: now) } ?? true }
    }

    /// The epoch in which this replica leads, while its lease may be counted on.
    func leads() -> UInt64? {
        let now = self.clock.now
        return self.state.withLock { now < $0.standing.leaseUntil ? $0.standing.epoch : nil }
    }

    /// Announces a plan that stands in the store, unless a newer one was announced.
    ///
    /// - Throws: ``PlanUnreadable`` when it cannot be encoded for gateways.
    func adopt(_ plan: Plan, _ encoded: EncodedPlan) throws(PlanUnreadable) {
        let now = self.clock.now
        try self.state.withLock { state throws(PlanUnreadable) in
            guard state.fence.admit(plan.version) == .newer else { return }
            state.plan = plan
            state.plannedAt = now
            state.announced.announced(plan.version, at: now)
            // Inside the lock, so that announcements keep the order of versions.
            try self.board.announce(encoded)
        }
    }

    /// Tells gateways that the plan is still in force: only while this replica hears the store and somebody leads.
    func confirm() {
        let now = self.clock.now
        let isInTouch = self.state.withLock { now < $0.standing.leaseUntil && $0.standing.leader != nil }
        if isInTouch { self.board.confirm() }
    }
}

// MARK: Other replicas

extension Hub: ReplicaAudience {
    func shared(_ report: DemandReport) {
        let now = self.clock.now
        self.state.withLock { state in
            state.counts.reportsShared += 1
            if state.mind.demand.receive(report, now: now) { state.sharedAt[report.gateway] = now }
            if state.sharedAt.count > DemandBoard.gatewaysMax {
                state.sharedAt = state.sharedAt.filter { now - $0.value < Self.sharedLifetime }
            }
        }
        self.noticeReach()
    }

    /// A gateway whose stream to this replica ended is not gone when another replica has heard it this lately.
    static let sharedLifetime: Seconds = 1.5

    func outbox(to member: ReplicaMember) -> DemandOutbox {
        self.state.withLock { state in
            let outbox = state.outboxes[member] ?? DemandOutbox()
            state.outboxes[member] = outbox
            return outbox
        }
    }

    func close(outboxTo member: ReplicaMember) { self.state.withLock { $0.outboxes[member] = nil } }
}

// MARK: Agents

extension Hub: AgentRegistry {
    func register(cluster: ClusterName, region: RegionName, agent: AgentName) async throws -> AgentRegistration {
        // A fleet that starts asks all at once for the next of one counter: of many that try, one would get it each time.
        let (keys, number, incarnation) = try await self.registrations.inTurn {
            let keys = try await self.frameKeys()
            let number = try await AgentNumbers(store: self.store).number(of: agent, in: cluster)
            try self.refuseWithoutRoom(AgentID(number), of: cluster)
            let heard = self.mesh?.withMesh { $0.stamp(of: AgentID(number))?.incarnation } ?? 0
            let next = try await Incarnations(store: self.store).next(of: cluster, above: heard)
            return (keys, number, try StoredNumber.word(next, key: "incarnations/\(cluster)"))
        }
        self.logger.info(
            "agent registered",
            metadata: [
                "cluster": "\(cluster)", "region": "\(region)", "agent": "\(agent)", "number": "\(number)",
                "incarnation": "\(incarnation)",
            ]
        )
        return keys.registration(of: cluster, agent: number, incarnation: incarnation)
    }

    /// Agents of one cluster that a hub holds at once: whoever has its certificate takes no more of everybody's places.
    static let agentsOfClusterMax = 64

    private func refuseWithoutRoom(_ agent: AgentID, of cluster: ClusterName) throws(RegistrationRefusal) {
        guard let mesh = self.mesh else { return }
        let own = mesh.cards.filter { $0.value.cluster == cluster && $0.key != agent }.keys
        let (hasRoom, most, living) = mesh.withMesh { mesh in
            (
                mesh.hasRoom(for: agent), mesh.settings.agentsMax,
                own.count { mesh.liveness(of: $0).map { $0 != .gone } ?? false }
            )
        }
        if living >= Self.agentsOfClusterMax {
            throw RegistrationRefusal(
                "cluster \(cluster) has \(living) agents, as many as one may have; two are enough: stop the others, "
                    + "and 10 minutes later there is room again"
            )
        }
        guard hasRoom else {
            throw RegistrationRefusal(
                "the hub holds \(most) agents, as many as it can, and all were heard in the last 10 minutes; "
                    + "stop those that nobody needs, or give a part of the clusters hubs of their own"
            )
        }
    }

    /// Read once; it never changes while a hub runs.
    func frameKeys() async throws -> FrameKeys {
        if let keys = self.keys.withLock({ $0 }) { return keys }
        let keys = try await FrameSecret(store: self.store).keys()
        self.keys.withLock { $0 = keys }
        return keys
    }
}

// MARK: Gossip

extension Hub: MeshHubOwner {
    /// The gossip begins.
    func begin(_ mesh: MeshHub) { self.meshEnd.withLock { $0 = mesh } }

    /// This replica's end of the gossip; `nil` until it begins.
    var mesh: MeshHub? { self.meshEnd.withLock { $0 } }

    func learned(_ frame: DigestFrame, of agent: AgentID, age: Seconds, via: Peer) {
        let now = self.clock.now
        var refusal: FrameRefusal?
        let isAlarming = self.state.withLock { state -> Bool in
            do throws(FrameRefusal) {
                let before = try state.mind.digests.receive(frame, carriedAge: age, now: now)
                // A twin that does not speak for its cluster changes nothing.
                return state.mind.digests[frame.id.cluster, now]?.frame.isAlarming(after: before) ?? false
            } catch {
                refusal = error
                state.counts.framesRefused[error, default: 0] += 1
                return false
            }
        }
        let metadata: Logger.Metadata = ["frame": "\(frame.id)", "via": "\(via)"]
        if let refusal {
            self.logger.debug("digest refused", metadata: metadata.merging(["reason": "\(refusal)"]) { $1 })
        } else {
            self.logger.debug("digest received", metadata: metadata.merging(["alarming": "\(isAlarming)"]) { $1 })
        }
        if isAlarming { self.wantPlan("digest \(frame.id)") }
    }

    func unreadable(_ error: WireError) {
        self.state.withLock { $0.counts.messagesUnreadable += 1 }
        self.logger.warning("message unreadable", metadata: ["reason": "\(error)"])
    }

    func changed(_ change: LivenessChange) {
        guard change.to >= .suspect || change.from >= .suspect else { return }
        let card = self.mesh?.card(of: change.agent)
        self.logger.warning(
            "agent's liveness changed",
            metadata: [
                "cluster": "\(card?.cluster.text ?? "")", "agent": "\(card?.agent.text ?? "\(change.agent)")",
                "from": "\(change.from)", "to": "\(change.to)", "silent_for": "\(change.silence)",
            ]
        )
    }

    /// Brings together what gossip and gateways know: whose silence counts, the shares to plan with, round trips.
    ///
    /// docs/gossip.md tells how silence and age go together.
    func weighSilence() {
        guard let mesh = self.mesh else { return }
        let now = self.clock.now
        let vouched = self.state.withLock { $0.mind.demand.vouched }
        let cards = mesh.cards
        let (views, roundTrips) = mesh.withMesh { mesh in
            for (agent, card) in cards where vouched.contains(card.region) { mesh.serves(agent, now: now) }
            return (mesh.views(now: now), mesh.roundTrips)
        }
        var shares: [ClusterName: Double] = [:]
        for view in views where view.frame != nil {
            guard let cluster = cards[view.agent]?.cluster else { continue }
            shares[cluster] = max(shares[cluster] ?? 0, view.admission)
        }
        self.state.withLock { state in
            state.mind.shares = shares
            state.mind.links = roundTrips
        }
    }
}

// MARK: Gateways

extension Hub: PlanAudience {
    func subscribed(_ gateway: GatewayName, region: RegionName, held: PlanVersion?) {
        self.state.withLock { state in
            let streams = (state.gateways[gateway]?.streams ?? 0) + 1
            state.gateways[gateway] = GatewayStanding(region: region, acknowledged: held, streams: streams)
        }
        self.logger.info(
            "gateway subscribed",
            metadata: [
                "gateway": "\(gateway)", "region": "\(region)",
                "held": "\(held.map(\.description) ?? "none")",
            ]
        )
    }

    func acknowledged(_ gateway: GatewayName, _ version: PlanVersion) {
        let now = self.clock.now
        self.state.withLock { state in
            if let announced = state.announced.time(of: version) { state.counts.acknowledged(after: now - announced) }
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
        self.state.withLock { state in
            guard state.mind.demand.receive(report, now: now) else {
                state.counts.reportsDropped += 1
                return
            }
            for outbox in state.outboxes.values { outbox.put(report) }
        }
        self.noticeReach()
    }

    /// Answers a change of what regions gateways can reach.
    private func noticeReach() {
        let change = self.state.withLock { state -> String? in
            let after = state.mind.demand.unreachable
            guard after != state.unreachable else { return nil }
            state.unreachable = after
            return after.sorted().map(\.text).joined(separator: ",")
        }
        if let change {
            self.logger.warning("reachability changed", metadata: ["unreachable": "\(change)"])
            self.wantPlan("unreachable: \(change)")
        }
    }

    func left(_ gateway: GatewayName) {
        let now = self.clock.now
        let isGone = self.state.withLock { state in
            if let standing = state.gateways[gateway], standing.streams > 1 {
                state.gateways[gateway]?.streams -= 1
                return false
            }
            state.gateways[gateway] = nil
            if let heard = state.sharedAt[gateway], now - heard < Self.sharedLifetime { return false }
            state.mind.demand.forget(gateway)
            return true
        }
        self.logger.info("gateway left", metadata: ["gateway": "\(gateway)"])
        // Its clients go elsewhere, and its region may be gone with it.
        if isGone { self.wantPlan("gateway \(gateway) left") }
    }

    func dropped(_ gateway: GatewayName) {
        self.logger.warning("gateway dropped", metadata: ["gateway": "\(gateway)", "reason": "answered no plan"])
    }

    func resending(to gateway: GatewayName, reason: String) {
        self.logger.info("plan sent whole", metadata: ["gateway": "\(gateway)", "reason": "\(reason)"])
    }
}
