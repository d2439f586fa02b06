package import FleetModel
package import GossipCore
package import Resources
package import WeightSolver

/// What the hub knows and how it turns that into a plan: a value, without clock or store.
///
/// Digests, demand and distances are soft: after a restart they are back within a tick or two.
package struct HubMind: Sendable {
    /// A cluster that no gateway can reach is down when its agent has also been silent for this many of its
    /// own periods: one cut path alone proves nothing.
    package static let silentPeriods = 2.5

    /// Queues and free seats of a digest that is older than this are not told to gateways, in seconds: by then the
    /// cluster's weights do not grow any more either.
    package static let queueLifetime: Seconds = 5

    package var digests = DigestBoard()
    package var demand = DemandBoard()
    /// The share of each cluster's capacity to plan with, 0 to 1: less after a silence that nobody vouches against.
    ///
    /// A cluster that is not here has all of it.
    package var shares: [ClusterName: Double] = [:]
    /// Round trips between regions, as the links of the gossip measured them.
    package var links = RoundTripMatrix()
    /// What the resources in force say.
    package var settings = FleetSettings()
    /// Plans only the pools that a resource declares.
    package var plansDeclaredOnly = false
    private var solver = Solver()
    private var memory: [PoolName: SolverMemory] = [:]
    /// Clusters of the plan that a restart found.
    private var awaited: Set<ClusterName> = []
    private var awaitedUntil: Seconds = -.infinity
    private let policy: SolverPolicy
    /// Without the rows for lost clusters, which are most of the work and none of a forecast's answer.
    var solvesFailover = true

    /// How long a hub that was started again waits for agents that it knows of, in seconds.
    package static let reunion: Seconds = 3

    package init(policy: SolverPolicy = .placingAll) { self.policy = policy }

    /// Goes on from the plan that stood when the hub was started again.
    ///
    /// Its weights are where the next steps begin, and for ``reunion`` seconds no plan is made before each of its
    /// clusters has been heard: agents come back one by one, and a plan of the first would drop the others.
    package mutating func resume(from plan: Plan, now: Seconds) {
        for pool in plan.pools { self.memory[pool.pool] = SolverMemory(rows: pool.rows) }
        self.awaited = Self.clusters(of: plan)
        self.awaitedUntil = now + Self.reunion
    }

    /// Whether each cluster of a plan has been heard, but for those that were down: then the next plan can be made
    /// without waiting for any.
    package func hasHeard(_ plan: Plan, now: Seconds) -> Bool {
        Self.clusters(of: plan).isSubset(of: self.digests.views(now: now).map(\.frame.id.cluster))
    }

    private static func clusters(of plan: Plan) -> Set<ClusterName> {
        Set(plan.pools.flatMap { $0.clusters.filter { $0.state != .down }.map(\.name) })
    }

    /// Every pool that some fresh digest names, solved.
    ///
    /// - Returns: The plan; `nil` while no agent has spoken.
    package mutating func plan(version: PlanVersion, parent: PlanVersion?, now: Seconds) -> Plan? {
        self.generation(version: version, parent: parent, now: now)?.plan
    }

    /// A plan with what it was made from.
    package struct Generation: Sendable {
        package var plan: Plan
        /// In the order of the plan's pools.
        package var questions: [SolverQuestion]
        /// The resources behind each pool's question, in words.
        package var because: [[String]]
        /// Requests per second of all bands that cannot be placed, by pool.
        package var overflow: [Double]
    }

    /// ``plan(version:parent:now:)``, with what the plan was made from.
    package mutating func generation(version: PlanVersion, parent: PlanVersion?, now: Seconds) -> Generation? {
        self.forgetSilent(now: now)
        let views = self.digests.views(now: now)
        let heard = Set(views.flatMap { $0.frame.digests.map(\.pool) })
        let pools = (self.plansDeclaredOnly ? heard.intersection(self.settings.pools) : heard).sorted()
        guard !pools.isEmpty else { return nil }
        if now < self.awaitedUntil, !self.awaited.isSubset(of: views.map(\.frame.id.cluster)) { return nil }
        self.memory = self.memory.filter { pools.contains($0.key) }

        let roundTrips = self.roundTrips(to: Set(views.map(\.frame.region)), now: now)
        let links = SolverLinks(roundTrips: roundTrips)
        var next = Generation(
            plan: Plan(version: version, parent: parent, timeToLive: self.policy.timeToLive, pools: []),
            questions: [],
            because: [],
            overflow: []
        )
        for pool in pools {
            let members = views.compactMap { view in
                view.frame.digests.first { $0.pool == pool }.map { Member(view: view, digest: $0) }
            }
            let egress = self.settings.egress(of: pool)
            let ways = egress.isEmpty ? links : SolverLinks(roundTrips: roundTrips, egress: egress)
            let problem = self.problem(pool, members, ways)
            let question = SolverQuestion(problem: problem, memory: self.memory[pool] ?? SolverMemory())
            let answer = self.solver.solve(problem, memory: &self.memory[pool, default: SolverMemory()])
            var plan = Self.poolPlan(answer, members)
            plan.objectives = self.settings.objectives[pool] ?? [:]
            next.plan.pools.append(plan)
            next.questions.append(question)
            next.because.append(self.settings.because(of: pool, clusters: problem.clusters) + self.silences(members))
            next.overflow.append(Band.allCases.reduce(0) { $0 + answer.overflow[$1] })
        }
        return next
    }

    /// Lets go of agents and gateways that have been silent for long.
    package mutating func forgetSilent(now: Seconds) {
        _ = self.digests.forgetSilent(now: now)
        self.demand.forgetSilent(now: now)
    }

    /// Goes on from where a copy of this mind has come by making a plan, while this one went on hearing.
    package mutating func goOn(from planner: HubMind) { self.memory = planner.memory }

    /// One cluster of one pool, as its last frame shows it.
    private struct Member {
        let view: DigestView
        let digest: PoolDigest
    }

    /// Who says how far two regions are from each other; each is asked when those before it cannot tell.
    package enum RoundTripSource: String, Hashable, Sendable, CaseIterable {
        /// Gateways of one of them, by their probes of the other.
        case gateways
        /// Links of the gossip between them.
        case links
        /// Coordinates, made of other links.
        case coordinates
    }

    /// The round trip of two regions, in seconds, and who says so; `nil` when nobody can tell.
    package func roundTrip(
        from source: RegionName,
        to target: RegionName,
        now: Seconds
    ) -> (seconds: Seconds, by: RoundTripSource)? {
        if let measured = self.demand.roundTrip(from: source, to: target) { return (measured, .gateways) }
        guard let known = self.links.roundTrip(source, target, now: now) else { return nil }
        return (known.roundTrip, known.isMeasured ? .links : .coordinates)
    }

    private func roundTrips(to regions: Set<RegionName>, now: Seconds) -> [RegionName: [RegionName: Seconds]] {
        let all = regions.union(self.demand.regions)
        var roundTrips: [RegionName: [RegionName: Seconds]] = [:]
        for source in all {
            for target in all where source != target {
                roundTrips[source, default: [:]][target] =
                    self.roundTrip(from: source, to: target, now: now)?.seconds
            }
        }
        return roundTrips
    }

    private func problem(_ pool: PoolName, _ members: [Member], _ links: SolverLinks) -> SolverProblem {
        let demand = self.demand.demand(of: pool)
        var policy = self.settings.policies(of: pool).reduce(self.policy) { $0.with($1.spec) }
        if !self.solvesFailover { policy.failover = .none }
        let sources = Set(demand.keys).union(members.map(\.view.frame.region)).sorted()
        return SolverProblem(
            pool: pool,
            sources: sources.map { region in
                var rates = ByBand(all: 0.0)
                for (band, rate) in demand[region] ?? [:] { rates[band] = rate }
                return SolverSource(region: region, demand: rates)
            },
            clusters: members.map { member in
                let name = member.view.frame.id.cluster
                return SolverCluster(
                    name: name,
                    region: member.view.frame.region,
                    state: self.state(of: member),
                    // What ends in an error is not served, however quickly. An agent's capacity is without errors, so
                    // that they count here and only here.
                    capacity: member.digest.capacity.map {
                        $0 * (self.settings.clusters[name]?.capacityScale ?? 1) * self.share(of: name)
                            * (1 - (member.digest.errorShare ?? 0))
                    },
                    servers: max(1, member.digest.endpointsReady),
                    unloadedTTFT: member.digest.unloadedTTFT,
                    queueScale: member.digest.queueScale,
                    kvUse: member.digest.kvMax,
                    digestAge: member.view.age + (member.digest.readingAge ?? 0)
                )
            },
            links: links,
            residency: self.settings.residency(of: pool),
            policy: policy
        )
    }

    /// Silence alone never takes all of a cluster's capacity.
    package static let leastShare = 0.01

    private func share(of cluster: ClusterName) -> Double { max(Self.leastShare, self.shares[cluster] ?? 1) }

    /// What silence does to the members' capacity, in words.
    private func silences(_ members: [Member]) -> [String] {
        members.map(\.view.frame.id.cluster).filter { self.share(of: $0) < 1 }.map { cluster in
            let percent = Int((self.share(of: cluster) * 100).rounded())
            return "\(cluster) was silent: planned with \(percent) % of its capacity"
        }
    }

    private func state(of member: Member) -> ClusterState {
        let isSilent = member.view.age > Self.silentPeriods * max(member.view.frame.interval, 0.1)
        if isSilent && self.demand.unreachable.contains(member.view.frame.region) { return .down }
        let (frame, pool) = (member.view.frame, member.digest.pool)
        let drain = self.settings.drain(of: frame.id.cluster, in: frame.region, pool: pool)?.spec.state
        return [member.digest.state, drain ?? .active].max { $0.rank < $1.rank } ?? member.digest.state
    }

    private static func poolPlan(_ answer: SolverAnswer, _ members: [Member]) -> PoolPlan {
        PoolPlan(
            pool: answer.problem.pool,
            clusters: zip(members, answer.problem.clusters).enumerated().map { place, pair in
                let (member, cluster) = pair
                // A queue of five seconds ago says nothing of now, and a seat that was free then is nobody's promise.
                let isQueueKnown = member.view.age <= Self.queueLifetime
                return PlanCluster(
                    name: cluster.name,
                    region: cluster.region,
                    state: cluster.state,
                    capacity: cluster.capacity,
                    unloadedTTFT: cluster.unloadedTTFT ?? 0,
                    waiting: isQueueKnown ? member.digest.waiting ?? 0 : 0,
                    freeSeats: isQueueKnown ? member.digest.freeSeats ?? 0 : 0,
                    frame: member.view.frame.id,
                    price: answer.prices[place] ?? 0
                )
            },
            rows: answer.rows,
            failover: answer.failoverRows,
            cost: max(0, answer.cost),
            gap: max(0, answer.gap)
        )
    }
}

extension SolverPolicy {
    /// Places all of batch, up to full load.
    ///
    /// Gateways send every request somewhere. What the solver leaves unplaced above batch's usual cap would follow the
    /// rows all the same, and those lead to the few clusters that are below the cap: with the fleet above it they run
    /// over.
    package static var placingAll: SolverPolicy {
        var policy = SolverPolicy()
        policy.batchCap = policy.fullLoad
        policy.overflowPrice = 60
        return policy
    }
}

extension DigestFrame {
    /// Whether a plan should be made at once, instead of with the next tick: a pool is new, changed its state or lost
    /// endpoints since the frame before.
    package func isAlarming(after before: DigestFrame?) -> Bool {
        guard let before else { return true }
        return self.digests.contains { digest in
            guard let old = before.digests.first(where: { $0.pool == digest.pool }) else { return true }
            return digest.state != old.state || digest.endpointsReady < old.endpointsReady
        }
    }
}

extension ClusterState {
    /// 0 for the state that takes most; of two that are said of a cluster the one with the greater rank counts.
    fileprivate var rank: Int {
        switch self {
        case .active: 0
        case .draining: 1
        case .down: 2
        }
    }
}
