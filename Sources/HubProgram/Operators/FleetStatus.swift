import FleetModel
import FleetPlanning
import GossipCore
import Leadership
import Observability
import OperatorLink
import Resources
import StateStore
import WireProtocol

extension HubDesk {
    func status() async throws -> Isobar_V1_FleetStatus {
        var status = Isobar_V1_FleetStatus()
        status.hub = self.name
        status.software = Self.software
        status.tick = self.tick
        status.store = await self.storeStatus()
        let now = self.hub.clock.now
        let set = self.hub.withState { state in
            status.fillFleet(state, set: state.resources, now: now, tick: self.tick)
            return state.resources
        }
        let leader = self.hub.withState { $0.standing.leader?.name }
        status.leader = leader ?? ""
        let others = self.hub.members.current ?? []
        status.replicas = Set(others.map(\.name)).union([self.name]).sorted().map { name in
            var replica = Isobar_V1_HubReplica()
            replica.name = name
            replica.leads = name == leader
            return replica
        }
        status.findings = Findings.all(status, set, storeQuota: self.hub.storeQuota)
        return status
    }

    /// Reads one key, to see whether the store answers and how fast.
    private func storeStatus() async -> Isobar_V1_StoreStatus {
        var store = Isobar_V1_StoreStatus()
        let health = await self.store.health()
        store.kind = health.kind
        store.size = health.members.compactMap(\.size).max() ?? 0
        store.members = UInt32(clamping: health.members.count)
        store.reachable = UInt32(clamping: health.members.count(where: \.isReachable))
        store.managed = self.hub.storeQuota != nil
        store.each = health.members.map { Isobar_V1_StoreMember($0) }
        let before = self.hub.clock.now
        var fault: String?
        do throws(StoreError) {
            _ = try await self.store.get("leader")
        } catch {
            fault = error.description
        }
        store.read = self.hub.clock.now - before
        self.hub.withState { state in
            if let write = state.storeWrite { store.write = write }
            store.failures = state.counts.plansFailed
            fault = fault ?? state.planFault
        }
        store.healthy = fault == nil
        store.fault = fault ?? ""
        return store
    }

    /// Everything but the secret of the frames, which a restored store makes anew.
    func backup() async throws -> [Isobar_V1_BackupEntry] {
        try await self.store.list(prefix: "").filter { $0.key != FrameSecret.key }.map { entry in
            var message = Isobar_V1_BackupEntry()
            message.key = entry.key
            message.value = .init(entry.value)
            message.created = entry.created
            message.modified = entry.modified
            return message
        }
    }
}

extension Isobar_V1_StoreMember {
    init(_ member: StoreHealth.Member) {
        self.init()
        self.name = member.name
        self.reachable = member.isReachable
        self.leads = member.isLeader
        if let size = member.size { self.size = size }
        if let used = member.used { self.used = used }
        self.version = member.version ?? ""
        self.fault = member.fault ?? ""
    }
}

extension Isobar_V1_FleetStatus {
    /// What the hub knows of the fleet.
    mutating func fillFleet(_ state: Hub.State, set: ResourceSet, now: Seconds, tick: Seconds) {
        let settings = FleetSettings(set)
        let views = state.mind.digests.views(now: now)
        self.epoch = state.standing.leader.map { state.epochFloor + $0.epoch } ?? 0
        if let plan = state.plan {
            self.plan = Isobar_V1_PlanVersion(plan.version)
            self.planAge = now - state.plannedAt
            self.planTimeToLive = plan.timeToLive
        }
        self.resources = UInt32(clamping: set.count)
        self.clusters = views.map { Isobar_V1_ClusterStatus($0, state.plan, settings) }
        self.gateways = state.gateways.sorted { $0.key < $1.key }.map { name, standing in
            var gateway = Isobar_V1_GatewayStatus()
            gateway.gateway = name.text
            gateway.region = standing.region.text
            if let version = standing.acknowledged { gateway.acknowledged = Isobar_V1_PlanVersion(version) }
            gateway.refusal = standing.refusal ?? ""
            gateway.inSync = Self.isInSync(standing, state.plan?.version, tick: tick)
            return gateway
        }
        let names = Set(views.flatMap { $0.frame.digests.map(\.pool) }).union(settings.pools).sorted()
        self.pools = names.map { Isobar_V1_PoolStatus($0, state, views, settings) }
        let regions = Set(views.map(\.frame.region)).union(state.gateways.values.map(\.region))
        self.regions = regions.sorted().map { region in
            var status = Isobar_V1_RegionStatus()
            status.region = region.text
            let here = views.filter { $0.frame.region == region }
            status.clusters = UInt32(clamping: here.count)
            status.gateways = UInt32(clamping: state.gateways.values.count { $0.region == region })
            status.demand = names.reduce(0) { sum, pool in
                sum + (state.mind.demand.demand(of: pool)[region]?.values.reduce(0, +) ?? 0)
            }
            status.capacity = here.reduce(0) { $0 + $1.frame.digests.reduce(0) { $0 + ($1.capacity ?? 0) } }
            status.unreachable = state.mind.demand.unreachable.contains(region)
            return status
        }
    }

