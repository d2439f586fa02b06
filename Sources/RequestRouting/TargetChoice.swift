import FleetModel

/// Where in a cluster a request goes.
enum Target: Hashable {
    /// An index of ``LocalCluster/endpoints``.
    case endpoint(Int, EndpointAddress)
    /// An index of ``Router/peers``.
    case peer(Int)

    var isPeer: Bool { if case .peer = self { true } else { false } }

    var endpoint: Int? { if case .endpoint(let index, _) = self { index } else { nil } }
}

extension Router {
    func circumstances(_ need: Need, held: Int?, now: Seconds) -> Circumstances {
        let timeToLive = self.plan?.timeToLive ?? 0
        return Circumstances(
            region: self.region,
            settings: self.settings,
            peers: self.peers,
            need: need,
            now: now,
            overdue: self.plan == nil ? 0 : now - self.confirmedAt - timeToLive,
            timeToLive: timeToLive,
            held: held
        )
    }

    // MARK: Memory

    /// Where the request's session, conversation or adapter was sent last.
    func held(_ request: PickRequest, _ pool: Int, now: Seconds) -> Affinity.Place? {
        guard self.settings.keepsSessions, let key = Self.key(request, pool) else { return nil }
        return self.affinity.find(key, now: now)
    }

    mutating func remember(_ request: PickRequest, _ pool: Int, _ place: Int, _ target: Target, now: Seconds) {
        guard self.settings.keepsSessions, let key = Self.key(request, pool) else { return }
        let isText = request.session != nil || request.prefix != nil
        let name =
            switch target {
            case .endpoint(let index, _): self.pools[pool].places[place].local?.names[index] ?? 0
            case .peer(let index): self.peers[index].name
            }
        self.affinity.remember(
            Affinity.Place(
                key: key,
                cluster: self.pools[pool].names[place],
                target: name,
                tokens: Int32(isText ? request.promptTokens : self.settings.adapterTokens),
                at: now
            )
        )
    }

    /// What is remembered: the session, or the text that the conversation begins with, or the adapter.
    private static func key(_ request: PickRequest, _ pool: Int) -> UInt64? {
        guard let key = request.session ?? request.prefix ?? request.adapter else { return nil }
        return TextHash.mixed(key ^ UInt64(pool &+ 1))
    }

    // MARK: Choosing a cluster

    mutating func place(
        _ pool: Int,
        _ request: PickRequest,
        _ at: Circumstances,
        _ held: Affinity.Place?,
        using dice: inout some RandomNumberGenerator
    ) -> (Int, PickReason)? {
        guard self.pools[pool].mark(request, at) else { return nil }
        if request.isHop { return self.hop(pool, request, at) }
        if let held = at.held, self.pools[pool].places[held].state == .draining, at.need == .sound,
            self.pools[pool].isUsable[held]
        {
            return (held, .existing)
        }
        let routes = self.pools[pool].places.indices
        switch self.policy {
        case .nearest:
            var best: Int?
            for place in routes where self.pools[pool].isUsable[place] {
                let distance = self.pools[pool].places[place].distance
                if best.map({ distance < self.pools[pool].places[$0].distance }) ?? true { best = place }
            }
            return best.map { ($0, .policy) }
        case .roundRobin:
            let usable = routes.filter { self.pools[pool].isUsable[$0] }
            return (usable[self.nextTurn() % usable.count], .policy)
        case .ours:
            let reason = self.pools[pool].weigh(request, at)
            return self.pools[pool].draw(request, at, held: held, using: &dice).map { ($0, reason) }
        }
    }

    /// The sender's choice, or, when that cluster is gone, the one of this region with the least wait.
    private func hop(_ pool: Int, _ request: PickRequest, _ at: Circumstances) -> (Int, PickReason)? {
        if let asked = request.cluster, let place = self.pools[pool].index(of: asked),
            self.pools[pool].isUsable[place]
        {
            return (place, .hop)
        }
        var best: (place: Int, wait: Seconds)?
        for place in self.pools[pool].places.indices where self.pools[pool].isUsable[place] {
            let wait = self.pools[pool].wait(in: place, now: at.now, self.settings)
            if wait < best?.wait ?? .infinity { best = (place, wait) }
        }
        return best.map { ($0.place, .hop) }
    }

