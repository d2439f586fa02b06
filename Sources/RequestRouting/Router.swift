package import FleetModel

/// Where each request goes: a gateway's whole mind, as a value.
///
/// The plan says how much; the router says where this one goes. Per request it draws *two* clusters
/// by the plan's weights and takes the one with the lesser wait,
/// `wait(c) = max(0, q_c + own_c − free_c)/μ_c`,
/// where `own_c` is what this gateway has sent there since the digest behind the plan. Distance and
/// unloaded times have no place in it: at the plan's optimum the marginal cost is the same wherever it
/// sends requests, and a second draw that counted them again would pull requests to the nearest cluster.
///
/// The first draw of a request with a session is the session's own, by rendezvous hashing, and stands
/// unless the other waits less by more than an unloaded time to first token: about what a cached
/// prompt saves. Inside the region it takes the better of two endpoints, with the same for sessions.
/// Nothing here waits, and everything above may be gone.
///
/// Invariant: every pick is finished exactly once, so ``inFlight`` returns to zero.
package struct Router: Sendable {
    package let region: RegionName
    package let policy: RoutingPolicy
    package let settings: RoutingSettings
    let peers: [RegionName: [EndpointAddress]]

    var plan: Plan?
    /// When a hub last said that the plan is in force.
    var confirmedAt: Seconds = -.infinity
    /// Whether any hub has said so since the start.
    private var isConfirmed = false
    var local: [PoolName: [ClusterName: LocalCluster]] = [:]
    var health: [EndpointAddress: TargetHealth] = [:]
    var roundTrips: [RegionName: Seconds] = [:]
    /// When this gateway sent requests that the plan's digests cannot know of.
    var sentSince: [PoolName: [ClusterName: [Seconds]]] = [:]
    /// Picks that are not finished; `true` for those that have begun to answer.
    private var open: [UInt64: Bool] = [:]
    private var picksEver: UInt64 = 0
    private var turn = 0

    /// - Parameters:
    ///   - region: Where this gateway stands.
    ///   - peers: The gateways of other regions.
    ///   - policy: How clusters are chosen.
    ///   - settings: The limits.
    package init(
        region: RegionName,
        peers: [RegionName: [EndpointAddress]],
        policy: RoutingPolicy = .ours,
        settings: RoutingSettings = RoutingSettings()
    ) {
        self.region = region
        self.peers = peers
        self.policy = policy
        self.settings = settings
    }

    /// Picks that are not finished.
    package var inFlight: Int { self.open.count }

    // MARK: What the router hears

    /// Takes a plan that has passed the fence.
    ///
    /// - Parameters:
    ///   - plan: The plan.
    ///   - confirmed: `false` for a plan from the disk, which no hub has confirmed.
    ///   - now: The gateway's clock.
    package mutating func adopt(_ plan: Plan, confirmed: Bool = true, now: Seconds) {
        for pool in plan.pools {
            let before = self.plan?[pool.pool]?.clusters ?? []
            for cluster in pool.clusters where !before.contains(where: { $0.frame == cluster.frame }) {
                let seen = now - self.settings.digestDelay - (self.roundTrips[cluster.region] ?? 0) / 2
                self.sentSince[pool.pool]?[cluster.name]?.removeAll { $0 <= seen }
            }
        }
        self.plan = plan
        // A plan from the disk is trusted for one time to live from the start, as if confirmed then: nobody can say
        // how long it lay there, and a gateway that starts alone is no worse informed than one that went on alone.
        self.confirmedAt = now
        self.isConfirmed = confirmed
    }

    /// A hub says that the plan held is in force.
    package mutating func confirm(now: Seconds) {
        self.confirmedAt = now
        self.isConfirmed = true
    }

    /// Takes an agent's newest readings.
    package mutating func observe(_ batch: SampleBatch) {
        guard batch.region == self.region else { return }
        self.local[batch.pool, default: [:]][batch.cluster, default: LocalCluster()].observe(batch.samples)
    }

    /// Regions none of whose gateways can be used at the moment, sorted.
    package func unreachable(now: Seconds) -> [RegionName] {
        self.peers.filter { _, addresses in
            addresses.allSatisfy { self.health[$0]?.isEjected(now: now) == true }
        }.map(\.key).sorted()
    }

    /// The measured round trip to each region, in seconds.
    package var measuredRoundTrips: [RegionName: Seconds] { self.roundTrips }

    /// The version of the plan in use, and how long ago a hub last confirmed it, in seconds.
    ///
    /// The time is `nil` for a plan from the disk that no hub has confirmed.
    package func planInUse(now: Seconds) -> (version: PlanVersion, unconfirmedFor: Seconds?)? {
        self.plan.map { ($0.version, self.isConfirmed ? now - self.confirmedAt : nil) }
    }

    /// Endpoints of the own region by pool that may take a request now.
    package func usableEndpoints(of pool: PoolName, now: Seconds) -> Int {
        (self.local[pool] ?? [:]).values.reduce(0) { sum, cluster in
            sum
                + cluster.usable(now: now, ageMax: self.settings.sampleAgeMax) {
                    self.health[$0]?.isEjected(now: now) == true
                }.count
        }
    }

    /// Whether a request that comes from a client now would be given a target, here or in another region.
    package func canRoute(_ pool: PoolName, now: Seconds) -> Bool {
        !self.usableClusters(for: PickRequest(pool: pool, band: .standard), now: now).isEmpty
    }

    /// Takes the result of a probe of another region's gateway: the round trip, or `nil` for no answer.
    package mutating func probed(_ region: RegionName, _ address: EndpointAddress, roundTrip: Seconds?, now: Seconds) {
        guard let roundTrip else {
            self.health[address, default: TargetHealth()].probeFailed(now: now)
            return
        }
        self.health[address, default: TargetHealth()].succeeded()
        // The least of the recent ones, rising slowly: waiting adds to a round trip, never takes from it.
        let before = self.roundTrips[region]
        self.roundTrips[region] = before.map { min(roundTrip, $0 + 0.05 * max(0, roundTrip - $0)) } ?? roundTrip
    }

    // MARK: What the router decides

    /// Chooses for one request.
    ///
    /// - Throws: ``PickRefusal`` when nothing may take it.
    package mutating func pick(
        _ request: PickRequest,
        now: Seconds,
        using dice: inout some RandomNumberGenerator
    ) throws(PickRefusal) -> Pick {
        let choice = self.cluster(for: request, now: now, using: &dice)
        guard let (cluster, reason) = choice,
            let target = self.target(in: cluster, request, now: now, using: &dice)
        else { throw .noEndpoints }
        let isRemote = self.local[request.pool]?[cluster] == nil
        self.picksEver += 1
        let pick = Pick(
            id: self.picksEver,
            pool: request.pool,
            band: request.band,
            cluster: cluster,
            region: self.regionOf(cluster, pool: request.pool),
            target: target,
            isRemote: isRemote,
            reason: reason,
            promptTokens: self.settings.countsUnbegunPrompts ? request.promptTokens : 0
        )
        self.open[pick.id] = false
        self.local[request.pool]?[cluster]?.sent(to: target, promptTokens: pick.promptTokens, now: now)
        self.remember(cluster, pool: request.pool, now: now)
        return pick
    }

    /// The first token of a pick's answer is out: its prompt is no work any more.
    package mutating func began(_ pick: Pick) {
        guard self.open[pick.id] == false else { return }
        self.open[pick.id] = true
        self.local[pick.pool]?[pick.cluster]?.began(at: pick.target, promptTokens: pick.promptTokens)
    }

    /// Ends a pick; a second end of the same pick is ignored.
    package mutating func finished(_ pick: Pick, _ outcome: PickOutcome, now: Seconds) {
        guard self.open[pick.id] != nil else { return }
        self.began(pick)
        self.open[pick.id] = nil
        switch outcome {
        case .answered: self.health[pick.target, default: TargetHealth()].succeeded()
        case .failed: self.health[pick.target, default: TargetHealth()].failed(now: now)
        case .cancelled: break
        }
    }

    private mutating func remember(_ cluster: ClusterName, pool: PoolName, now: Seconds) {
        var sent = self.sentSince[pool]?[cluster] ?? []
        // Bounded when no plan comes any more: what is that old has long shown elsewhere.
        if sent.count >= 4_096 { sent.removeFirst(2_048) }
        sent.append(now)
        self.sentSince[pool, default: [:]][cluster] = sent
    }

    // MARK: Choosing a cluster

    private mutating func cluster(
        for request: PickRequest,
        now: Seconds,
        using dice: inout some RandomNumberGenerator
    ) -> (ClusterName, PickReason)? {
        let usable = self.usableClusters(for: request, now: now)
        if request.isHop {
            // The sender's choice, or, when that cluster is gone, another one of this region.
            if let asked = request.cluster, usable.contains(asked) { return (asked, .hop) }
            return usable.first.map { ($0, .hop) }
        }
        guard !usable.isEmpty else { return nil }
        switch self.policy {
        case .nearest:
            return usable.min { self.distance($0, request.pool) < self.distance($1, request.pool) }
                .map { ($0, .policy) }
        case .roundRobin:
            self.turn += 1
            return (usable[self.turn % usable.count], .policy)
        case .ours:
            let (weights, reason) = self.weights(for: request, usable: usable, now: now)
            let session = self.settings.keepsSessions ? request.session : nil
            guard let first = self.home(of: session, weights) ?? draw(weights, using: &dice) else { return nil }
            var best = first
            for _ in 1..<max(1, self.settings.draws) {
                guard let other = draw(weights, using: &dice), other != best else { continue }
                let waits = [other, best].map { self.wait(in: $0, request.pool, now: now) }
                let isWarm = session != nil && best == first
                let saved = isWarm ? self.unloadedTTFT(best, request.pool) : 0
                if waits[0] + saved < waits[1] { best = other }
            }
            return (best, reason)
        }
    }

    /// The clusters that can take this request, sorted by name.
    func usableClusters(for request: PickRequest, now: Seconds) -> [ClusterName] {
        let sound = self.clusters(for: request, now: now) { self.isRejected($0, request, now: now) }
        // Everything is ejected: an address that may fail is better than a certain refusal.
        return sound.isEmpty ? self.clusters(for: request, now: now) { request.failed.contains($0) } : sound
    }

    private func clusters(
        for request: PickRequest,
        now: Seconds,
        rejecting isRejected: (EndpointAddress) -> Bool
    ) -> [ClusterName] {
        let local = (self.local[request.pool] ?? [:]).filter { _, cluster in
            !cluster.usable(now: now, ageMax: self.settings.sampleAgeMax, rejecting: isRejected).isEmpty
        }.map(\.key)
        guard !request.isHop else { return local.sorted() }
        let remote = (self.plan?[request.pool]?.clusters ?? []).filter { cluster in
            cluster.state == .active && cluster.region != self.region
                && (self.peers[cluster.region] ?? []).contains { !isRejected($0) }
        }.map(\.name)
        return (local + remote).sorted()
    }

    private func isRejected(_ address: EndpointAddress, _ request: PickRequest, now: Seconds) -> Bool {
        request.failed.contains(address) || self.health[address]?.isEjected(now: now) == true
    }

    /// The shares for this request, and what they come from.
    func weights(
        for request: PickRequest,
        usable: [ClusterName],
        now: Seconds
    ) -> ([ClusterName: Double], PickReason) {
        let local = usable.filter { self.local[request.pool]?[$0] != nil }
        guard let plan = self.plan, let pool = plan[request.pool],
            let row = pool.weights(from: self.region, band: request.band)
        else {
            let even = local.isEmpty ? usable : local
            return (Dictionary(uniqueKeysWithValues: even.map { ($0, 1 / Double(even.count)) }), .unplanned)
        }
        let lost = Set(row.filter { $0.value > 0 }.keys).subtracting(usable)
        var weights = row
        var reason = PickReason.plan
        if let one = lost.first {
            reason = .failover
            // The rows solved for one loss fit the largest one; what else is lost shares out in proportion.
            let largest = lost.max { (row[$0] ?? 0, $1) < (row[$1] ?? 0, $0) } ?? one
            weights = without(
                lost,
                pool.weights(from: self.region, band: request.band, lost: largest) ?? row
            )
        }
        let overdue = now - self.confirmedAt - plan.timeToLive
        if overdue > 0 {
            reason = .decayed
            weights = decayed(
                weights,
                overdue: overdue,
                timeToLive: plan.timeToLive,
                isLocal: { local.contains($0) },
                roundTrip: { self.distance($0, request.pool) }
            )
        }
        if without(lost, weights).isEmpty {
            return (Dictionary(uniqueKeysWithValues: usable.map { ($0, 1 / Double(usable.count)) }), reason)
        }
        return (weights, reason)
    }

    /// The cluster where a session's text is.
    private func home(of session: UInt64?, _ weights: [ClusterName: Double]) -> ClusterName? {
        session.flatMap { session in
            Rendezvous.choose(session, among: weights.lazy.map { (place: $0.key, name: $0.key.text, weight: $0.value) })
        }
    }

    private func unloadedTTFT(_ cluster: ClusterName, _ pool: PoolName) -> Seconds {
        self.plan?[pool]?.clusters.first { $0.name == cluster }?.unloadedTTFT ?? 0
    }

    /// What a request would wait in a cluster before it begins, in seconds.
    func wait(in cluster: ClusterName, _ pool: PoolName, now: Seconds) -> Seconds {
        let known = self.plan?[pool]?.clusters.first { $0.name == cluster }
        let waiting =
            self.local[pool]?[cluster]?.waiting(now: now, ageMax: self.settings.sampleAgeMax) ?? known?.waiting ?? 0
        let own = self.settings.countsOwnDispatches ? self.sentSince[pool]?[cluster]?.count ?? 0 : 0
        let queued = Double(max(0, waiting + own - (known?.freeSeats ?? 0)))
        // Of unknown capacity: as if each request ahead took a second, so that the known are preferred.
        return queued / max(known?.capacity ?? 1, 0.001)
    }

    private func distance(_ cluster: ClusterName, _ pool: PoolName) -> Seconds {
        let region = self.regionOf(cluster, pool: pool)
        // A region that was never reached counts as the far side of the world.
        return region == self.region ? 0 : self.roundTrips[region] ?? 0.3
    }

    private func regionOf(_ cluster: ClusterName, pool: PoolName) -> RegionName {
        self.plan?[pool]?.clusters.first { $0.name == cluster }?.region ?? self.region
    }

    // MARK: Choosing an address

    private func target(
        in cluster: ClusterName,
        _ request: PickRequest,
        now: Seconds,
        using dice: inout some RandomNumberGenerator
    ) -> EndpointAddress? {
        let isRejected = { self.isRejected($0, request, now: now) }
        if let local = self.local[request.pool]?[cluster] {
            let ageMax = self.settings.sampleAgeMax
            let sound = local.usable(now: now, ageMax: ageMax, rejecting: isRejected)
            let some =
                sound.isEmpty
                ? local.usable(now: now, ageMax: ageMax) { request.failed.contains($0) } : sound
            let chosen = local.choose(from: some, now: now, ageMax: ageMax, using: &dice)
            guard let session = request.session, self.settings.keepsSessions, let chosen else { return chosen }
            return local.home(
                of: session,
                from: some,
                insteadOf: chosen,
                request.promptTokens,
                now: now,
                ageMax: ageMax
            )
        }
        let peers = self.peers[self.regionOf(cluster, pool: request.pool)] ?? []
        let sound = peers.filter { !isRejected($0) }
        return (sound.isEmpty ? peers.filter { !request.failed.contains($0) } : sound).randomElement(using: &dice)
    }
}
