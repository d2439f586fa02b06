import FleetModel

/// An agent that may relay for this one.
struct RelayCandidate: Hashable, Sendable {
    var offer: RelayOffer
    var roundTrip = RoundTripEstimate()
    var askedAt: Seconds = -.infinity
    var answeredAt: Seconds = -.infinity
    var refusedAt: Seconds = -.infinity

    /// A relay that refused, or left a frame without an answer, is passed over for this long, in seconds.
    static let pardon: Seconds = 5

    func isGood(now: Seconds) -> Bool {
        if now - self.refusedAt < Self.pardon { return false }
        // Asked more than a second ago, and silent since: it, or the way to it, is gone.
        return self.answeredAt >= self.askedAt || now - self.askedAt < 1 || now - self.askedAt > Self.pardon
    }
}

extension AgentPusher {
    /// The relays for one frame, the good ones first: each time the candidate that adds most hubs to those reached,
    /// one of them in the own region when there is one, since it is near and seldom cut off by the same fault as the
    /// way abroad.
    func chooseRelays(_ count: Int, now: Seconds) -> [Int] {
        var chosen: [Int] = []
        var covered = self.reached(now: now)
        for wantsGood in [true, false] {
            while chosen.count < count {
                var best: (index: Int, worth: Int)?
                for (index, candidate) in self.candidates.enumerated()
                where candidate.isGood(now: now) == wantsGood && !chosen.contains(index) {
                    let isNear = candidate.offer.region == self.region
                    let nearIsChosen = chosen.contains { self.candidates[$0].offer.region == self.region }
                    let worth =
                        4 * min(2, candidate.offer.reach.subtracting(covered).count)
                        + (isNear && !nearIsChosen ? 3 : 0)
                    if best.map({ worth > $0.worth }) ?? true { best = (index, worth) }
                }
                guard let best else { break }
                chosen.append(best.index)
                covered = covered.union(self.candidates[best.index].offer.reach)
            }
        }
        return chosen
    }

    /// Sends the newest frame through relays, those that have not carried it yet first.
    mutating func relay(_ frame: SealedFrame, count: Int, now: Seconds, into out: inout [Outgoing]) {
        for index in self.chooseRelays(count, now: now) {
            self.candidates[index].askedAt = max(now, self.candidates[index].askedAt)
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
            let relays = self.candidates.filter { $0.answeredAt >= now - RelayCandidate.pardon && $0.isGood(now: now) }
                .prefix(3).map(\.offer)
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
