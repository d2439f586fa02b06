import FleetModel

/// An agent that may relay for this one.
struct RelayCandidate: Hashable, Sendable {
    var offer: RelayOffer
    var roundTrip = RoundTripEstimate()
    private(set) var askedAt: Seconds = -.infinity
    private(set) var answeredAt: Seconds = -.infinity
    /// When it was asked what it has not answered since, the first time; asking again is no excuse for its silence.
    private var owesSince: Seconds?
    private var hasRefused = false

    /// Silent for so long since it was asked, it, or the way to it, is gone; in seconds.
    private static let patience: Seconds = 1

    init(offer: RelayOffer) { self.offer = offer }

    mutating func ask(now: Seconds) {
        self.askedAt = max(now, self.askedAt)
        self.owesSince = self.owesSince ?? now
    }

    /// It answered: with a hub's answer, or with word of the hubs that it reaches.
    mutating func answer(reachesHub: Bool = true, now: Seconds) {
        self.answeredAt = now
        self.owesSince = nil
        self.hasRefused = !reachesHub
    }

    mutating func refuse() {
        self.owesSince = nil
        self.hasRefused = true
    }

    /// Whether it did what it was asked last, or still may: one that failed is good again when it answers.
    func isGood(now: Seconds) -> Bool {
        !self.hasRefused && self.owesSince.map { now - $0 < Self.patience } ?? true
    }
}

extension AgentPusher {
    /// The relays for one frame.
    ///
    /// The good ones come first: each time the candidate that adds most hubs to those reached, one of them in the own
    /// region when there is one, since it is near and seldom cut off by the same fault as the way abroad. Then those
    /// that failed, by turns: so every candidate is asked in time, whichever others are dead.
    func chooseRelays(_ count: Int, now: Seconds) -> [Int] {
        var chosen: [Int] = []
        var covered = self.reached(now: now)
        while chosen.count < count {
            var best: (index: Int, worth: Int)?
            let nearIsChosen = chosen.contains { self.candidates[$0].offer.region == self.region }
            for (index, candidate) in self.candidates.enumerated()
            where candidate.isGood(now: now) && !chosen.contains(index) {
                let worth =
                    4 * min(2, candidate.offer.reach.subtracting(covered).count)
                    + (candidate.offer.region == self.region && !nearIsChosen ? 3 : 0)
                if best.map({ worth > $0.worth }) ?? true { best = (index, worth) }
            }
            guard let best else { break }
            chosen.append(best.index)
            covered = covered.union(self.candidates[best.index].offer.reach)
        }
        return chosen + self.failedRelays(now: now).prefix(count - chosen.count)
    }

    /// Those that failed, the one first that was not asked for longest.
    private func failedRelays(now: Seconds) -> [Int] {
        self.candidates.indices.filter { !self.candidates[$0].isGood(now: now) }
            .sorted { (self.candidates[$0].askedAt, $0) < (self.candidates[$1].askedAt, $1) }
    }

    /// Pings the relay that would be asked first, so that its connection stays open, and one of those that failed, so
    /// that it is found when it is back.
    mutating func pingRelays(now: Seconds, into out: inout [Outgoing]) {
        let warm = self.chooseRelays(1, now: now)
        for index in warm + self.failedRelays(now: now).filter({ !warm.contains($0) }).prefix(1)
        where now - self.candidates[index].askedAt >= self.settings.warmEvery / 2 {
            self.candidates[index].ask(now: now)
            out.append(Outgoing(to: .agent(self.candidates[index].offer.agent), message: .ping(sentAt: now)))
        }
    }

    /// Sends the newest frame through relays.
    mutating func relay(_ frame: SealedFrame, count: Int, now: Seconds, into out: inout [Outgoing]) {
        for index in self.chooseRelays(count, now: now) {
            self.candidates[index].ask(now: now)
            let age = now - self.madeAt + self.candidates[index].roundTrip.oneWay
            let push = FramePush(carried: CarriedFrame(frame: frame, age: age), sentAt: now)
            out.append(Outgoing(to: .agent(self.candidates[index].offer.agent), message: .relay(push)))
            self.counts.relayed += 1
        }
    }