    /// A gateway is in step when it has taken a plan of the last three seconds, or of the last three.
    private static func isInSync(_ standing: GatewayStanding, _ plan: PlanVersion?, tick: Seconds) -> Bool {
        guard standing.refusal == nil else { return false }
        guard let plan else { return true }
        guard let held = standing.acknowledged, held.epoch == plan.epoch else { return false }
        let lag = plan.generation > held.generation ? plan.generation - held.generation : 0
        return Double(lag) <= max(3, 3 / tick)
    }
}

extension Isobar_V1_ClusterStatus {
    init(_ view: DigestView, _ plan: Plan?, _ settings: FleetSettings) {
        self.init()
        let (frame, name) = (view.frame, view.frame.id.cluster)
        self.cluster = name.text
        self.region = frame.region.text
        self.agent = frame.agent.text
        self.frame = frame.id.description
        self.age = view.age
        self.interval = frame.interval
        self.endpointsReady = UInt32(clamping: frame.digests.reduce(0) { $0 + $1.endpointsReady })
        self.endpointsKnown = UInt32(clamping: frame.digests.reduce(0) { $0 + $1.endpointsKnown })
        // What no pool tells is unknown, and left out.
        let (running, waiting) = (frame.digests.compactMap(\.running), frame.digests.compactMap(\.waiting))
        if !running.isEmpty { self.running = UInt32(clamping: running.reduce(0, +)) }
        if !waiting.isEmpty { self.waiting = UInt32(clamping: waiting.reduce(0, +)) }
        let capacities = frame.digests.compactMap(\.capacity)
        if !capacities.isEmpty { self.capacity = capacities.reduce(0, +) }
        let states = Set(
            frame.digests.map { digest in
                plan?[digest.pool]?.clusters.first { $0.name == name }?.state ?? digest.state
            }
        )
        self.state = states.count == 1 ? states.first?.rawValue ?? "" : "mixed"
        let drains = frame.digests.compactMap { settings.drain(of: name, in: frame.region, pool: $0.pool)?.key.name }
        self.drain = Set(drains).sorted().joined(separator: ", ")
    }
}

extension Isobar_V1_PoolStatus {
    init(_ pool: PoolName, _ state: Hub.State, _ views: [DigestView], _ settings: FleetSettings) {
        self.init()
        self.pool = pool.description
        self.declared = settings.pools.contains(pool)
        let digests = views.compactMap { view in view.frame.digests.first { $0.pool == pool } }
        self.clusters = UInt32(clamping: digests.count)
        self.demand = state.mind.demand.demand(of: pool).values.reduce(0) { $0 + $1.values.reduce(0, +) }
        let capacities = digests.compactMap(\.capacity)
        if !capacities.isEmpty { self.capacity = capacities.reduce(0, +) }
        if let overflow = state.overflow[pool] { self.overflow = overflow }
        if let plan = state.plan?[pool] {
            self.cost = plan.cost
            self.gap = plan.gap
        }
    }
}
