import FleetModel
import GossipCore
import TestKit

/// One seed's worth of everything that can go wrong, on the real ``AgentPusher`` and ``HubMesh``: loss, delay,
/// duplication, reordering, cut and clogged links, partitions, isolated nodes, crashes, restarts, pauses, steps and
/// drift of clocks, replays and forgeries.
///
/// Then the network heals, and everything has to come right.
///
/// The invariants are ``GossipLaw``. The seed decides everything, so a broken one replays exactly.
package struct GossipTrial: Sendable {
    struct Node: Sendable {
        var life: Int32 = 0
        var clockRate: Double
        var clockOffset: Seconds
        var pausedUntil: Seconds = 0

        func local(_ time: Seconds) -> Seconds { time * self.clockRate + self.clockOffset }
        func global(_ time: Seconds) -> Seconds { (time - self.clockOffset) / self.clockRate }
    }

    package let seed: UInt64
    /// What is broken on purpose, to see whether the laws notice.
    let mutant: GossipMutant?
    var dice: SeededGenerator
    var network: GossipNetwork
    var nodes: [Node]
    var hubs: [HubMesh?]
    var agents: [AgentPusher?]
    var wakeAt: [Seconds]
    var incarnations: [UInt32]
    var book: GossipBook
    let names: [RegionName]
    let settings: GossipSettings
    let hubIDs: [HubID]
    let stormEnds: Seconds
    var faults: [NetworkFault] = []
    var now: Seconds = 0
    var hasSteppedClock = false
    /// Agents that others need after the storm.
    var helpers: Set<Int> = []
    /// Everything that happened, folded into a number.
    package internal(set) var trace: UInt64 = 0xcbf2_9ce4_8422_2325

    enum NetworkFault: Sendable {
        case storm
        case end(blocked: [Int])
        case unclog(Int)
        case join
        case restartHub(Int)
        case restartAgent(Int)
    }

    /// - Parameters:
    ///   - seed: Decides everything.
    ///   - mutant: What to break; the dice fall the same with and without.
    package init(seed: UInt64, mutant: GossipMutant? = nil) {
        self.seed = seed
        self.mutant = mutant
        var dice = SeededGenerator(seed: seed)
        let hubs = Int.random(in: 1...5, using: &dice)
        let agents = Int.random(in: 2...8, using: &dice)
        let regions = Int.random(in: 1...4, using: &dice)
        var oneWay = Array(repeating: Array(repeating: 0.000_4, count: regions), count: regions)
        for a in 0..<regions {
            for b in 0..<a {
                oneWay[a][b] = Double.random(in: 0.001...0.15, using: &dice)
                oneWay[b][a] = oneWay[a][b]
            }
        }
        var faults = NetworkFaults()
        faults.loss = Bool.random(using: &dice) ? Double.random(in: 0...0.3, using: &dice) : 0
        faults.duplication = Bool.random(using: &dice) ? Double.random(in: 0...0.2, using: &dice) : 0
        faults.jitter = Bool.random(using: &dice) ? Double.random(in: 0.001...0.2, using: &dice) : 0.001
        self.network = GossipNetwork(
            hubs: hubs,
            oneWay: oneWay,
            regionOf: (0..<hubs + agents).map { _ in Int.random(in: 0..<regions, using: &dice) },
            transport: Int.random(in: 0..<4, using: &dice) == 0 ? .streams : .datagrams,
            faults: faults
        )
        self.nodes = (0..<hubs + agents).map { _ in
            Node(
                clockRate: Double.random(in: 0.98...1.02, using: &dice),
                clockOffset: Double.random(in: 0...1_000_000, using: &dice)
            )
        }
        var settings = GossipSettings()
        if Bool.random(using: &dice) { settings.framesPerFlush = Int.random(in: 1...8, using: &dice) }
        mutant?.breakSettings(&settings)
        self.settings = settings
        self.names = (0..<regions).map { RegionName(unchecked: "region-\($0)") }
        self.hubIDs = (0..<hubs).compactMap { HubID($0) }
        self.hubs = Array(repeating: nil, count: hubs)
        self.agents = Array(repeating: nil, count: agents)
        self.wakeAt = Array(repeating: .infinity, count: agents)
        self.incarnations = Array(repeating: 0, count: agents)
        self.stormEnds = Double.random(in: 8...25, using: &dice)
        self.book = GossipBook(hubs: hubs, agents: agents)
        self.dice = dice
        for hub in 0..<hubs { self.startHub(hub) }
        for agent in 0..<agents { self.startAgent(agent) }
        self.plan(.storm, at: 2)
    }

    /// Runs the trial to its end.
    ///
    /// - Throws: ``BrokenGossipLaw``, the first one.
    package mutating func run() throws(BrokenGossipLaw) {
        try self.advance(to: self.stormEnds)
        self.heal()
        try self.advance(to: self.stormEnds + GossipBook.agreementWithin)
        try self.book.checkAgreement(self)
        try self.advance(to: self.stormEnds + GossipBook.restWithin - GossipBook.quietFor)
        self.book.quietBegins()
        try self.advance(to: self.stormEnds + GossipBook.restWithin)
        try self.book.checkRest(self)
    }

    private mutating func advance(to time: Seconds) throws(BrokenGossipLaw) {
        while let next = self.network.events.next() {
            guard next.at < time else {
                self.network.events.add(next.event, at: next.at)
                break
            }
            self.now = next.at
            switch next.event {
            case .wake(let node, let life): try self.wake(Int(node), life: life, event: next.event)
            case .arrive(let flight): try self.arrive(flight, event: next.event)
            case .happen(let index): self.happen(self.faults[Int(index)])
            }
        }
        self.now = time
    }

    // MARK: Nodes

    mutating func startHub(_ hub: Int) {
        self.nodes[hub].life += 1
        var mesh = HubMesh(
            hub: self.hubIDs[hub],
            region: self.names[self.network.regionOf[hub]],
            others: self.hubIDs,
            settings: self.settings,
            now: self.nodes[hub].local(self.now),
            dice: &self.dice
        )
        // What the store knows outlives every hub.
        for agent in self.agents.indices {
            mesh.know(
                AgentID(UInt32(agent)),
                region: self.names[self.network.regionOf[self.hubs.count + agent]],
                address: "a\(agent):1",
                incarnation: self.incarnations[agent]
            )
        }
        self.hubs[hub] = mesh
        self.book.hubStarted(hub)
        self.planWake(hub: hub)
    }

    mutating func startAgent(_ agent: Int) {
        let node = self.hubs.count + agent
        self.nodes[node].life += 1
        if self.mutant != .forgottenIncarnation || self.incarnations[agent] == 0 { self.incarnations[agent] += 1 }
        self.agents[agent] = AgentPusher(
            agent: AgentID(UInt32(agent)),
            incarnation: self.incarnations[agent],
            region: self.names[self.network.regionOf[node]],
            hubs: self.hubIDs,
            settings: self.settings,
            now: self.nodes[node].local(self.now),
            dice: &self.dice
        )
        self.wakeAt[agent] = .infinity
        self.planWake(agent: agent)
    }

    private mutating func planWake(hub: Int) {
        guard let mesh = self.hubs[hub] else { return }
        let at = max(self.now + 1e-6, self.nodes[hub].global(mesh.nextWake))
        self.network.events.add(.wake(node: Int32(hub), life: self.nodes[hub].life), at: at)
    }

    mutating func planWake(agent: Int) {
        guard let pusher = self.agents[agent] else { return }
        let node = self.hubs.count + agent
        let at = max(self.now + 1e-6, self.nodes[node].global(pusher.nextWake))
        guard at < self.wakeAt[agent] else { return }
        self.wakeAt[agent] = at
        self.network.events.add(.wake(node: Int32(node), life: self.nodes[node].life), at: at)
    }

    private mutating func wake(_ node: Int, life: Int32, event: GossipNetwork.Event) throws(BrokenGossipLaw) {
        guard self.nodes[node].life == life else { return }
        if self.now < self.nodes[node].pausedUntil {
            self.network.events.add(event, at: self.nodes[node].pausedUntil)
            if node >= self.hubs.count { self.wakeAt[node - self.hubs.count] = self.nodes[node].pausedUntil }
            return
        }
        let local = self.nodes[node].local(self.now)
        if node < self.hubs.count {
            guard let before = self.hubs[node], let effects = self.hubs[node]?.tick(now: local) else { return }
            if let mesh = self.hubs[node] { try self.book.ticked(mesh, before: before, local: local, trial: self) }
            try self.take(effects, hub: node)
            self.planWake(hub: node)
            return
        }
        let agent = node - self.hubs.count
        guard self.agents[agent] != nil, self.wakeAt[agent] <= self.now else { return }
        self.wakeAt[agent] = .infinity
        var out = self.agents[agent]?.tick(now: local) ?? []
        if self.agents[agent]?.isFrameDue(now: local) == true, let header = self.agents[agent]?.nextHeader(now: local) {
            let frame = SealedFrame(header: header, bytes: GossipBook.seal(header))
            try self.book.sealed(frame, trial: self)
            out += self.agents[agent]?.publish(frame, now: local) ?? []
        }
        try self.send(out, from: node)
        self.planWake(agent: agent)
    }

    private mutating func arrive(_ index: Int32, event: GossipNetwork.Event) throws(BrokenGossipLaw) {
        if let node = self.network.destination(of: index), self.now < self.nodes[node].pausedUntil {
            self.network.events.add(event, at: self.nodes[node].pausedUntil)
            return
        }
        guard let flight = self.network.land(index) else { return }
        let (from, to) = (Int(flight.from), Int(flight.to))
        guard flight.life == self.nodes[to].life else { return }
        self.book.longestFlight = max(self.book.longestFlight, self.now - flight.sentAt)
        self.fold(UInt64(from) << 32 | UInt64(to))
        let peer: Peer =
            from < self.hubs.count ? .hub(self.hubIDs[from]) : .agent(AgentID(UInt32(from - self.hubs.count)))
        let local = self.nodes[to].local(self.now)
        if to < self.hubs.count {
            let (book, isBlind) = (self.book, self.mutant == .uncheckedSeal)
            guard
                let effects = self.hubs[to]?.receive(
                    flight.message,
                    from: peer,
                    now: local,
                    isGenuine: { isBlind || book.isGenuine($0) }
                )
            else { return }
            try self.take(effects, hub: to)
        } else {
            let agent = to - self.hubs.count
            guard let out = self.agents[agent]?.receive(flight.message, from: peer, now: local) else { return }
            try self.send(out, from: to)
            self.planWake(agent: agent)
        }
    }

    mutating func take(_ effects: HubMesh.Effects, hub: Int) throws(BrokenGossipLaw) {
        for carried in effects.learned { try self.book.learned(carried, hub: hub, trial: self) }
        for change in effects.changes {
            try self.book.changed(change, hub: hub, trial: self)
            self.fold(UInt64(change.agent.number) << 8 | UInt64(change.to.rawValue.utf8.count))
        }
        try self.send(effects.messages, from: hub)
    }

    private mutating func send(_ messages: [Outgoing], from: Int) throws(BrokenGossipLaw) {
        for outgoing in self.mutant.map({ mutant in messages.compactMap { mutant.alter($0) } }) ?? messages {
            try self.book.sent(outgoing, from: from, trial: self)
            let to: Int
            switch outgoing.to {
            case .hub(let hub): to = Int(hub.number)
            case .agent(let agent): to = self.hubs.count + Int(agent.number)
            }
            self.network.send(
                outgoing.message,
                from: from,
                to: to,
                life: self.nodes[to].life,
                segments: 1,
                now: self.now,
                dice: &self.dice
            )
        }
    }

    private mutating func fold(_ value: UInt64) {
        self.trace = (self.trace ^ value ^ self.now.bitPattern) &* 0x100_0000_01b3
    }

    mutating func plan(_ fault: NetworkFault, at time: Seconds) {
        self.network.events.add(.happen(index: Int32(self.faults.count)), at: time)
        self.faults.append(fault)
    }
}
