package import FleetModel

/// Where each request goes: a gateway's whole mind, as a value.
///
/// The plan says how much; the router says where this one goes. Per request it draws *two* clusters
/// by the plan's weights and takes the one with the lesser wait,
/// `wait(c) = max(0, q_c + own_c − free_c)/μ_c`,
/// where `own_c` is what this gateway has sent there since the digest behind the plan and what is not answered. Distance and
/// unloaded times have no place in it: at the plan's optimum the marginal cost is the same wherever it
/// sends requests, and a second draw that counted them again would pull requests to the nearest cluster.
///
/// Where the first draw would wait, the fleet is short of capacity, and the weights lean by the prompt's length (see
/// ``PoolRoutes/lean(_:strength:smoothing:)``). Where it would wait for more than a second, the plan's weights are late
/// or wrong: the second draw is then one by capacity, among the clusters that were in the row of late, and is judged by
/// its distance and its time for the prompt as well.
///
/// The first draw of a request with a session or a known beginning is its own, by rendezvous hashing. Inside the region
/// it takes the better of two endpoints, and the one where its text or adapter is unless too much more waits there.
/// Nothing here waits, and everything above may be gone: when nothing sound is left, what is doubtful is tried before a
/// request is refused.
///
/// Invariant: every pick is finished exactly once, so ``inFlight`` returns to zero.
package struct Router: Sendable {
    package let region: RegionName
    package let policy: RoutingPolicy
    package let settings: RoutingSettings
    /// The gateways of other regions.
    var peers: [Peer] = []
    private(set) var peersOf: [RegionName: [Int]] = [:]
    private var peerAt: [EndpointAddress: Int] = [:]

    var plan: Plan?
    /// When a hub last said that the plan is in force.
    var confirmedAt: Seconds = -.infinity
    /// Whether any hub has said so since the start.
    var isConfirmed = false
    var pools: [PoolRoutes] = []
    private var poolAt: [PoolName: Int] = [:]
    var roundTrips: [RegionName: Seconds] = [:]
    var affinity = Affinity()
    /// Picks that are not finished; `true` for those that have begun to answer.
    private var open: [UInt64: Bool] = [:]
    private var picksEver: UInt64 = 0
    private var turn = 0
    /// Times that an address was ejected for what this gateway's own requests and probes say of it.
    package private(set) var ejections: UInt64 = 0

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
        self.policy = policy
        self.settings = settings
        for (region, addresses) in peers.sorted(by: { $0.key < $1.key }) {
            for address in addresses {
                self.peerAt[address] = self.peers.count
                self.peersOf[region, default: []].append(self.peers.count)
                self.peers.append(Peer(address: address, name: TextHash.of(address.description)))
            }
        }
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
        let before = self.plan
        self.plan = plan
        for name in Set(plan.pools.map(\.pool)).union(self.poolAt.keys).sorted() {
            let pool = self.route(name)
            self.lay(pool)
            self.pools[pool].noteRows(now: now)
            let known = before?[name]?.clusters ?? []
            for cluster in plan[name]?.clusters ?? [] where !known.contains(where: { $0.frame == cluster.frame }) {
                guard let place = self.pools[pool].index(of: cluster.name) else { continue }
                let seen = now - self.settings.digestDelay - (self.roundTrips[cluster.region] ?? 0) / 2
                self.pools[pool].places[place].sentSince.removeAll { $0 <= seen }
            }
        }
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
    package mutating func observe(_ batch: SampleBatch, now: Seconds) {
        guard batch.region == self.region else { return }
        let pool = self.route(batch.pool)
        if self.pools[pool].index(of: batch.cluster) == nil { self.lay(pool, adding: batch.cluster) }
        guard let place = self.pools[pool].index(of: batch.cluster) else { return }
        if self.pools[pool].places[place].local == nil { self.pools[pool].places[place].local = LocalCluster() }
        self.pools[pool].places[place].local?.observe(batch.samples, now: now, ageMax: self.settings.sampleAgeMax)
    }

    /// Takes the result of a probe of another region's gateway: the round trip, or `nil` for no answer.
    package mutating func probed(_ region: RegionName, _ address: EndpointAddress, roundTrip: Seconds?, now: Seconds) {
        guard let peer = self.peerAt[address] else { return }
        guard let roundTrip else {
            if !self.peers[peer].health.isEjected(now: now) { self.ejections += 1 }
            return self.peers[peer].health.probeFailed(now: now)
        }
        self.peers[peer].health.succeeded(now: now)
        // The least of the recent ones, rising slowly: waiting adds to a round trip, never takes from it.
        let before = self.roundTrips[region]
        let trip = before.map { min(roundTrip, $0 + 0.05 * max(0, roundTrip - $0)) } ?? roundTrip
        self.roundTrips[region] = trip
        for pool in self.pools.indices {
            for place in self.pools[pool].places.indices where self.pools[pool].places[place].region == region {
                self.pools[pool].places[place].distance = trip
            }
        }
    }

    /// The index of a pool's routes, which are laid when it is new.
    mutating func route(_ name: PoolName) -> Int {
        // Most gateways have few pools, and comparing names costs less than hashing one.
        for index in self.pools.indices.prefix(4) where self.pools[index].pool == name { return index }
        if let pool = self.poolAt[name] { return pool }
        self.poolAt[name] = self.pools.count
        self.pools.append(PoolRoutes(pool: name))
        self.lay(self.pools.count - 1)
        return self.pools.count - 1
    }

    private mutating func lay(_ pool: Int, adding cluster: ClusterName? = nil) {
        let (peersOf, roundTrips) = (self.peersOf, self.roundTrips)
        self.pools[pool].lay(
            plan: self.plan?[self.pools[pool].pool],
            source: self.region,
            adding: cluster,
            peers: { peersOf[$0] ?? [] },
            unplanned: peersOf.keys.sorted(),
            // A region that was never reached counts as the far side of the world.
            distance: { roundTrips[$0] ?? 0.3 }
        )
    }

    // MARK: What the router decides

    /// Chooses for one request.
    ///
    /// What is sound comes first, everywhere that the plan allows; then what is doubtful, the least loaded of it; and
    /// for a request of this region's own clients even what has failed it, as another try costs less than a refusal.
    ///
    /// - Throws: ``PickRefusal`` when nothing may take it.
    package mutating func pick(
        _ request: PickRequest,
        now: Seconds,
        using dice: inout some RandomNumberGenerator
    ) throws(PickRefusal) -> Pick {
        let pool = self.route(request.pool)
        let held = self.held(request, pool, now: now)
        let heldPlace = held.flatMap { self.pools[pool].index(named: $0.cluster) }
        // Another gateway's request is refused rather than tried twice: its sender knows other places.
        for need in Need.allCases where need != .last || !request.isHop {
            let at = self.circumstances(need, held: heldPlace, now: now)
            guard let (place, reason) = self.place(pool, request, at, held, using: &dice),
                let (target, isWarm) = self.target(pool, place, request, at, held, using: &dice)
            else { continue }
            return self.close(request, pool, place, target, isWarm, reason, need, now: now)
        }
        throw .noEndpoints
    }

    private mutating func close(
        _ request: PickRequest,
        _ pool: Int,
        _ place: Int,
        _ target: Target,
        _ isWarm: Bool,
        _ reason: PickReason,
        _ need: Need,
        now: Seconds
    ) -> Pick {
        self.picksEver += 1
        if !request.isHop { self.pools[pool].prompts.add(request.promptTokens) }
        let pick = Pick(
            id: self.picksEver,
            pool: request.pool,
            band: request.band,
            cluster: self.pools[pool].places[place].name,
            region: self.pools[pool].places[place].region,
            target: self.address(target),
            isRemote: target.isPeer,
            reason: reason,
            promptTokens: self.settings.countsUnbegunPrompts ? request.promptTokens : 0,
            isWarm: isWarm,
            need: need,
            hint: Pick.Hint(pool: pool, place: place, endpoint: target.endpoint ?? 0)
        )
        self.open[pick.id] = false
        if case .endpoint(let index, _) = target {
            self.pools[pool].places[place].local?.sent(to: index, promptTokens: pick.promptTokens, now: now)
        }
        self.remember(request, pool, place, target, now: now)
        // Bounded when no plan comes any more: what is that old has long shown elsewhere.
        if self.pools[pool].places[place].sentSince.count >= 4_096 {
            self.pools[pool].places[place].sentSince.removeFirst(2_048)
        }
        self.pools[pool].places[place].sentSince.append(now)
        self.pools[pool].places[place].inFlight += 1
        return pick
    }

    /// The server of a pick says how loaded it is, beside its answer.
    ///
    /// What comes through another gateway is of an endpoint that is not ours to choose.
    package mutating func reported(_ load: ReportedLoad, by pick: Pick, now: Seconds) {
        guard !pick.isRemote, let (pool, place) = self.find(pick) else { return }
        self.pools[pool].places[place].local?.reported(load, by: pick.target, now: now)
    }

    /// The first token of a pick's answer is out: its prompt is no work any more.
    package mutating func began(_ pick: Pick) {
        guard self.open[pick.id] == false else { return }
        self.open[pick.id] = true
        guard !pick.isRemote, pick.promptTokens > 0, let (pool, place) = self.find(pick) else { return }
        self.pools[pool].places[place].local?.began(
            at: pick.target,
            pick.hint.endpoint,
            promptTokens: pick.promptTokens
        )
    }

    /// Ends a pick; a second end of the same pick is ignored.
    package mutating func finished(_ pick: Pick, _ outcome: PickOutcome, now: Seconds) {
        guard self.open[pick.id] != nil else { return }
        self.began(pick)
        self.open[pick.id] = nil
        if let (pool, place) = self.find(pick) {
            let left = self.pools[pool].places[place].inFlight - 1
            self.pools[pool].places[place].inFlight = max(0, left)
        }
        var isEjected = false
        func judge(_ health: inout TargetHealth) {
            let wasEjected = health.isEjected(now: now)
            defer { isEjected = !wasEjected && health.isEjected(now: now) }
            switch outcome {
            case .answered: health.succeeded(now: now)
            case .errored: health.errored(now: now)
            case .failed: health.failed(now: now)
            case .cancelled: break
            }
        }
        if pick.isRemote {
            if let peer = self.peerAt[pick.target] { judge(&self.peers[peer].health) }
        } else if let (pool, place) = self.find(pick) {
            self.pools[pool].places[place].local?.judge(pick.target, pick.hint.endpoint, judge)
        }
        if isEjected { self.ejections += 1 }
    }

    private func find(_ pick: Pick) -> (pool: Int, place: Int)? {
        // Pools stay where they are; places are laid out anew with each plan.
        let (pool, place) = (pick.hint.pool, pick.hint.place)
        if place < self.pools[pool].places.count, self.pools[pool].places[place].name == pick.cluster {
            return (pool, place)
        }
        return self.pools[pool].index(of: pick.cluster).map { (pool, $0) }
    }

    /// The next turn of a policy that goes round.
    mutating func nextTurn() -> Int {
        self.turn += 1
        return self.turn
    }
}
