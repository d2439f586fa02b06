import EngineModel
import EngineSignals
import FleetModel
import RequestRouting

// What a request goes through.

extension FleetSimulation {
    mutating func arrive() {
        guard let arrival = self.nextArrival else { return }
        if self.prefixAtStart == nil, arrival.at >= self.settings.warmup { self.prefixAtStart = self.prefixCount }
        self.drawArrival()
        self.sent += 1
        self.openFlights += 1
        let slot: Int
        if let free = self.freeFlights.popLast() {
            slot = free
            let life = self.flights[slot].life
            self.flights[slot] = Flight(arrival: arrival)
            self.flights[slot].life = life + 1
        } else {
            slot = self.flights.count
            self.flights.append(Flight(arrival: arrival))
        }
        guard self.enter(slot) else {
            self.giveUp(slot)
            return
        }
        guard self.flights[slot].clientTrip > 0 else {
            self.dispatch(slot)
            return
        }
        let way = self.flights[slot].clientTrip / 2
        self.queue.add(.dispatch(flight: slot, life: self.flights[slot].life), at: self.now + way)
    }

    /// Finds the gateway that a client uses; `false` when none is left.
    mutating func enter(_ slot: Int) -> Bool {
        let source = self.flights[slot].arrival.source
        guard let home = self.nearestLiving(to: source) else { return false }
        let living = self.gatewaysOf[home].filter { self.gateways[$0].isUp }
        self.turns[home] += 1
        self.flights[slot].gateway = living[self.turns[home] % living.count]
        self.flights[slot].clientTrip = home == source ? 0 : self.roundTrip(source, home)
        return true
    }

    /// The nearest region with a gateway: where anycast brings the clients of a dead one.
    private func nearestLiving(to source: Int) -> Int? {
        self.world.regions.indices.filter { region in self.gatewaysOf[region].contains { self.gateways[$0].isUp } }
            .min { (self.roundTrip(source, $0), $0) < (self.roundTrip(source, $1), $1) }
    }

    // MARK: Choosing

    mutating func dispatch(_ slot: Int) {
        let gateway = self.flights[slot].gateway
        guard self.gateways[gateway].isUp else {
            self.giveUp(slot)
            return
        }
        let band = self.world.bands[self.flights[slot].arrival.band].band
        if self.flights[slot].tries == 0 {
            self.gateways[gateway].meter.arrived(pool: self.pool, band: band, now: self.now)
        } else if self.flights[slot].tries >= Self.maxTries {
            self.giveUp(slot)
            return
        } else {
            self.retries += 1
        }
        self.flights[slot].tries += 1
        let isSent =
            self.settings.policy.usesRouter
            ? self.dispatchByRouter(slot, band) : self.dispatchByBaseline(slot, band)
        if !isSent { self.giveUp(slot) }
    }

    private mutating func dispatchByRouter(_ slot: Int, _ band: Band) -> Bool {
        let gateway = self.flights[slot].gateway
        var request = PickRequest(pool: self.pool, band: band, failed: self.flights[slot].failedAddresses)
        request.promptTokens = self.flights[slot].arrival.promptTokens
        request.session = self.flights[slot].arrival.prefix.first
        guard let pick = self.pick(request, at: gateway) else { return false }
        // Without a plan a gateway knows another region only, and asks its gateway for any cluster of it.
        let region = self.gatewayAt[pick.target].map { self.gateways[$0].region }
        guard
            let cluster = self.clusterNamed[pick.cluster]
                ?? region.flatMap({ region in self.clusters.firstIndex { $0.region == region } })
        else {
            self.gateways[gateway].router.finished(pick, .cancelled, now: self.now)
            return false
        }
        self.flights[slot].pick = pick
        self.send(slot, to: cluster, target: pick.target)
        return true
    }

