import FleetModel

/// What a choice between clusters goes by, beside the pool's own routes.
struct Circumstances {
    let region: RegionName
    let settings: RoutingSettings
    let peers: [Peer]
    let need: Need
    let now: Seconds
    /// How long the plan is past its time to live, and how long that is; not above zero while it holds.
    let overdue: Seconds
    let timeToLive: Seconds
    /// The place where this session or conversation was served last.
    let held: Int?
}

/// A gateway of another region.
struct Peer: Sendable {
    let address: EndpointAddress
    /// ``TextHash`` of the address.
    let name: UInt64
    var health = TargetHealth()
}

extension PoolRoutes {
    /// Notes for every place whether it may take the request.
    ///
    /// - Returns: Whether any may.
    mutating func mark(_ request: PickRequest, _ at: Circumstances) -> Bool {
        var some = false
        for index in self.places.indices {
            let isUsable = self.admits(index, request, at)
            self.isUsable[index] = isUsable
            some = some || isUsable
        }
        return some
    }

    private func admits(_ index: Int, _ request: PickRequest, _ at: Circumstances) -> Bool {
        let isLocal = self.places[index].local != nil
        if request.isHop, !isLocal { return false }
        switch (self.places[index].state, at.need) {
        case (.active, _), (_, .last), (.draining, .doubtful): break
        // A drained cluster keeps the sessions that it has; another gateway's choice means one of them.
        case (.draining, .sound):
            guard at.held == index || request.cluster == self.places[index].name else { return false }
        // What a plan says of a cluster that this gateway can see is older than what it sees.
        case (.down, .sound), (.down, .doubtful): guard isLocal else { return false }
        }
        if let local = self.places[index].local {
            return local.hasUsable(at.need, now: at.now, ageMax: at.settings.sampleAgeMax, failed: request.failed)
        }
        if !self.places[index].isPlanned, at.need == .sound, self.hasLocal(usable: request, at) { return false }
        return self.places[index].peers.contains { at.admits($0, failed: request.failed) }
    }

    private func hasLocal(usable request: PickRequest, _ at: Circumstances) -> Bool {
        self.places.contains {
            $0.local?.hasUsable(.sound, now: at.now, ageMax: at.settings.sampleAgeMax, failed: request.failed) ?? false
        }
    }

    /// Makes the weights of a request, over the places that were marked as usable.
    ///
    /// - Returns: What they come from.
    mutating func weigh(_ request: PickRequest, _ at: Circumstances) -> PickReason {
        guard let row = self.rows[request.band.rank] else {
            self.shareEvenly()
            return at.need == .sound ? .unplanned : .panic
        }
        var reason = PickReason.plan
        var lost: Int?
        for index in row.indices where row[index] > 0 && !self.isUsable[index] {
            // The rows solved for one loss fit the largest one; what else is lost shares out in proportion.
            if lost.map({ row[index] > row[$0] }) ?? true { lost = index }
        }
        for index in row.indices { self.weights[index] = row[index] }
        if let lost {
            reason = .failover
            if let rescue = self.failoverRow(from: at.region, band: request.band, lost: lost) {
                for index in rescue.indices { self.weights[index] = rescue[index] }
            }
        }
        for index in self.weights.indices where !self.isUsable[index] { self.weights[index] = 0 }
        if at.overdue > 0 {
            reason = .decayed
            var weights: [Double] = []
            swap(&weights, &self.weights)
            decay(
                &weights,
                overdue: at.overdue,
                timeToLive: at.timeToLive,
                isLocal: { self.places[$0].local != nil },
                roundTrip: { self.places[$0].distance }
            )
            swap(&weights, &self.weights)
        }
        if !self.weights.contains(where: { $0 > 0 }) { self.shareEvenly() }
        return at.need == .sound ? reason : .panic
    }

    /// Without shares from a plan: evenly over the own region, or over all when nothing is left there.
    private mutating func shareEvenly() {
        let hasLocal = self.places.indices.contains { self.isUsable[$0] && self.places[$0].local != nil }
        for index in self.places.indices {
            let counts = self.isUsable[index] && (!hasLocal || self.places[index].local != nil)
            self.weights[index] = counts ? 1 : 0
        }
    }

    /// What a request would wait in a cluster before it begins, in seconds.
    func wait(in index: Int, now: Seconds, _ settings: RoutingSettings) -> Seconds {
        var waiting = self.places[index].waiting
        if let local = self.places[index].local {
            waiting = now - local.observedAt <= settings.sampleAgeMax ? local.waiting : 0
        }
        // What has been answered waits no longer, however young the digest is.
        let sent = min(self.places[index].sentSince.count, self.places[index].inFlight)
        let own = settings.countsOwnDispatches ? sent : 0
        let queued = Double(max(0, waiting + own - self.places[index].freeSeats))
        // Of unknown capacity: as if each request ahead took a second, so that the known are preferred.
        return queued / max(self.places[index].capacity ?? 1, 0.001)
    }

