package import FleetModel

/// A hub replica's side of the gossip: the newest frame of every agent, flushed to the other hubs, and who is silent.
///
/// A shell drives it: ``tick(now:)`` each ``GossipSettings/flushEvery`` or at ``nextWake``, and
/// ``receive(_:from:now:isGenuine:)`` for what arrives. It sends the messages of the answer, opens the learned frames,
/// and tells operators of the changes. Times are the hub's own monotonic clock; one that steps back goes on from where
/// it was, and one that steps forward is taken for a pause.
///
/// Invariant: the stamp held for an agent never decreases.
package struct HubMesh: Sendable {
    /// What the shell has to do, and to know.
    package struct Effects: Sendable {
        package var messages: [Outgoing] = []
        /// Frames that are newer than what was held, with the age that each had on arrival.
        package var learned: [CarriedFrame] = []
        package var changes: [LivenessChange] = []
    }

    /// Why frames were dropped, and how many: metrics.
    package struct Counts: Hashable, Sendable {
        /// Not newer than what is held: copies, late ones, replays.
        package var stale = 0
        /// The seal was broken, or another key's.
        package var forged = 0
        /// Larger than a frame may be.
        package var oversized = 0
        /// There was no room for another agent.
        package var full = 0
        /// Messages that their sender has no business to send.
        package var misdirected = 0
        package var accepted = 0
        /// Frames flushed to other hubs.
        package var flushed = 0

        package init() {}
    }

    /// What is held of one agent.
    struct Register: Sendable {
        let agent: AgentID
        var stamp = FrameStamp.none
        var frame: SealedFrame?
        var region: RegionName?
        var address = ""
        /// On this hub's clock, less the age that the frame carried.
        var madeAt: Seconds = 0
        var arrivedAt: Seconds = 0
        /// Through whom the newest frame came.
        var via: Peer
        /// On the clock of ``HubMesh/awake``.
        var heardAt: Seconds = 0
        var detector: SilenceDetector
        var liveness = Liveness.fresh
        /// When the liveness may change next, for no silence before this can.
        var judgeAt: Seconds = 0
        var weight = 1.0
        var admission = 1.0
        var servedAt: Seconds = -.infinity
        var offeredAt: Seconds = -.infinity
    }

    package let hub: HubID
    /// Where it stands; without, its links measure no round trips between regions.
    package let region: RegionName?
    package let settings: GossipSettings
    let run: UInt64
    var registers: [Register] = []
    var slots: [AgentID: Int] = [:]
    var links: [MeshLink]
    package internal(set) var counts = Counts()
    package internal(set) var health = LocalHealth()
    package internal(set) var massGuard = MassGuard()
    /// Round trips between regions, as this hub and the others know them.
    package internal(set) var roundTrips = RoundTripMatrix()
    var clock: SteadyClock
    var now: Seconds
    /// Time that this hub stood still, taken from every silence.
    var asleep: Seconds = 0
    private var nextTick: Seconds
    private var judgedAt: Seconds
    private var settledAt: Seconds
    var relayTable = RelayTable()

    /// - Parameters:
    ///   - hub: This replica.
    ///   - region: Where it stands, when that is known.
    ///   - others: The other replicas that are known; more come with ``meet(_:)``.
    ///   - settings: Times and bounds.
    ///   - now: This hub's clock.
    ///   - dice: Draws the run, and the phase of the flushes.
    package init(
        hub: HubID,
        region: RegionName?,
        others: [HubID] = [],
        settings: GossipSettings = GossipSettings(),
        now: Seconds,
        dice: inout some RandomNumberGenerator
    ) {
        self.hub = hub
        self.region = region
        self.settings = settings
        self.run = UInt64.random(in: 1 ... .max, using: &dice)
        self.clock = SteadyClock(now: now)
        self.now = now
        self.nextTick = now + settings.flushEvery * Double.random(in: 0..<1, using: &dice)
        self.judgedAt = now
        self.settledAt = now
        self.links = others.filter { $0 != hub }.sorted().map { other in
            let phase = Double.random(in: 0..<1, using: &dice)
            return MeshLink(hub: other, completeAt: now + settings.completeEvery * phase, now: now)
        }
    }

    // MARK: Who there is

    /// Another replica is there: frames are flushed to it from now on.
    package mutating func meet(_ other: HubID) {
        guard other != self.hub, !self.links.contains(where: { $0.hub == other }) else { return }
        var link = MeshLink(hub: other, completeAt: self.now, now: self.now)
        link.grow(to: self.registers.count)
        for slot in self.registers.indices where self.registers[slot].frame != nil { link.wait(slot) }
        self.links.append(link)
        self.links.sort { $0.hub < $1.hub }
    }

    /// Another replica is gone for good: it counts for no majority, and nothing is kept for it.
    package mutating func part(_ other: HubID) { self.links.removeAll { $0.hub == other } }

    /// Tells of a registered agent: its region and where it listens, and that incarnations before this one are over.
    ///
    /// Without it the agent's frames count all the same, but it is named to nobody as a relay.
    package mutating func know(_ agent: AgentID, region: RegionName, address: String, incarnation: UInt32) {
        guard let slot = self.slot(of: agent) else { return }
        self.registers[slot].region = region
        self.registers[slot].address = address
        let floor = FrameStamp(incarnation: incarnation, sequence: 0)
        if self.registers[slot].stamp < floor { self.registers[slot].stamp = floor }
    }

    /// How much an agent's capacity counts in the mass guard; 1 when never told.
    package mutating func weigh(_ agent: AgentID, _ weight: Double) {
        guard let slot = self.slots[agent], weight.isFinite else { return }
        self.registers[slot].weight = max(0, weight)
    }

    /// Somebody gets answers from the agent's cluster: for ``GossipSettings/vouchedFor`` seconds silence takes nothing
    /// of its share.
    package mutating func serves(_ agent: AgentID, now: Seconds) {
        guard let slot = self.slots[agent] else { return }
        self.registers[slot].servedAt = self.clock.peek(now)
    }

    /// How many agents are held, with those that are gone.
    package var agentCount: Int { self.registers.count }

    /// Whether a frame of an agent would find a place: it has one, one is free, or somebody is gone.
    package func hasRoom(for agent: AgentID) -> Bool {
        self.slots[agent] != nil || self.registers.count < self.settings.agentsMax || self.longestGone != nil
    }

    private var longestGone: Int? {
        self.registers.indices.filter { self.registers[$0].liveness == .gone }
            .min { self.registers[$0].heardAt < self.registers[$1].heardAt }
    }

    /// The place of an agent: its own, a new one, or that of the agent that has been gone for longest.
    ///
    /// Numbers are not used again, so nobody is taken for the one whose stamp is forgotten. Its frames are older than
    /// ``GossipSettings/goneAfter`` wherever they are, and such are not taken of an agent without a place.
    private mutating func slot(of agent: AgentID) -> Int? {
        if let slot = self.slots[agent] { return slot }
        let detector = SilenceDetector(interval: self.settings.interval)
        let register = Register(agent: agent, via: .hub(self.hub), detector: detector)
        if self.registers.count < self.settings.agentsMax {
            self.registers.append(register)
            self.slots[agent] = self.registers.count - 1
            for index in self.links.indices { self.links[index].grow(to: self.registers.count) }
            return self.registers.count - 1
        }
        guard let slot = self.longestGone else { return nil }
        self.slots[self.registers[slot].agent] = nil
        self.slots[agent] = slot
        self.registers[slot] = register
        for index in self.links.indices { self.links[index].forget(slot) }
        self.massGuard.forget(slot)
        self.relayTable = RelayTable()
        return slot
    }

    // MARK: Time

    /// When ``tick(now:)`` is due next.
    package var nextWake: Seconds { self.clock.outside(self.nextTick) }

    var awake: Seconds { self.now - self.asleep }

    /// Moves the clock; when the tick is overdue, the hub stood still, and could hear nobody meanwhile.
    private mutating func advance(to now: Seconds) {
        self.now = self.clock.read(now)
        let late = self.now - self.nextTick
        guard late > self.settings.lateness else { return }
        self.asleep += late
        self.nextTick = self.now
        self.health.worsen(now: self.now)
        for index in self.links.indices where self.links[index].heardAt > -.infinity {
            self.links[index].heardAt = min(self.now, self.links[index].heardAt + late)
        }
    }

    /// Flushes to the other hubs, and judges who is silent.
    package mutating func tick(now: Seconds) -> Effects {
        self.advance(to: now)
        var effects = Effects()
        guard self.now >= self.nextTick else { return effects }
        self.nextTick += self.settings.flushEvery
        for index in self.links.indices { self.flush(index, into: &effects.messages) }
        self.judge(since: self.judgedAt, into: &effects.changes)
        self.judgedAt = self.now
        self.health.pass(now: self.now)
        if self.now - self.settledAt >= 1 {
            self.settledAt = self.now
            self.measureLinks()
            self.roundTrips.settle(now: self.now)
        }
        return effects
    }

    // MARK: Messages

    /// Takes a message.
    ///
    /// - Parameters:
    ///   - message: The message.
    ///   - peer: Who sent it, as the transport has proved.
    ///   - now: This hub's clock.
    ///   - isGenuine: Checks the seal of a frame. It is asked only for frames that would be taken, so that copies and
    ///     replays cost nothing.
    /// - Returns: Messages to send, frames learned and changes of liveness.
    package mutating func receive(
        _ message: GossipMessage,
        from peer: Peer,
        now: Seconds,
        isGenuine: (SealedFrame) -> Bool = { _ in true }
    ) -> Effects {
        self.advance(to: now)
        var effects = Effects()
        switch (message, peer) {
        case (.push(let push), .agent(let agent)) where push.carried.frame.header.agent == agent:
            guard self.join(push.carried, via: peer, into: &effects, isGenuine: isGenuine) else { return effects }
            // Only with a frame that was new and genuine, and only from where the agent stands.
            if !effects.learned.isEmpty, let slot = self.slots[agent], let region = self.registers[slot].region {
                for value in push.roundTrips.prefix(64) where value.source == region {
                    self.roundTrips.take(value, isOwn: true, now: self.now)
                }
            }
            self.acknowledge(agent, to: peer, echo: push.sentAt, into: &effects)
        case (.forward(let push), .agent(let relay)) where push.carried.frame.header.agent != relay:
            guard self.join(push.carried, via: peer, into: &effects, isGenuine: isGenuine) else { return effects }
            self.acknowledge(push.carried.frame.header.agent, to: peer, echo: push.sentAt, into: &effects)
        case (.ping(let sentAt), .agent):
            effects.messages.append(Outgoing(to: peer, message: .pong(sentAt: sentAt, reach: HubSet())))
        case (.flush(let flush), .hub(let hub)):
            guard let index = self.links.firstIndex(where: { $0.hub == hub }) else {
                self.counts.misdirected += 1
                return effects
            }
            self.take(flush, on: index, into: &effects, isGenuine: isGenuine)
        default: self.counts.misdirected += 1
        }
        return effects
    }

    /// Joins one frame into its agent's register.
    ///
    /// - Returns: `false` when it is not to be answered: it is forged, too large, or there is no room.
    @discardableResult
    mutating func join(
        _ carried: CarriedFrame,
        via peer: Peer,
        into effects: inout Effects,
        isGenuine: (SealedFrame) -> Bool
    ) -> Bool {
        let header = carried.frame.header
        if let slot = self.slots[header.agent], header.stamp <= self.registers[slot].stamp {
            self.counts.stale += 1
            return true
        }
        guard carried.frame.bytes.count <= self.settings.frameBytesMax else {
            self.counts.oversized += 1
            return false
        }
        guard isGenuine(carried.frame) else {
            self.counts.forged += 1
            return false
        }
        let age = carried.age.isFinite ? min(max(0, carried.age), 3_600) : 3_600
        guard self.slots[header.agent] != nil || age < self.settings.goneAfter else {
            self.counts.stale += 1
            return true
        }
        guard let slot = self.slot(of: header.agent) else {
            self.counts.full += 1
            return false
        }
        let isFirst = self.registers[slot].frame == nil
        self.registers[slot].stamp = header.stamp
        self.registers[slot].frame = carried.frame
        self.registers[slot].madeAt = self.now - age
        self.registers[slot].arrivedAt = self.now
        self.registers[slot].via = peer
        self.hear(slot, isFirst: isFirst, age: age, into: &effects)
        self.counts.accepted += 1
        effects.learned.append(CarriedFrame(frame: carried.frame, age: age))
        for index in self.links.indices { self.links[index].changed(slot) }
        return true
    }

    private mutating func acknowledge(_ agent: AgentID, to peer: Peer, echo: Seconds, into effects: inout Effects) {
        guard let slot = self.slots[agent] else { return }
        var answer = FrameAcknowledgement(
            hub: self.hub,
            agent: agent,
            stamp: self.registers[slot].stamp,
            echo: echo
        )
        if self.now - self.registers[slot].offeredAt >= RelayTable.offerEvery {
            answer.region = self.region
            answer.relays = self.relays(for: slot)
            if !answer.relays.isEmpty { self.registers[slot].offeredAt = self.now }
        }
        effects.messages.append(Outgoing(to: peer, message: .acknowledge(answer)))
    }
}