    private mutating func dispatchByBaseline(_ slot: Int, _ band: Band) -> Bool {
        let gateway = self.flights[slot].gateway
        let home = self.gateways[gateway].region
        if self.settings.policy == .clairvoyant {
            guard let engine = self.foresee(slot, from: home) else { return false }
            self.engines[engine].promptBacklog += self.flights[slot].arrival.promptTokens
            self.engines[engine].load += 1
            self.send(slot, to: self.engines[engine].cluster, target: self.engines[engine].address)
            return true
        }
        guard
            let cluster = self.gateways[gateway].choose(
                self.settings.policy,
                regions: self.clusters.map(\.region),
                sizes: self.clusters.map(\.engines.count),
                roundTrips: self.world.roundTrips[home],
                excluded: self.flights[slot].failedClusters
            )
        else { return false }
        guard self.clusters[cluster].region == home else {
            let peers = self.gatewaysOf[self.clusters[cluster].region]
            guard let peer = peers.randomElement(using: &self.gateways[gateway].dice) else { return false }
            self.send(slot, to: cluster, target: self.gateways[peer].address)
            return true
        }
        var request = PickRequest(
            pool: self.pool,
            band: band,
            isHop: true,
            cluster: self.clusters[cluster].name,
            failed: self.flights[slot].failedAddresses
        )
        request.promptTokens = self.flights[slot].arrival.promptTokens
        request.session = self.flights[slot].arrival.prefix.first
        guard let pick = self.pick(request, at: gateway) else { return false }
        self.flights[slot].pick = pick
        self.send(slot, to: cluster, target: pick.target)
        return true
    }

    private mutating func pick(_ request: PickRequest, at gateway: Int) -> Pick? {
        do throws(PickRefusal) {
            var dice = self.gateways[gateway].dice
            defer { self.gateways[gateway].dice = dice }
            return try self.gateways[gateway].router.pick(request, now: self.now, using: &dice)
        } catch {
            return nil
        }
    }

    private mutating func send(_ slot: Int, to cluster: Int, target: EndpointAddress) {
        self.flights[slot].cluster = cluster
        self.flights[slot].life += 1
        let gateway = self.flights[slot].gateway
        self.gateways[gateway].inFlight[cluster] += 1
        let way = self.roundTrip(self.gateways[gateway].region, self.clusters[cluster].region) / 2
        if let engine = self.engineAt[target] {
            self.flights[slot].engine = engine
            if self.gateways[gateway].region == self.clusters[cluster].region {
                self.submit(slot)
            } else {
                self.queue.add(.hop(flight: slot, life: self.flights[slot].life), at: self.now + way)
            }
        } else {
            self.flights[slot].peer = self.gatewayAt[target]
            self.queue.add(.hop(flight: slot, life: self.flights[slot].life), at: self.now + way)
        }
    }

    /// The request reaches the other region.
    mutating func hop(_ slot: Int) {
        guard let peer = self.flights[slot].peer else {
            // A clairvoyant's choice, which asks no gateway there.
            self.submit(slot)
            return
        }
        guard self.gateways[peer].isUp else {
            self.flights[slot].failedAddresses.append(self.gateways[peer].address)
            self.fail(slot, after: Self.noticeDelay)
            return
        }
        var request = PickRequest(
            pool: self.pool,
            band: self.world.bands[self.flights[slot].arrival.band].band,
            isHop: true,
            cluster: self.flights[slot].cluster.map { self.clusters[$0].name },
            failed: self.flights[slot].failedAddresses
        )
        request.promptTokens = self.flights[slot].arrival.promptTokens
        request.session = self.flights[slot].arrival.prefix.first
        guard let pick = self.pick(request, at: peer), let engine = self.engineAt[pick.target] else {
            self.flights[slot].failedAddresses.append(self.gateways[peer].address)
            self.fail(slot, after: self.returnWay(of: slot))
            return
        }
        self.flights[slot].peerPick = pick
        self.flights[slot].engine = engine
        self.submit(slot)
    }

    /// Seconds from the cluster back to the gateway.
    private func returnWay(of slot: Int) -> Seconds {
        guard let cluster = self.flights[slot].cluster else { return 0 }
        return self.roundTrip(self.gateways[self.flights[slot].gateway].region, self.clusters[cluster].region) / 2
    }

