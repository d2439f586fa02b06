package import FleetModel
import GossipCore
import TestKit

/// The gossip of a whole fleet in virtual time: the real ``AgentPusher`` and ``HubMesh`` over a network of dice.
///
/// Every frame is a change: its time until every hub replica holds it, or a newer one, is what is measured. A seed tells
/// the whole run.
package struct GossipSimulation: Sendable {
    let world: GossipWorld
    let map: GossipMap
    var network: GossipNetwork
    private var dice: SeededGenerator
    private var hubs: [HubMesh] = []
    private var agents: [AgentPusher?] = []
    /// By agent: when it is woken next; an earlier wake replaces it.
    private var wakeAt: [Seconds] = []
    private var incarnations: [UInt32]
    /// By agent: the links that are cut at ``GossipWorld/cutAt``.
    private var cut: [HubSet]
    private let bytes: [UInt8]
    private var happenings: [Happening] = []
    private var measure: GossipMeasure
    package private(set) var now: Seconds = 0

    private enum Happening: Sendable {
        case die(Int)
        case restart(Int)
        case cut
        case part
        case heal
    }

    /// When the run ends, in virtual seconds.
    package var end: Seconds { self.world.warmup + self.world.partition + self.world.duration }
    package var isDone: Bool { self.now >= self.end }

    package init(_ world: GossipWorld) {
        self.world = world
        var dice = SeededGenerator(seed: world.seed)
        let map = GossipMap(world, dice: &dice)
        self.map = map
        let regionOf = map.hubRegions + (0..<world.agents).map { $0 % world.regions }
        self.network = GossipNetwork(
            hubs: world.hubs,
            oneWay: map.oneWay,
            regionOf: regionOf,
            transport: world.transport,
            faults: NetworkFaults(loss: world.loss)
        )
        self.bytes = Array(repeating: 0, count: world.frameBytes)
        self.cut = Array(repeating: HubSet(), count: world.agents)
        self.incarnations = Array(repeating: 1, count: world.agents)
        self.measure = GossipMeasure(world: world)
        let hubIDs = (0..<world.hubs).compactMap { HubID($0) }
        for hub in hubIDs {
            var mesh = HubMesh(
                hub: hub,
                region: map.names[map.hubRegions[Int(hub.number)]],
                others: hubIDs,
                settings: world.settings,
                now: 0,
                dice: &dice
            )
            for agent in 0..<world.agents {
                let name = map.names[agent % world.regions]
                mesh.know(AgentID(UInt32(agent)), region: name, address: "agent-\(agent).example:7443", incarnation: 1)
            }
            self.hubs.append(mesh)
            self.network.events.add(.wake(node: Int32(hub.number), life: 0), at: mesh.nextWake)
        }
        for agent in 0..<world.agents {
            let isSpared = Double(agent / world.regions % 10) < 10 * world.spared
            if !isSpared {
                var cut = HubSet()
                for hub in hubIDs.shuffled(using: &dice).prefix(world.linksCut) { cut.insert(hub) }
                self.cut[agent] = cut
                self.measure.isMeasured[agent] = true
            }
            self.agents.append(nil)
            self.wakeAt.append(.infinity)
        }
        if !self.measure.isMeasured.contains(true) {
            self.measure.isMeasured = Array(repeating: true, count: world.agents)
        }
        self.dice = dice
        for agent in 0..<world.agents { self.start(agent) }
        self.plan()
    }

    private mutating func plan() {
        self.add(.cut, at: self.world.cutAt)
        var mortal = Array(0..<self.world.agents)
        mortal.shuffle(using: &self.dice)
        let first = self.world.warmup + self.world.partition
        for (order, agent) in mortal.prefix(self.world.kills).enumerated() {
            // The last one is known before the end.
            let span = max(0, self.world.duration - 12)
            self.add(.die(agent), at: first + span * (Double(order) + 0.5) / Double(max(1, self.world.kills)))
        }
        guard self.world.partition > 0 else { return }
        self.add(.part, at: self.world.warmup)
        self.add(.heal, at: first)
        for (order, agent) in mortal.suffix(self.world.agents / 100).enumerated() {
            let at = self.world.warmup + self.world.partition * (Double(order) + 0.5) / Double(self.world.agents / 100)
            self.add(.restart(agent), at: at)
        }
    }

    private mutating func add(_ happening: Happening, at time: Seconds) {
        self.network.events.add(.happen(index: Int32(self.happenings.count)), at: time)
        self.happenings.append(happening)
    }

    private mutating func start(_ agent: Int) {
        let pusher = AgentPusher(
            agent: AgentID(UInt32(agent)),
            incarnation: self.incarnations[agent],
            region: self.map.names[agent % self.world.regions],
            hubs: self.hubs.map(\.hub),
            settings: self.world.settings,
            now: self.now,
            dice: &self.dice
        )
        self.agents[agent] = pusher
        self.wakeAt[agent] = .infinity
        self.planWake(agent, at: pusher.nextWake)
    }

    // MARK: Running

    /// Runs until `time`, in virtual seconds.
    package mutating func advance(to time: Seconds) {
        while self.now < min(time, self.end), let next = self.network.events.next() {
            self.now = next.at
            switch next.event {
            case .wake(let node, let life): self.wake(Int(node), life: life)
            case .arrive(let flight): self.arrive(flight)
            case .happen(let index): self.happen(self.happenings[Int(index)])
            }
        }
    }

    private mutating func wake(_ node: Int, life: Int32) {
        if node < self.hubs.count {
            let effects = self.hubs[node].tick(now: self.now)
            self.take(effects, hub: node)
            self.network.events.add(.wake(node: Int32(node), life: 0), at: self.hubs[node].nextWake)
            return
        }
        let agent = node - self.hubs.count
        guard self.agents[agent] != nil, self.wakeAt[agent] <= self.now else { return }
        self.wakeAt[agent] = .infinity
        var out = self.agents[agent]?.tick(now: self.now) ?? []
        if self.agents[agent]?.isFrameDue(now: self.now) == true,
            let header = self.agents[agent]?.nextHeader(now: self.now)
        {
            let frame = SealedFrame(header: header, bytes: self.bytes)
            out += self.agents[agent]?.publish(frame, now: self.now) ?? []
            self.measure.published(agent, header.stamp, now: self.now)
        }
        self.send(out, from: node)
        self.planWake(agent, at: self.agents[agent]?.nextWake ?? .infinity)
    }

    private mutating func planWake(_ agent: Int, at time: Seconds) {
        guard time < self.wakeAt[agent] else { return }
        self.wakeAt[agent] = time
        self.network.events.add(.wake(node: Int32(self.hubs.count + agent), life: 0), at: max(time, self.now))
    }

    private mutating func arrive(_ index: Int32) {
        guard let flight = self.network.land(index) else { return }
        let (from, to) = (Int(flight.from), Int(flight.to))
        let peer =
            from < self.hubs.count ? Peer.hub(self.hubs[from].hub) : .agent(AgentID(UInt32(from - self.hubs.count)))
        if to < self.hubs.count {
            let effects = self.hubs[to].receive(flight.message, from: peer, now: self.now)
            self.take(effects, hub: to)
        } else {
            let agent = to - self.hubs.count
            guard let out = self.agents[agent]?.receive(flight.message, from: peer, now: self.now) else { return }
            self.send(out, from: to)
            self.planWake(agent, at: self.agents[agent]?.nextWake ?? .infinity)
        }
    }

    private mutating func take(_ effects: HubMesh.Effects, hub: Int) {
        for carried in effects.learned {
            let header = carried.frame.header
            self.measure.learned(Int(header.agent.number), header.stamp, hub: hub, now: self.now)
        }
        for change in effects.changes {
            let agent = Int(change.agent.number)
            self.measure.changed(change, agent: agent, isAlive: self.agents[agent] != nil, hub: hub, now: self.now)
        }
        self.send(effects.messages, from: hub)
    }

    private mutating func send(_ messages: [Outgoing], from: Int) {
        for outgoing in messages {
            let to: Int
            switch outgoing.to {
            case .hub(let hub): to = Int(hub.number)
            case .agent(let agent): to = self.hubs.count + Int(agent.number)
            }
            let wire = Wire.bytes(of: outgoing.message)
            self.measure.sent(wire.bytes, isMesh: from < self.hubs.count && to < self.hubs.count, now: self.now)
            self.network.send(
                outgoing.message,
                from: from,
                to: to,
                life: 0,
                segments: wire.segments,
                now: self.now,
                dice: &self.dice
            )
        }
    }

    private mutating func happen(_ happening: Happening) {
        switch happening {
        case .die(let agent):
            self.agents[agent] = nil
            self.measure.died(agent, now: self.now)
        case .restart(let agent):
            self.incarnations[agent] += 1
            self.start(agent)
        case .cut:
            for agent in self.cut.indices { self.network.cut[self.world.hubs + agent] = self.cut[agent] }
        case .part:
            for node in self.network.side.indices { self.network.side[node] = UInt8(self.network.regionOf[node] % 2) }
        case .heal:
            for node in self.network.side.indices { self.network.side[node] = 0 }
            self.measure.healed(alive: self.agents.map { $0 != nil }, now: self.now)
        }
    }

    /// What was measured so far.
    package var outcome: GossipOutcome {
        var outcome = self.measure.outcome(now: self.now)
        outcome.coordinateError = self.coordinateError
        return outcome
    }

    /// The median of how far coordinates are off, as a share of the true round trip, over pairs of regions that no link
    /// measured; `nil` when every pair was measured.
    private var coordinateError: Double? {
        guard let hub = self.hubs.first else { return nil }
        var errors: [Double] = []
        for a in self.map.names.indices {
            for b in self.map.names.indices where a < b {
                guard let entry = hub.roundTrips.roundTrip(self.map.names[a], self.map.names[b], now: self.now),
                    !entry.isMeasured
                else { continue }
                let truth = 2 * self.map.oneWay[a][b]
                errors.append(abs(entry.roundTrip - truth) / truth)
            }
        }
        guard !errors.isEmpty else { return nil }
        errors.sort()
        return errors[errors.count / 2]
    }
}
