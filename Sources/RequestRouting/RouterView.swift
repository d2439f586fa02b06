package import FleetModel

// What a router says of itself.

extension Router {
    /// Regions none of whose gateways can be used at the moment, sorted.
    package func unreachable(now: Seconds) -> [RegionName] {
        self.peersOf.filter { _, peers in
            peers.allSatisfy { self.peers[$0].health.isEjected(now: now) }
        }.map(\.key).sorted()
    }

    /// Whether a request that comes from a client now has a sound place, here or by the plan in another region.
    package func canRoute(_ pool: PoolName, now: Seconds) -> Bool {
        let at = self.circumstances(.sound, held: nil, now: now)
        return self.pools.first { $0.pool == pool }?.places.contains { place in
            if let local = place.local {
                return local.hasUsable(.sound, now: now, ageMax: self.settings.sampleAgeMax, failed: [])
            }
            return place.isPlanned && place.state == .active && place.peers.contains { at.admits($0, failed: []) }
        } ?? false
    }

    /// The plan that is held, if any.
    package var planHeld: Plan? { self.plan }

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
        self.pools.first { $0.pool == pool }?.places.reduce(0) { sum, place in
            sum + (place.local?.usableCount(now: now, ageMax: self.settings.sampleAgeMax) ?? 0)
        } ?? 0
    }

    /// Endpoints of the own region by pool that are ejected now.
    package func ejectedEndpoints(of pool: PoolName, now: Seconds) -> Int {
        self.pools.first { $0.pool == pool }?.places.reduce(0) { sum, place in
            sum + (place.local?.endpoints.count { $0.health.isEjected(now: now) } ?? 0)
        } ?? 0
    }

    /// The pool of a model server of the own region; `nil` for an address that is none.
    package func pool(of endpoint: EndpointAddress) -> PoolName? {
        self.pools.first { $0.places.contains { $0.local?.index(of: endpoint) != nil } }?.pool
    }

    /// How full a pool is for requests of a band: the work that waits where they would go, over what a cluster holds
    /// back when it is full (``RoutingSettings/fullWait``); 1 is full.
    ///
    /// Weighed by the shares that the request would be drawn from. Unknown is not full: engines judge themselves until
    /// their readings come.
    ///
    /// - Returns: `nil` when no endpoint may be tried at all.
    package mutating func fullness(of request: PickRequest, now: Seconds) -> Double? {
        let pool = self.route(request.pool)
        let at = self.circumstances(.sound, held: nil, now: now)
        guard self.pools[pool].mark(request, at) else {
            let need = self.circumstances(.doubtful, held: nil, now: now)
            return self.pools[pool].mark(request, need) ? 0 : nil
        }
        _ = self.pools[pool].weigh(request, at)
        var (sum, total) = (0.0, 0.0)
        for place in self.pools[pool].places.indices where self.pools[pool].isUsable[place] {
            let weight = request.isHop ? 1 : self.pools[pool].weights[place]
            guard weight > 0 else { continue }
            total += weight
            sum += weight * self.pools[pool].fullness(place, now: now, self.settings)
        }
        return total > 0 ? sum / total : 0
    }
}

extension PoolRoutes {
    /// How full one cluster is: seconds of work that wait over those that make it full, and at least two waiting
    /// requests an endpoint.
    ///
    /// What was sent since the last reading counts once nobody can be sure that it found a seat, and as long as it is
    /// not answered: quick requests come and go between two readings.
    fileprivate func fullness(_ place: Int, now: Seconds, _ settings: RoutingSettings) -> Double {
        let capacity = self.places[place].capacity ?? 0
        let seats = self.places[place].freeSeats
        guard let local = self.places[place].local else {
            guard capacity > 0 else { return 0 }
            let sent = min(self.places[place].sentSince.count, self.places[place].inFlight)
            let queued = self.places[place].waiting + max(0, sent - seats)
            return Double(queued) / max(capacity * settings.fullWait, 2)
        }
        guard now - local.observedAt <= settings.sampleAgeMax else { return 0 }
        let count = local.endpoints.count
        let sent = min(local.unseen, self.places[place].inFlight)
        let unseen = local.waiting > 0 ? sent : max(0, sent - max(seats, Self.seatsPerEndpoint * count))
        return Double(local.waiting + unseen) / max(capacity * settings.fullWait, 2 * Double(count))
    }

    /// Requests that an endpoint at which nobody waits takes between two readings.
    private static let seatsPerEndpoint = 32
}