    // MARK: Engines

    private mutating func submit(_ slot: Int) {
        guard let place = self.flights[slot].engine else { return }
        guard self.engines[place].isUp else {
            self.flights[slot].failedAddresses.append(self.engines[place].address)
            let isSilent = !self.clusters[self.engines[place].cluster].isReachable
            self.fail(slot, after: isSilent ? Self.noticeDelay : self.returnWay(of: slot))
            return
        }
        self.live(engine: place)
        let arrival = self.flights[slot].arrival
        let request = EngineRequest(
            id: EngineRequestID(slot),
            promptTokens: arrival.promptTokens,
            outputTokens: arrival.outputTokens,
            prefix: arrival.prefix
        )
        do throws(EngineRefusal) {
            try self.engines[place].machine.submit(request, now: self.now)
            self.flights[slot].isAtEngine = true
            self.schedule(engine: place)
        } catch {
            // It fits into no engine of this kind: the client gets the engine's own refusal.
            self.giveUp(slot)
        }
    }

    private mutating func schedule(engine place: Int) {
        guard !self.engines[place].isAwaited, let at = self.engines[place].machine.nextEventAt else { return }
        self.engines[place].isAwaited = true
        self.queue.add(.engine(place, life: self.engines[place].life), at: at)
    }

    mutating func wake(engine place: Int, life: Int) {
        guard self.engines[place].life == life else { return }
        self.engines[place].isAwaited = false
        self.live(engine: place)
        self.schedule(engine: place)
    }

    /// Brings an engine to this moment, and tells its clients what it has for them.
    mutating func live(engine place: Int) {
        for event in self.engines[place].machine.advance(to: self.now) {
            guard case .token(let number, let finish) = event.kind else { continue }
            let slot = Int(event.request)
            let way = self.returnWay(of: slot) + self.flights[slot].clientTrip / 2
            let sentAt = self.flights[slot].arrival.at
            if number == 1 {
                self.flights[slot].firstTokenAt = event.at
                self.flights[slot].ttft = event.at + way - sentAt
                self.flights[slot].distance = self.flights[slot].clientTrip + 2 * self.returnWay(of: slot)
                self.flights[slot].prefill = event.at - event.admittedAt
                self.engines[place].promptBacklog -= self.flights[slot].arrival.promptTokens
                if let pick = self.flights[slot].pick { self.gateways[self.flights[slot].gateway].router.began(pick) }
                if let peer = self.flights[slot].peer, let pick = self.flights[slot].peerPick {
                    self.gateways[peer].router.began(pick)
                }
            }
            guard finish != nil else { continue }
            self.engines[place].load -= 1
            self.finish(slot, at: event.at, endToEnd: event.at + way - sentAt)
        }
    }

    private mutating func finish(_ slot: Int, at: Seconds, endToEnd: Seconds) {
        let flight = self.flights[slot]
        if let peer = flight.peer, let pick = flight.peerPick {
            self.gateways[peer].router.finished(pick, .answered, now: self.now)
        }
        self.flights[slot].isAtEngine = false
        let gaps = flight.arrival.outputTokens - 1
        let decoding = at - (flight.firstTokenAt ?? at)
        self.record(slot, endToEnd: endToEnd, interToken: gaps > 0 ? decoding / Double(gaps) : nil)
        self.queue.add(.answered(flight: slot), at: self.now + self.returnWay(of: slot))
    }

    private mutating func record(_ slot: Int, endToEnd: Seconds?, interToken: Seconds? = nil) {
        let flight = self.flights[slot]
        self.flights[slot].isPending = false
        self.records.append(
            RequestRecord(
                at: flight.arrival.at,
                ttft: flight.ttft,
                endToEnd: endToEnd,
                interToken: interToken,
                band: flight.arrival.band,
                source: flight.arrival.source,
                cluster: flight.cluster,
                isRemote: flight.cluster.map { self.clusters[$0].region != flight.arrival.source } ?? false,
                distance: flight.distance,
                prefill: flight.prefill
            )
        )
    }

    // MARK: The end of a try

