package import FleetModel

/// An agent's liveness is another than before.
package struct LivenessChange: Hashable, Sendable {
    package var agent: AgentID
    package var from: Liveness
    package var to: Liveness
    /// How long it had been silent, in seconds.
    package var silence: Seconds
}

/// What a hub knows of one agent.
package struct AgentView: Hashable, Sendable {
    package var agent: AgentID
    package var region: RegionName?
    package var stamp: FrameStamp
    package var frame: SealedFrame?
    /// Since the agent made the frame, in seconds.
    package var age: Seconds
    /// Since this hub took it, in seconds.
    package var heldFor: Seconds
    package var liveness: Liveness
    package var phi: Double
    /// The share of the agent's capacity to plan with, 0 to 1: less after a silence, growing again after it.
    package var admission: Double
    /// Through whom the frame came.
    package var via: Peer
}

/// Who is silent, and since when.
extension HubMesh {
    /// A newer frame of an agent came: whatever was suspected is refuted.
    mutating func hear(_ slot: Int, isFirst: Bool, age: Seconds, into effects: inout Effects) {
        let awake = self.awake
        // A frame that lay somewhere for long tells that its agent lived then, not that it lives now.
        let heardAt = awake - max(0, age - self.settings.interval)
        if isFirst {
            self.registers[slot].heardAt = heardAt
        } else {
            self.registers[slot].detector.observe(interval: max(0, heardAt - self.registers[slot].heardAt))
            self.registers[slot].heardAt = max(self.registers[slot].heardAt, heardAt)
        }
        let silence = awake - self.registers[slot].heardAt
        self.registers[slot].judgeAt = 0
        let before = self.registers[slot].liveness
        guard before != .fresh, silence <= self.settings.interval else { return }
        if before == .gone { self.registers[slot].admission = 0 }
        self.registers[slot].liveness = .fresh
        effects.changes.append(
            LivenessChange(agent: self.registers[slot].agent, from: before, to: .fresh, silence: silence)
        )
        if before != .aging { self.tellSuspicions() }
    }

    private mutating func tellSuspicions() {
        for index in self.links.indices {
            self.links[index].tellSuspicionsUntil = self.now + self.settings.quietFlushEvery
        }
    }

    /// Judges every agent's silence, and moves shares of capacity.
    mutating func judge(since last: Seconds, into changes: inout [LivenessChange]) {
        let awake = self.awake
        var total = 0.0
        for slot in self.registers.indices where self.registers[slot].frame != nil {
            if self.registers[slot].liveness != .gone { total += self.registers[slot].weight }
            if self.registers[slot].judgeAt <= awake { self.judge(slot, awake: awake, into: &changes) }
        }
        var massGuard = self.massGuard
        massGuard.weigh(
            total: total,
            weight: { self.registers[$0].liveness == .fresh ? 0 : self.registers[$0].weight },
            isConfirmed: { 2 * (1 + self.confirmations(of: $0)) > self.links.count + 1 && !self.links.isEmpty },
            now: self.now,
            settings: self.settings
        )
        self.massGuard = massGuard
        guard !self.isFrozen else { return }
        let elapsed = max(0, self.now - last)
        for slot in self.registers.indices { self.admit(slot, elapsed: elapsed) }
    }

    private mutating func judge(_ slot: Int, awake: Seconds, into changes: inout [LivenessChange]) {
        let register = self.registers[slot]
        guard let frame = register.frame else { return }
        let silence = awake - register.heardAt
        let multiplier = self.health.multiplier
        let limits = register.detector.thresholds(announced: frame.header.interval, settings: self.settings)
        var to = Liveness.fresh
        var nextAt = register.heardAt + limits.aging
        if silence >= self.settings.goneAfter {
            to = .gone
            nextAt = .infinity
        } else if silence >= limits.suspect * multiplier {
            to = register.liveness == .unreachable ? .unreachable : .suspect
            nextAt = 0
            if silence >= self.unreachableAfter(slot) * multiplier, !self.isFrozen { to = .unreachable }
        } else if silence >= limits.aging * multiplier {
            // Once suspected, only a frame acquits.
            to = max(register.liveness, .aging)
            nextAt = register.heardAt + limits.suspect
        } else if register.liveness != .fresh {
            to = register.liveness
            nextAt = register.heardAt + limits.aging
        }
        self.registers[slot].judgeAt = nextAt
        guard to != register.liveness else { return }
        self.registers[slot].liveness = to
        if to == .gone { self.registers[slot].frame = nil }
        if to == .suspect { self.massGuard.doubt(slot, now: self.now) }
        changes.append(LivenessChange(agent: register.agent, from: register.liveness, to: to, silence: silence))
        if to != .aging { self.tellSuspicions() }
    }

