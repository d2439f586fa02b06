import FleetModel
import GossipCore

/// What goes wrong in a trial.
extension GossipTrial {
    mutating func happen(_ fault: NetworkFault) {
        switch fault {
        case .storm:
            guard self.now < self.stormEnds - 0.5 else { return }
            self.strike()
            self.plan(.storm, at: self.now + Double.random(in: 0.05...1.5, using: &self.dice))
        case .end(let blocked): for pair in blocked { self.network.blocked.remove(pair) }
        case .unclog(let pair): self.network.clogged[pair] = nil
        case .join: for node in self.nodes.indices { self.network.side[node] = 0 }
        case .restartHub(let hub): if self.hubs[hub] == nil { self.startHub(hub) }
        case .restartAgent(let agent): if self.agents[agent] == nil { self.startAgent(agent) }
        }
    }

    private mutating func strike() {
        let count = self.nodes.count
        let node = Int.random(in: 0..<count, using: &self.dice)
        let other = Int.random(in: 0..<count, using: &self.dice)
        let hub = Int.random(in: self.hubs.indices, using: &self.dice)
        let agent = Int.random(in: self.agents.indices, using: &self.dice)
        let length = -2.5 * Math.log(1 - Double.random(in: 0..<1, using: &self.dice)) + 0.1
        switch Int.random(in: 0..<13, using: &self.dice) {
        case 0: self.block([node * count + other], for: length)
        case 1: self.block([node * count + other, other * count + node], for: length)
        case 2: self.block((0..<count).flatMap { [node * count + $0, $0 * count + node] }, for: length)
        case 3:
            // An agent loses all hubs at once, and nothing else.
            let from = self.hubs.count + agent
            self.block(self.hubs.indices.flatMap { [from * count + $0, $0 * count + from] }, for: 2 * length)
        case 4:
            for place in self.nodes.indices { self.network.side[place] = Bool.random(using: &self.dice) ? 1 : 0 }
            self.plan(.join, at: self.now + length)
        case 5:
            self.network.clogged[node * count + other] = self.now + length
            self.plan(.unclog(node * count + other), at: self.now + length)
        case 6:
            self.agents[agent] = nil
            self.nodes[self.hubs.count + agent].life += 1
            self.plan(.restartAgent(agent), at: self.now + Double.random(in: 0.05...8, using: &self.dice))
        case 7:
            self.hubs[hub] = nil
            self.nodes[hub].life += 1
            self.plan(.restartHub(hub), at: self.now + Double.random(in: 0.05...8, using: &self.dice))
        case 8: self.nodes[node].pausedUntil = min(self.stormEnds, self.now + min(6, length))
        case 9:
            self.hasSteppedClock = true
            self.nodes[node].clockOffset += Double.random(in: -30...30, using: &self.dice)
            if node >= self.hubs.count { self.planWake(agent: node - self.hubs.count) }
        case 10:
            let local = self.nodes[self.hubs.count + agent].local(self.now)
            for _ in 0..<Int.random(in: 1...20, using: &self.dice) { self.agents[agent]?.hasChanged(now: local) }
            self.planWake(agent: agent)
        case 11: self.replay(to: hub, by: agent)
        default: self.forge(to: hub, by: agent)
        }
    }

    private mutating func block(_ pairs: [Int], for length: Seconds) {
        self.network.blocked.formUnion(pairs)
        self.plan(.end(blocked: pairs), at: self.now + length)
    }

    /// An agent brings a frame of the past again, as if it were new.
    private mutating func replay(to hub: Int, by agent: Int) {
        guard let old = self.book.everSealed.randomElement(using: &self.dice) else { return }
        self.book.replays(old)
        self.inject(old, to: hub, by: agent)
    }

    /// An agent brings a frame that another would have to have sealed.
    private mutating func forge(to hub: Int, by agent: Int) {
        guard var forged = self.book.everSealed.randomElement(using: &self.dice) else { return }
        let stamp = forged.header.stamp
        forged.header.stamp = FrameStamp(incarnation: stamp.incarnation + 1, sequence: stamp.sequence + 1_000)
        self.inject(forged, to: hub, by: agent)
    }

    private mutating func inject(_ frame: SealedFrame, to hub: Int, by agent: Int) {
        let push = FramePush(carried: CarriedFrame(frame: frame, age: 0), sentAt: 0)
        let sender = AgentID(UInt32(agent))
        self.network.inject(
            frame.header.agent == sender ? .push(push) : .forward(push),
            from: self.hubs.count + agent,
            to: hub,
            life: self.nodes[hub].life,
            at: self.now + 0.001
        )
    }

    /// The storm is over: links work, who was to come back is back.
    ///
    /// Clocks stay as they are.
    mutating func heal() {
        self.network.faults = NetworkFaults(loss: 0, duplication: 0, jitter: 0.001)
        self.network.reopen()
        self.network.blocked = []
        self.network.clogged = [:]
        for node in self.nodes.indices { self.network.side[node] = 0 }
        for hub in self.hubs.indices where self.hubs[hub] == nil { self.startHub(hub) }
        for index in self.faults.indices {
            // Half of the dead agents stay dead.
            if case .restartAgent(let agent) = self.faults[index], Bool.random(using: &self.dice) {
                self.faults[index] = .end(blocked: [])
                if Bool.random(using: &self.dice), self.agents[agent] == nil { self.startAgent(agent) }
            }
        }
        for index in self.faults.indices {
            if case .restartAgent = self.faults[index] { self.faults[index] = .end(blocked: []) }
        }
        self.cutForGood()
        self.book.healed(self)
    }

    /// Some links stay cut after the storm, so that coming right is the work of mesh and relays and not of direct
    /// pushes alone: a third of the agents keep one hub, and a few keep none, if the relays that they know do reach one.
    private mutating func cutForGood() {
        guard self.hubs.count > 1 || self.agents.count > 3 else { return }
        var direct = Set(self.agents.indices.filter { self.agents[$0] != nil })
        for agent in self.agents.indices where self.agents[agent] != nil {
            let draw = Double.random(in: 0..<1, using: &self.dice)
            let kept = Int.random(in: self.hubs.indices, using: &self.dice)
            let node = self.hubs.count + agent
            if draw < 0.33, self.hubs.count > 1 {
                for hub in self.hubIDs where hub != self.hubIDs[kept] { self.network.cut[node].insert(hub) }
            } else if draw < 0.6, let relays = self.agents[agent]?.relays, !relays.isEmpty {
                let useful = relays.filter { direct.contains(Int($0.number)) && Int($0.number) != agent }
                guard useful.count >= 1, 2 * useful.count >= relays.count else { continue }
                for hub in self.hubIDs { self.network.cut[node].insert(hub) }
                direct.remove(agent)
                // Whoever helps has to stay as it is.
                for relay in useful { self.helpers.insert(Int(relay.number)) }
            }
            if self.helpers.contains(agent) { self.network.cut[node] = HubSet() }
        }
        for helper in self.helpers { self.network.cut[self.hubs.count + helper] = HubSet() }
    }
}

extension GossipNetwork {
    /// Puts a message on the way that no node sent.
    mutating func inject(_ message: GossipMessage, from: Int, to: Int, life: Int32, at time: Seconds) {
        self.depart(
            Flight(from: Int32(from), to: Int32(to), life: life, sentAt: time, message: message),
            arrivesAt: time
        )
    }
}
