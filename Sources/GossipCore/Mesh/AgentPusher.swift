package import FleetModel

/// An agent's side of the gossip: when a frame is due, where it goes, what to do when no hub answers, and helping
/// other agents.
///
/// A shell drives it: at ``nextWake`` it calls ``tick(now:)``; when ``isFrameDue(now:)`` it asks for
/// ``nextHeader(now:)``, seals its digests under it and gives the frame to ``publish(_:now:)``; what arrives goes to
/// ``receive(_:from:now:)``. Times are the agent's own monotonic clock; one that steps back goes on from where it was.
///
/// Invariant: no two headers have the same stamp, and stamps grow.
package struct AgentPusher: Sendable {
    /// What happened, for metrics.
    package struct Counts: Hashable, Sendable {
        package var published = 0
        /// Frames given to relays.
        package var relayed = 0
        /// Frames that no hub acknowledged in time.
        package var unanswered = 0
        /// Frames of other agents passed on.
        package var helped = 0
        /// Frames of other agents refused: no hub is reached, or the budget is spent.
        package var refusedHelp = 0
        /// Frames that another agent wanted relayed a second time, and others that are not its own or too large.
        package var refusedHops = 0
        /// Times that a hub acknowledged something newer than before, itself or through a relay.
        package var acknowledged = 0

        package init() {}
    }

    struct HubLink: Hashable, Sendable {
        var hub: HubID
        var region: RegionName?
        /// When the connection was made.
        var metAt: Seconds
        var sentAt: Seconds = -.infinity
        var answeredAt: Seconds?
        var roundTrip = RoundTripEstimate()
    }

    /// Frames of other agents whose answer is awaited.
    static let helpingMax = 256
    /// Relays that are known at once.
    static let candidatesMax = 12
    /// So many answers in a row about a later incarnation are no answers that came late.
    static let supersededMax = 3

    package let agent: AgentID
    package let region: RegionName
    let settings: GossipSettings
    var links: [HubLink]
    var candidates: [RelayCandidate] = []
    var relayBudget: TokenBucket
    var helping: [AgentID: Helping] = [:]
    package internal(set) var counts = Counts()

    private var clock: SteadyClock
    private var changeBudget: TokenBucket
    private let incarnation: UInt32
    private var sequence: UInt32 = 0
    private var superseding = 0
    private var newest: SealedFrame?
    var madeAt: Seconds = 0
    /// The newest frame that some hub is known to hold.
    package private(set) var acknowledged = FrameStamp.none
    private var nextFrameAt: Seconds
    /// The frame that is due next is due early, for a change.
    private var isChangePending = false
    private var lastFrameAt: Seconds = -.infinity
    /// When the newest frame, unacknowledged, goes to relays.
    private var overdueAt: Seconds = .infinity
    /// The last frame had no answer from a hub itself.
    private var isCut = false
    private var warmAt: Seconds
    private var tellRoundTripsAt: Seconds

    /// - Parameters:
    ///   - agent: The agent's number.
    ///   - incarnation: From the store, greater than that of any earlier start.
    ///   - region: Where it stands.
    ///   - hubs: The hub replicas that are known; others come with ``meet(_:region:now:)``.
    ///   - settings: Times and bounds.
    ///   - now: The agent's clock.
    ///   - dice: Sets the phase, so that agents do not speak as one.
    package init(
        agent: AgentID,
        incarnation: UInt32,
        region: RegionName,
        hubs: [HubID],
        settings: GossipSettings = GossipSettings(),
        now: Seconds,
        dice: inout some RandomNumberGenerator
    ) {
        self.agent = agent
        self.incarnation = incarnation
        self.region = region
        self.settings = settings
        self.links = hubs.sorted().map { HubLink(hub: $0, metAt: now) }
        self.relayBudget = TokenBucket(rate: settings.relayBudget, burst: settings.relayBudget)
        self.changeBudget = TokenBucket(rate: settings.changeRate, burst: settings.changeBurst)
        self.clock = SteadyClock(now: now)
        self.nextFrameAt = now + settings.interval * Double.random(in: 0..<1, using: &dice)
        self.warmAt = now + settings.warmEvery * Double.random(in: 0..<1, using: &dice)
        self.tellRoundTripsAt = now + settings.tellRoundTripsEvery * Double.random(in: 0.2..<1, using: &dice)
    }

    // MARK: Hubs

    /// A connection to a hub was made: it gets frames before it has answered any.
    package mutating func meet(_ hub: HubID, region: RegionName? = nil, now: Seconds) {
        let now = self.clock.read(now)
        if let index = self.links.firstIndex(where: { $0.hub == hub }) {
            self.links[index].metAt = now
            self.links[index].region = region ?? self.links[index].region
            return
        }
        self.links.append(HubLink(hub: hub, region: region, metAt: now))
        self.links.sort { $0.hub < $1.hub }
    }

    /// The connection to a hub is gone: it is not reached until it answers again.
    package mutating func part(_ hub: HubID) {
        guard let index = self.links.firstIndex(where: { $0.hub == hub }) else { return }
        self.links[index].answeredAt = nil
        self.links[index].metAt = -.infinity
    }

    /// Whether hubs keep telling of a later incarnation of this agent: another one goes by its name.
    package var isSuperseded: Bool { self.superseding >= Self.supersededMax }

    // MARK: Frames

    /// When ``tick(now:)`` or ``isFrameDue(now:)`` is worth calling next.
    package var nextWake: Seconds { self.clock.outside(min(self.nextFrameAt, self.overdueAt, self.warmAt)) }

    /// A change is worth a frame before the next is due: ``nextWake`` becomes as early as spacing and budget allow.
    package mutating func hasChanged(now: Seconds) {
        let now = self.clock.read(now)
        let soonest = max(now, self.lastFrameAt + self.settings.spacing)
        guard !self.isChangePending, soonest < self.nextFrameAt else { return }
        self.isChangePending = true
        self.nextFrameAt = min(self.nextFrameAt, max(soonest, self.changeBudget.reserve(now: now)))
    }

    package func isFrameDue(now: Seconds) -> Bool { self.clock.peek(now) >= self.nextFrameAt }

    /// The header of the frame that is now to be sealed.
    ///
    /// Each call spends a sequence number.
    package mutating func nextHeader(now: Seconds) -> FrameHeader {
        let now = self.clock.read(now)
        self.sequence += 1
        return FrameHeader(
            agent: self.agent,
            stamp: FrameStamp(incarnation: self.incarnation, sequence: self.sequence),
            interval: self.settings.interval,
            reach: self.reached(now: now)
        )
    }

    /// Sends a frame, just made, wherever it has to go.
    package mutating func publish(_ frame: SealedFrame, now: Seconds) -> [Outgoing] {
        let now = self.clock.read(now)
        var out: [Outgoing] = []
        out.reserveCapacity(self.links.count + self.settings.relaysLate)
        self.newest = frame
        self.madeAt = now
        self.lastFrameAt = now
        self.isChangePending = false
        self.nextFrameAt = now + self.settings.interval
        self.counts.published += 1
        var roundTrips: [RegionRoundTrip] = []
        if now >= self.tellRoundTripsAt {
            self.tellRoundTripsAt = now + self.settings.tellRoundTripsEvery
            roundTrips = self.roundTrips
        }
        var reached = 0
        for index in self.links.indices {
            let isReached = self.isReached(index, now: now)
            if isReached { reached += 1 }
            let isNew = now - self.links[index].metAt < self.reachWindow
            guard isReached || isNew else {
                // A hub that does not answer is tried with as little as possible.
                if now - self.links[index].sentAt >= self.settings.probeEvery {
                    self.links[index].sentAt = now
                    out.append(Outgoing(to: .hub(self.links[index].hub), message: .ping(sentAt: now)))
                }
                continue
            }
            self.links[index].sentAt = now
            let age = self.links[index].roundTrip.oneWay
            let push = FramePush(carried: CarriedFrame(frame: frame, age: age), sentAt: now, roundTrips: roundTrips)
            // One hub is enough to tell: it passes round trips on to the others.
            if isReached { roundTrips = [] }
            out.append(Outgoing(to: .hub(self.links[index].hub), message: .push(push)))
        }
        if self.isCut || reached == 0 {
            self.relay(frame, count: self.settings.relaysInstead, now: now, into: &out)
        } else if reached < self.settings.reachWanted {
            self.relay(frame, count: self.settings.relaysBeside, now: now, into: &out)
        }
        self.overdueAt = now + self.acknowledgeTimeout(now: now)
        return out
    }

    /// What is due beside a new frame: relays for an unanswered one, and keeping a relay warm.
    package mutating func tick(now: Seconds) -> [Outgoing] {
        let now = self.clock.read(now)
        var out: [Outgoing] = []
        if now >= self.overdueAt, let newest = self.newest {
            self.overdueAt = .infinity
            if self.acknowledged < newest.header.stamp {
                self.counts.unanswered += 1
                self.isCut = true
                self.relay(newest, count: self.settings.relaysLate, now: now, into: &out)
                self.overdueAt = now + self.acknowledgeTimeout(now: now)
            }
        }
        if now >= self.warmAt {
            self.warmAt = now + self.settings.warmEvery
            self.pingRelays(now: now, into: &out)
        }
        return out
    }

    // MARK: Answers

    /// Takes a message; what an agent cannot use is left alone.
    package mutating func receive(_ message: GossipMessage, from peer: Peer, now: Seconds) -> [Outgoing] {
        let now = self.clock.read(now)
        switch (message, peer) {
        case (.acknowledge(let answer), .hub(let hub)):
            guard answer.hub == hub, let index = self.links.firstIndex(where: { $0.hub == hub }) else { return [] }
            self.links[index].roundTrip.measure(now - answer.echo, now: now)
            if let region = answer.region { self.links[index].region = region }
            guard answer.agent == self.agent else { return self.passOn(answer, now: now) }
            self.links[index].answeredAt = now
            self.adopt(answer.relays, now: now)
            self.acknowledge(answer.stamp)
            if answer.stamp >= (self.newest?.header.stamp ?? .none) { self.isCut = false }
        case (.relayed(let answer), .agent(let relay)):
            guard answer.agent == self.agent else { return [] }
            self.adopt(answer.relays, now: now)
            if let index = self.candidates.firstIndex(where: { $0.offer.agent == relay }) {
                self.candidates[index].answer(now: now)
                self.candidates[index].roundTrip.bound(now - answer.echo)
            }
            self.acknowledge(answer.stamp)
        case (.refuse(let refusal), .agent(let relay)):
            if let index = self.candidates.firstIndex(where: { $0.offer.agent == relay }) {
                self.candidates[index].refuse()
            }
            self.learn(refusal.relays, now: now)
        case (.relay(let push), .agent(let agent)):
            return self.help(push, from: agent, now: now)
        case (.ping(let sentAt), .agent(let agent)):
            let pong = GossipMessage.pong(sentAt: sentAt, reach: self.reached(now: now))
            return [Outgoing(to: .agent(agent), message: pong)]
        case (.pong(let sentAt, _), .hub(let hub)):
            guard let index = self.links.firstIndex(where: { $0.hub == hub }) else { return [] }
            self.links[index].roundTrip.measure(now - sentAt, now: now)
            self.links[index].answeredAt = now
        case (.pong(let sentAt, let reach), .agent(let agent)):
            guard let index = self.candidates.firstIndex(where: { $0.offer.agent == agent }) else { return [] }
            self.candidates[index].roundTrip.measure(now - sentAt, now: now)
            self.candidates[index].answer(reachesHub: !reach.isEmpty, now: now)
            self.candidates[index].offer.reach = reach
        default: break
        }
        return []
    }

    private mutating func acknowledge(_ stamp: FrameStamp) {
        self.superseding = stamp.incarnation > self.incarnation ? self.superseding + 1 : 0
        // A hub that holds more than was ever sent holds another's frame: the stamp is not evidence for ours.
        guard let newest = self.newest, stamp <= newest.header.stamp else { return }
        if stamp > self.acknowledged {
            self.acknowledged = stamp
            self.counts.acknowledged += 1
        }
        if self.acknowledged == newest.header.stamp { self.overdueAt = .infinity }
    }

    /// Takes the relays that a hub names; what was measured of those known before stays, and as many of the others as
    /// there is room for, those that work first.
    package mutating func adopt(_ offers: [RelayOffer], now: Seconds) {
        guard !offers.isEmpty else { return }
        let named = offers.prefix(Self.candidatesMax).filter { $0.agent != self.agent }.map { offer in
            guard var known = self.candidates.first(where: { $0.offer.agent == offer.agent }) else {
                return RelayCandidate(offer: offer)
            }
            known.offer = offer
            return known
        }
        let others = self.candidates.filter { known in !named.contains { $0.offer.agent == known.offer.agent } }
        let proven = others.filter { self.isProven($0, now: now) }
        let kept = proven + others.filter { !self.isProven($0, now: now) }
        self.candidates = named + kept.prefix(Self.candidatesMax - named.count)
    }

    /// Takes relays that another agent found to work, in the place of those that did not work here.
    private mutating func learn(_ offers: [RelayOffer], now: Seconds) {
        for offer in offers.prefix(3) where offer.agent != self.agent {
            guard !self.candidates.contains(where: { $0.offer.agent == offer.agent }) else { continue }
            if self.candidates.count < Self.candidatesMax {
                self.candidates.append(RelayCandidate(offer: offer))
            } else if let worst = self.candidates.indices
                .filter({ !self.candidates[$0].isGood(now: now) })
                .min(by: { self.candidates[$0].answeredAt < self.candidates[$1].answeredAt })
            {
                self.candidates[worst] = RelayCandidate(offer: offer)
            }
        }
    }

    // MARK: Views

    /// The agents that may pass frames on, as hubs and other agents named them.
    package var relays: [AgentID] { self.candidates.map(\.offer.agent) }

    package var knowsRelays: Bool { !self.candidates.isEmpty }

    /// Where a relay that this agent was told of listens.
    package func address(of agent: AgentID) -> String? {
        self.candidates.first { $0.offer.agent == agent }?.offer.address
    }

    /// What is known of one hub.
    package struct HubView: Hashable, Sendable {
        package var hub: HubID
        package var isReached: Bool
        package var roundTrip: RoundTripEstimate
    }

    /// The hubs that were ever met, by number.
    package func hubs(now: Seconds) -> [HubView] {
        let now = self.clock.peek(now)
        return self.links.indices.map { index in
            HubView(
                hub: self.links[index].hub,
                isReached: self.isReached(index, now: now),
                roundTrip: self.links[index].roundTrip
            )
        }
    }

    /// Whether the newest frames go through relays, since no hub answered the last one itself.
    package var isRelayed: Bool { self.isCut }

    private var reachWindow: Seconds { self.settings.reachIntervals * self.settings.interval }

    func isReached(_ index: Int, now: Seconds) -> Bool {
        guard let answeredAt = self.links[index].answeredAt else { return false }
        return now - answeredAt <= self.reachWindow
    }

    /// The hubs that acknowledged a frame of this agent lately.
    package func reach(now: Seconds) -> HubSet { self.reached(now: self.clock.peek(now)) }

    func reached(now: Seconds) -> HubSet {
        var reach = HubSet()
        for index in self.links.indices where self.isReached(index, now: now) { reach.insert(self.links[index].hub) }
        return reach
    }

    /// The nearest hub's time-out, since one answer is enough.
    private func acknowledgeTimeout(now: Seconds) -> Seconds {
        var least = Seconds.infinity
        for index in self.links.indices where self.isReached(index, now: now) {
            least = min(least, self.links[index].roundTrip.timeout ?? .infinity)
        }
        return max(self.settings.acknowledgeFloor, (least.isFinite ? least : 0.4) + 0.1)
    }

    /// Every round trip that this agent measured, from its region to others.
    package var roundTrips: [RegionRoundTrip] {
        let hubs = self.links.map { ($0.region, $0.roundTrip) }
        let relays = self.candidates.map { (Optional($0.offer.region), $0.roundTrip) }
        return (hubs + relays).compactMap { region, estimate in
            guard let region, let smooth = estimate.smooth, let minimum = estimate.minimum else { return nil }
            return RegionRoundTrip(source: self.region, target: region, smooth: smooth, minimum: minimum)
        }
    }
}
