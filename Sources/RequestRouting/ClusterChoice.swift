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
        let own = settings.countsOwnDispatches ? self.places[index].sentSince.count : 0
        let queued = Double(max(0, waiting + own - self.places[index].freeSeats))
        // Of unknown capacity: as if each request ahead took a second, so that the known are preferred.
        return queued / max(self.places[index].capacity ?? 1, 0.001)
    }

    /// The place for a request, of those with a weight.
    ///
    /// Two draws, of which the one with the lesser wait is taken. The first draw of a session or conversation is its
    /// own, by rendezvous hashing, and stands unless the other waits less by more than an unloaded time to first
    /// token: about what a cached prompt saves.
    func draw(
        _ request: PickRequest,
        _ at: Circumstances,
        held: Affinity.Place?,
        using dice: inout some RandomNumberGenerator
    ) -> Int? {
        let key = at.settings.keepsSessions ? request.session ?? request.prefix : nil
        let home = key.flatMap { Rendezvous.choose($0, among: self.names, weights: self.weights) }
        guard let first = home ?? RequestRouting.draw(self.weights, using: &dice) else { return nil }
        var best = first
        for _ in 1..<max(1, at.settings.draws) {
            guard let other = RequestRouting.draw(self.weights, using: &dice), other != best else { continue }
            let saved = best == home ? self.saved(in: best, request, at, held: held) : 0
            let there = self.wait(in: other, now: at.now, at.settings)
            if there + saved < self.wait(in: best, now: at.now, at.settings) { best = other }
        }
        return best
    }

    /// What a cached prompt saves in a cluster, in seconds: all of it for a session that its client names, and for a
    /// conversation as much as this gateway has sent there.
    private func saved(
        in index: Int,
        _ request: PickRequest,
        _ at: Circumstances,
        held: Affinity.Place?
    ) -> Seconds {
        if request.session != nil { return self.places[index].unloadedTTFT }
        guard at.held == index, let held, request.promptTokens > 0 else { return 0 }
        return self.places[index].unloadedTTFT * min(1, Double(held.tokens) / Double(request.promptTokens))
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