    /// The gateway will learn that its try failed.
    mutating func fail(_ slot: Int, after delay: Seconds) {
        self.flights[slot].life += 1
        self.flights[slot].isAtEngine = false
        self.queue.add(.failed(flight: slot, life: self.flights[slot].life), at: self.now + delay)
    }

    mutating func tryAgain(_ slot: Int) {
        let flight = self.flights[slot]
        let gateway = flight.gateway
        if let pick = flight.pick { self.gateways[gateway].router.finished(pick, .failed, now: self.now) }
        if let peer = flight.peer, let pick = flight.peerPick {
            self.gateways[peer].router.finished(pick, .failed, now: self.now)
        }
        if let cluster = flight.cluster {
            self.gateways[gateway].inFlight[cluster] -= 1
            self.flights[slot].failedClusters.append(cluster)
        }
        self.flights[slot].pick = nil
        self.flights[slot].peer = nil
        self.flights[slot].peerPick = nil
        self.flights[slot].engine = nil
        self.flights[slot].cluster = nil
        guard flight.ttft == nil else {
            // The client has seen tokens: its answer is cut, and nobody may begin it again.
            self.flights[slot].cluster = flight.cluster
            self.record(slot, endToEnd: nil)
            self.release(slot)
            return
        }
        self.dispatch(slot)
    }

    /// Nobody can answer.
    private mutating func giveUp(_ slot: Int) {
        self.record(slot, endToEnd: nil)
        self.close(slot, .cancelled)
    }

    mutating func close(_ slot: Int, _ outcome: PickOutcome) {
        let flight = self.flights[slot]
        if let pick = flight.pick { self.gateways[flight.gateway].router.finished(pick, outcome, now: self.now) }
        if let peer = flight.peer, let pick = flight.peerPick {
            self.gateways[peer].router.finished(pick, outcome, now: self.now)
        }
        if let cluster = flight.cluster { self.gateways[flight.gateway].inFlight[cluster] -= 1 }
        self.release(slot)
    }

    private mutating func release(_ slot: Int) {
        guard self.flights[slot].isOpen else { return }
        self.flights[slot].isOpen = false
        self.flights[slot].isAtEngine = false
        self.flights[slot].life += 1
        self.openFlights -= 1
        self.freeFlights.append(slot)
    }

    // MARK: The clairvoyant

    /// The engine with the least time to first token of this request, as far as the true state of all tells.
    private func foresee(_ slot: Int, from home: Int) -> Int? {
        let prompt = self.flights[slot].arrival.promptTokens
        var best: (engine: Int, time: Seconds)?
        for place in self.engines.indices where self.engines[place].isUp {
            let cluster = self.engines[place].cluster
            let trip = self.roundTrip(home, self.clusters[cluster].region)
            guard trip < best?.time ?? .infinity, !self.flights[slot].failedClusters.contains(cluster),
                self.clusters[cluster].observer.wanted == .active
            else { continue }
            let time = trip + self.predicted(prompt, on: place, at: self.now + trip / 2)
            if time < best?.time ?? .infinity { best = (place, time) }
        }
        return best?.engine
    }

    /// Until the first token of a prompt that reaches an engine at `time`: the step in progress, the prompts before it,
    /// its own, and the wait for a seat when all are taken.
    private func predicted(_ prompt: Int, on place: Int, at time: Seconds) -> Seconds {
        let engine = self.engines[place]
        let (profile, cost) = (engine.machine.profile, engine.machine.profile.cost)
        let residual = max(0, (engine.machine.nextEventAt ?? 0) - time)
        let own = Double(prompt)
        let prefill = cost.token * Double(engine.promptBacklog + prompt) + cost.attentionPair * own * own / 2
        let step = cost.overhead + max(cost.weights, cost.base + prefill) + cost.sequence * Double(engine.load)
        let blocked = engine.load + 1 - profile.maxSequences
        let seat = blocked > 0 ? Double(blocked) / self.trueCapacity[engine.cluster] : 0
        return profile.apiOverhead + residual + step + seat
    }
}