    /// Another agent asks for help: one hop only, within the budget, to the hubs that it does not reach itself first.
    mutating func help(_ push: FramePush, from agent: AgentID, now: Seconds) -> [Outgoing] {
        let header = push.carried.frame.header
        guard header.agent == agent, push.carried.frame.bytes.count <= self.settings.frameBytesMax else {
            self.counts.refusedHops += 1
            return []
        }
        func refuse(_ reason: RelayRefusal.Reason) -> [Outgoing] {
            self.counts.refusedHelp += 1
            // What helps this agent may help the other: so the few relays left become known when most are cut.
            let relays = self.candidates.filter { self.isProven($0, now: now) }.prefix(3).map(\.offer)
            let refusal = RelayRefusal(stamp: header.stamp, reason: reason, relays: relays)
            return [Outgoing(to: .agent(agent), message: .refuse(refusal))]
        }
        let hubs = self.links.indices.filter { self.isReached($0, now: now) }.sorted { a, b in
            let (knowsA, knowsB) = (header.reach.contains(self.links[a].hub), header.reach.contains(self.links[b].hub))
            if knowsA != knowsB { return knowsB }
            return (self.links[a].roundTrip.smooth ?? 1, a) < (self.links[b].roundTrip.smooth ?? 1, b)
        }
        guard !hubs.isEmpty else { return refuse(.noHub) }
        guard self.relayBudget.take(now: now) else { return refuse(.overBudget) }
        self.counts.helped += 1
        self.helping[agent] = Helping(stamp: header.stamp, askedAt: push.sentAt)
        if self.helping.count > Self.helpingMax,
            let oldest = self.helping.min(by: { ($0.value, $0.key) < ($1.value, $1.key) })
        {
            self.helping[oldest.key] = nil
        }
        return hubs.prefix(self.settings.relayHubs).map { index in
            var carried = push.carried
            carried.age = max(0, carried.age) + self.links[index].roundTrip.oneWay
            return Outgoing(
                to: .hub(self.links[index].hub),
                message: .forward(FramePush(carried: carried, sentAt: now))
            )
        }
    }

    /// Whether a relay has answered lately, and not failed since.
    func isProven(_ candidate: RelayCandidate, now: Seconds) -> Bool {
        now - candidate.answeredAt <= self.settings.warmEvery && candidate.isGood(now: now)
    }

    /// A hub's answer to a frame of another agent: the first one for each frame goes back to it.
    mutating func passOn(_ answer: FrameAcknowledgement, now: Seconds) -> [Outgoing] {
        guard let helping = self.helping[answer.agent], answer.stamp >= helping.stamp else { return [] }
        self.helping[answer.agent] = nil
        var answer = answer
        answer.echo = helping.askedAt
        return [Outgoing(to: .agent(answer.agent), message: .relayed(answer))]
    }
}

/// A frame that this agent relays, until a hub has answered.
struct Helping: Hashable, Sendable, Comparable {
    var stamp: FrameStamp
    /// On the asking agent's clock.
    var askedAt: Seconds

    static func < (lhs: Self, rhs: Self) -> Bool { lhs.askedAt < rhs.askedAt }
}

/// So many a second, and so many at once.
struct TokenBucket: Hashable, Sendable {
    let rate: Double
    let burst: Double
    private var tokens: Double
    private var filledAt: Seconds = 0

    init(rate: Double, burst: Double) {
        self.rate = rate
        self.burst = burst
        self.tokens = burst
    }

    mutating func take(_ count: Double = 1, now: Seconds) -> Bool {
        self.fill(now: now)
        guard self.tokens >= count else { return false }
        self.tokens -= count
        return true
    }

    /// Takes some that may only come later.
    ///
    /// - Returns: When they come.
    mutating func reserve(_ count: Double = 1, now: Seconds) -> Seconds {
        self.fill(now: now)
        self.tokens -= count
        return self.tokens >= 0 ? now : now - self.tokens / self.rate
    }

    private mutating func fill(now: Seconds) {
        self.tokens = min(self.burst, self.tokens + self.rate * max(0, now - self.filledAt))
        self.filledAt = max(self.filledAt, now)
    }
}