    // MARK: Choosing an address

    /// The target in a cluster, and whether it has served the request's session, conversation or adapter before.
    mutating func target(
        _ pool: Int,
        _ place: Int,
        _ request: PickRequest,
        _ at: Circumstances,
        _ held: Affinity.Place?,
        using dice: inout some RandomNumberGenerator
    ) -> (Target, Bool)? {
        guard self.pools[pool].places[place].local != nil else {
            return self.peer(pool, place, request, at, held, using: &dice).map { (.peer($0), at.held == place) }
        }
        return self.pools[pool].places[place].local?.target(request, at, held, at.held == place, using: &dice)
    }

    private func peer(
        _ pool: Int,
        _ place: Int,
        _ request: PickRequest,
        _ at: Circumstances,
        _ held: Affinity.Place?,
        using dice: inout some RandomNumberGenerator
    ) -> Int? {
        let peers = self.pools[pool].places[place].peers
        if at.held == place, let held,
            let known = peers.first(where: { self.peers[$0].name == held.target }),
            at.admits(known, failed: request.failed)
        {
            return known
        }
        guard !peers.isEmpty else { return nil }
        let start = dice.index(below: peers.count)
        for step in peers.indices {
            let peer = peers[(start + step) % peers.count]
            if at.admits(peer, failed: request.failed) { return peer }
        }
        return nil
    }

    func address(_ target: Target) -> EndpointAddress {
        switch target {
        case .peer(let index): self.peers[index].address
        case .endpoint(_, let address): address
        }
    }
}

extension LocalCluster {
    /// The endpoint for a request, and whether it has served its session, conversation or adapter before.
    ///
    /// Where the text is comes first: the endpoint that served it last, or else the one that rendezvous hashing names,
    /// so that gateways of one region agree without asking each other.
    fileprivate func target(
        _ request: PickRequest,
        _ at: Circumstances,
        _ held: Affinity.Place?,
        _ isHere: Bool,
        using dice: inout some RandomNumberGenerator
    ) -> (Target, Bool)? {
        let (now, ageMax, failed) = (at.now, at.settings.sampleAgeMax, request.failed)
        guard let chosen = self.choose(at.need, now: now, ageMax: ageMax, failed: failed, using: &dice) else {
            return nil
        }
        func result(_ index: Int, isWarm: Bool) -> (Target, Bool) {
            (.endpoint(index, self.endpoints[index].address), isWarm)
        }
        guard at.settings.keepsSessions, let key = request.session ?? request.prefix ?? request.adapter else {
            return result(chosen, isWarm: false)
        }
        let known = isHere ? held.flatMap { self.index(named: $0.target) } : nil
        guard let home = known ?? Rendezvous.choose(key, among: self.names),
            self.admits(home, at.need, now: now, ageMax: ageMax, failed: failed),
            known != nil || self.takesAll(home, now: now, using: &dice)
        else { return result(chosen, isWarm: false) }
        // A client that names a session says that its text is there; else what this gateway sent is.
        let worth = request.session != nil ? request.promptTokens : known == nil ? 0 : Int(held?.tokens ?? 0)
        let index = self.warm(
            home,
            insteadOf: chosen,
            worth: min(worth, at.settings.warmTokensMax),
            now: now,
            ageMax: ageMax
        )
        return result(index, isWarm: index == known)
    }

    /// Whether an endpoint that has just begun takes this request as well.
    private func takesAll(_ index: Int, now: Seconds, using dice: inout some RandomNumberGenerator) -> Bool {
        let share = self.endpoints[index].health.share(now: now)
        return share >= 1 || dice.number(below: 1) < share
    }
}