    /// The wait in a cluster of known capacity, in seconds; none where it is unknown: a cluster that has yet to learn
    /// what it can do needs its requests.
    private func knownWait(in index: Int, _ at: Circumstances) -> Seconds {
        self.places[index].capacity == nil ? 0 : self.wait(in: index, now: at.now, at.settings)
    }

    /// The place for a request, of those with a weight.
    ///
    /// Two draws, of which the one with the lesser wait is taken. The first draw of a session or conversation is its
    /// own, by rendezvous hashing, and stands unless the other is better by more than its prompt's time: about what a
    /// cached prompt saves.
    mutating func draw(
        _ request: PickRequest,
        _ at: Circumstances,
        held: Affinity.Place?,
        using dice: inout some RandomNumberGenerator
    ) -> Int? {
        let key = at.settings.keepsSessions ? request.session ?? request.prefix : nil
        var home = self.home(of: key)
        guard var first = home ?? RequestRouting.draw(self.weights, using: &dice) else { return nil }
        if at.settings.weighsPrompts, request.promptTokens > 0 {
            let queue = self.knownWait(in: first, at)
            if queue > 0 {
                let strength = min(1, queue / max(at.settings.reliefWait, 1e-3))
                self.lean(request.promptTokens, strength: strength, smoothing: at.settings.promptSmoothing)
                home = self.home(of: key)
                first = home ?? RequestRouting.draw(self.weights, using: &dice) ?? first
            }
        }
        var best = first
        for _ in 1..<max(1, at.settings.draws) {
            let isRelief = self.knownWait(in: best, at) > at.settings.reliefWait
            if isRelief { self.shareByCapacity(at) }
            let drawn = RequestRouting.draw(isRelief ? self.relief : self.weights, using: &dice)
            guard let other = drawn, other != best else { continue }
            let saved = best == home ? self.saved(in: best, request, at, held: held) : 0
            if self.isBetter(other, than: best, by: saved, request, isRelief: isRelief, at) { best = other }
        }
        return best
    }

    private func home(of key: UInt64?) -> Int? {
        key.flatMap { Rendezvous.choose($0, among: self.names, weights: self.weights) }
    }

    /// Whether a request does better in the other drawn cluster, by more than `saved`.
    ///
    /// Between two draws by the plan only waits differ: at its optimum everything else is worth the same. A cluster
    /// that was drawn to relieve a queue is judged by everything.
    private func isBetter(
        _ other: Int,
        than best: Int,
        by saved: Seconds,
        _ request: PickRequest,
        isRelief: Bool,
        _ at: Circumstances
    ) -> Bool {
        let there = self.wait(in: other, now: at.now, at.settings)
        let here = self.wait(in: best, now: at.now, at.settings)
        guard isRelief else { return there + saved < here }
        return at.settings.reliefMargin * there + self.time(to: other, request) + saved < here
            + self.time(to: best, request)
    }

    /// The way to a cluster and the request's own prompt there, in seconds.
    private func time(to index: Int, _ request: PickRequest) -> Seconds {
        self.places[index].distance + self.prefill(in: index, request)
    }

    /// How long a request's own prompt takes in a cluster, in seconds.
    private func prefill(in index: Int, _ request: PickRequest) -> Seconds {
        self.prompts.relative(request.promptTokens) * self.places[index].unloadedTTFT
    }

    /// The capacities of the clusters that a queue may be relieved by.
    ///
    /// A cluster leaves the rows while its KV cache is full, yet its queue may be the shorter one; a cluster that
    /// residency forbids never was in them.
    private mutating func shareByCapacity(_ at: Circumstances) {
        for index in self.places.indices {
            let place = self.places[index]
            let counts = self.isUsable[index] && place.isPlanned && at.now - place.lastInRow <= at.timeToLive
            // Of unknown capacity: as in `wait`.
            self.relief[index] = counts ? place.capacity ?? 1 : 0
        }
    }

    /// What a cached prompt saves in a cluster, in seconds: all of it for a session that its client names, and for a
    /// conversation as much as this gateway has sent there.
    private func saved(
        in index: Int,
        _ request: PickRequest,
        _ at: Circumstances,
        held: Affinity.Place?
    ) -> Seconds {
        if request.session != nil { return self.prefill(in: index, request) }
        guard at.held == index, let held, request.promptTokens > 0 else { return 0 }
        return self.prefill(in: index, request) * min(1, Double(held.tokens) / Double(request.promptTokens))
    }
}

extension Circumstances {
    func admits(_ peer: Int, failed: [EndpointAddress]) -> Bool {
        switch self.need {
        case .sound:
            !self.peers[peer].health.isEjected(now: self.now)
                && (failed.isEmpty || !failed.contains(self.peers[peer].address))
        case .doubtful: failed.isEmpty || !failed.contains(self.peers[peer].address)
        case .last: true
        }
    }
}