    /// Other hubs that suspect an agent, and have nothing newer of it than this hub.
    func confirmations(of slot: Int) -> Int {
        let (agent, stamp) = (self.registers[slot].agent, self.registers[slot].stamp)
        var count = 0
        for link in self.links {
            if let suspected = link.suspicions[agent], suspected >= stamp { count += 1 }
        }
        return count
    }

    /// Lifeguard's time-out, shrinking with the logarithm of confirmations: from the most down to the least.
    ///
    /// With nobody to ask, there is nothing to wait for.
    private func unreachableAfter(_ slot: Int) -> Seconds {
        let (least, most) = (self.settings.unreachableMin, self.settings.unreachableMax)
        let wanted = min(self.settings.confirmations, self.links.count { !$0.isSilent })
        guard wanted > 0 else { return self.links.isEmpty ? least : most }
        let confirmed = logarithm(Double(self.confirmations(of: slot) + 1)) / logarithm(Double(wanted + 1))
        return max(least, most - (most - least) * confirmed)
    }

    /// Moves one share: half a second while suspect, doubled while fresh, held while aging.
    private mutating func admit(_ slot: Int, elapsed: Seconds) {
        let register = self.registers[slot]
        switch register.liveness {
        case .fresh:
            guard register.admission < 1 else { return }
            let share = max(self.settings.readmission, register.admission) * power(2, elapsed)
            self.registers[slot].admission = min(1, share)
        case .aging: break
        case .suspect, .unreachable, .gone:
            guard self.now - register.servedAt > self.settings.vouchedFor else { return }
            self.registers[slot].admission = register.admission * power(0.5, elapsed)
        }
    }

    /// Whether so much turned suspect at once that this hub takes itself for cut off: shares do not move.
    package var isFrozen: Bool { self.massGuard.frozenSince != nil }

    /// What is known of every agent, by number.
    package func views(now: Seconds) -> [AgentView] {
        let now = self.clock.peek(now)
        return self.registers.sorted { $0.agent < $1.agent }.map { register in
            AgentView(
                agent: register.agent,
                region: register.region,
                stamp: register.stamp,
                frame: register.frame,
                age: max(0, now - register.madeAt),
                heldFor: max(0, now - register.arrivedAt),
                liveness: register.liveness,
                phi: register.detector.phi(
                    silence: now - self.asleep - register.heardAt,
                    announced: register.frame?.header.interval ?? self.settings.interval,
                    settings: self.settings
                ),
                admission: register.admission,
                via: register.via
            )
        }
    }

    /// The newest stamp held of an agent; `nil` for one never heard.
    package func stamp(of agent: AgentID) -> FrameStamp? { self.slots[agent].map { self.registers[$0].stamp } }

    /// Through whom the newest frame of an agent came.
    package func via(of agent: AgentID) -> Peer? { self.slots[agent].map { self.registers[$0].via } }

    package func liveness(of agent: AgentID) -> Liveness? { self.slots[agent].map { self.registers[$0].liveness } }

    /// What a hub says of itself.
    package struct Summary: Hashable, Sendable {
        package var hub: HubID
        package var region: RegionName?
        package var isFrozen: Bool
        /// How little it trusts its own ears, 0 to 8.
        package var doubt: Int
    }

    package var summary: Summary {
        Summary(hub: self.hub, region: self.region, isFrozen: self.isFrozen, doubt: self.health.score)
    }

    /// What is known of another hub.
    package struct MemberView: Hashable, Sendable {
        package var hub: HubID
        /// How long it has been silent, in seconds; `nil` for one never heard.
        package var silence: Seconds?
        package var roundTrip: RoundTripEstimate
        package var region: RegionName?
    }

    /// The other hubs, by number.
    package func members(now: Seconds) -> [MemberView] {
        let now = self.clock.peek(now)
        return self.links.map { link in
            MemberView(
                hub: link.hub,
                silence: link.heardAt.isFinite ? max(0, now - link.heardAt) : nil,
                roundTrip: link.roundTrip,
                region: link.region
            )
        }
    }

    /// The newest stamp of an agent that each other hub said it holds.
    package func stampsElsewhere(of agent: AgentID) -> [(hub: HubID, stamp: FrameStamp)] {
        guard let slot = self.slots[agent] else { return [] }
        return self.links.map { ($0.hub, $0.have[slot]) }
    }
}

extension Liveness: Comparable {
    private var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }

    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.rank < rhs.rank }
}
