import FleetModel

/// Hub to hub: eager push, and repair by have-vectors.
extension HubMesh {
    /// Sends the other hub what it lacks and what is new here; a sign of life when there is nothing to say.
    mutating func flush(_ index: Int, into messages: inout [Outgoing]) {
        let settings = self.settings
        if self.now - self.links[index].heardAt > settings.peerSilence, !self.links[index].isSilent {
            self.links[index].isSilent = true
            self.links[index].suspicions = [:]
            self.health.worsen(now: self.now)
        }
        let quiet = self.now - self.links[index].flushedAt >= settings.quietFlushEvery - 1e-6
        var flush = MeshFlush(
            run: self.run,
            sentAt: self.now,
            echo: self.links[index].lastSentAt.map {
                FlushEcho(sentAt: $0, heldFor: self.now - self.links[index].lastArrivedAt)
            },
            frames: [],
            have: [],
            isComplete: false
        )
        if !self.links[index].isSilent {
            self.fill(&flush, for: index)
        } else if !quiet {
            return
        }
        guard quiet || !flush.frames.isEmpty || !flush.have.isEmpty || flush.suspicions != nil else { return }
        self.links[index].flushedAt = self.now
        self.counts.flushed += flush.frames.count
        messages.append(Outgoing(to: .hub(self.links[index].hub), message: .flush(flush)))
    }

    private mutating func fill(_ flush: inout MeshFlush, for index: Int) {
        let settings = self.settings
        let other = self.links[index].hub
        let oneWay = self.links[index].roundTrip.oneWay
        let retry = 1.3 * (self.links[index].roundTrip.smooth ?? 0.3) + 2 * settings.flushEvery + 0.06
        let (now, registers) = (self.now, self.registers)
        let due = self.links[index].takeDue(settings, now: now, retry: retry) { slot in
            let register = registers[slot]
            guard let frame = register.frame else { return nil }
            var due = register.arrivedAt
            if frame.header.reach.contains(other) {
                due += settings.waitForAgent
            } else if case .hub = register.via {
                due += settings.waitForPeer
            }
            return (register.stamp, due, frame.bytes.count)
        }
        flush.frames.reserveCapacity(due.count)
        for slot in due {
            guard let frame = self.registers[slot].frame else { continue }
            let age = self.now - self.registers[slot].madeAt + oneWay
            flush.frames.append(CarriedFrame(frame: frame, age: age))
        }
        let news = self.links[index].takeNews()
        if self.now >= self.links[index].completeAt {
            self.links[index].completeAt = self.now + settings.completeEvery
            flush.isComplete = true
            flush.region = self.region
            flush.have = self.registers.map { HaveEntry(agent: $0.agent, stamp: $0.stamp) }
            flush.roundTrips = self.roundTrips.own(now: self.now)
        } else {
            flush.have = news.map { HaveEntry(agent: self.registers[$0].agent, stamp: self.registers[$0].stamp) }
        }
        if flush.isComplete || self.now <= self.links[index].tellSuspicionsUntil {
            flush.suspicions = self.registers.filter { $0.liveness == .suspect || $0.liveness == .unreachable }
                .map { HaveEntry(agent: $0.agent, stamp: $0.stamp) }
        }
    }

    /// Takes what another hub tells.
    mutating func take(
        _ flush: MeshFlush,
        on index: Int,
        into effects: inout Effects,
        isGenuine: (SealedFrame) -> Bool
    ) {
        if flush.run != self.links[index].run || self.links[index].isSilent {
            // The other has restarted, or the link was cut: both tell everything at once.
            if flush.run != self.links[index].run {
                let stamps = self.registers.map(\.stamp)
                self.links[index].replaceHave(stamps.map { _ in .none }, held: stamps)
            }
            self.links[index].run = flush.run
            self.links[index].isSilent = false
            self.links[index].forgetSent()
            self.links[index].completeAt = self.now
        }
        self.links[index].heardAt = self.now
        if let region = flush.region { self.links[index].region = region }
        self.links[index].lastSentAt = flush.sentAt
        self.links[index].lastArrivedAt = self.now
        if let echo = flush.echo, echo.heldFor >= 0 {
            self.links[index].roundTrip.measure(self.now - echo.sentAt - echo.heldFor, now: self.now)
        }
        for carried in flush.frames.prefix(self.settings.framesPerFlush) {
            let header = carried.frame.header
            guard self.join(carried, via: .hub(self.links[index].hub), into: &effects, isGenuine: isGenuine),
                let slot = self.slots[header.agent]
            else { continue }
            self.links[index].has(slot, header.stamp)
        }
        if flush.isComplete {
            var have = Array(repeating: FrameStamp.none, count: self.registers.count)
            for entry in flush.have.prefix(self.settings.agentsMax) {
                if let slot = self.slots[entry.agent] { have[slot] = entry.stamp }
            }
            self.links[index].replaceHave(have, held: self.registers.map(\.stamp))
        } else {
            for entry in flush.have.prefix(self.settings.agentsMax) {
                if let slot = self.slots[entry.agent] { self.links[index].has(slot, entry.stamp) }
            }
        }
        if let suspicions = flush.suspicions {
            self.links[index].suspicions = [:]
            for entry in suspicions.prefix(self.settings.agentsMax) {
                self.links[index].suspicions[entry.agent] = entry.stamp
            }
        }
        for value in (flush.roundTrips ?? []).prefix(RoundTripMatrix.pairsMax) {
            self.roundTrips.take(value, isOwn: false, now: self.now)
        }
    }

    /// This hub's own links to the others are round trips between regions too.
    mutating func measureLinks() {
        for link in self.links {
            guard let own = self.region, let region = link.region, let smooth = link.roundTrip.smooth,
                let minimum = link.roundTrip.minimum
            else { continue }
            let value = RegionRoundTrip(source: own, target: region, smooth: smooth, minimum: minimum)
            self.roundTrips.take(value, isOwn: true, now: self.now)
        }
    }
}
