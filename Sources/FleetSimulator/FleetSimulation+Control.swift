import EngineModel
import EngineSignals
import FleetModel
import FleetPlanning
import GossipCore
import Leadership
import RequestRouting

// The control loops: agents, hub, gateways.

extension FleetSimulation {
    mutating func handle(_ event: Event) {
        switch event {
        case .arrival: self.arrive()
        case .dispatch(let flight, let life): if self.flights[flight].life == life { self.dispatch(flight) }
        case .hop(let flight, let life): if self.flights[flight].life == life { self.hop(flight) }
        case .failed(let flight, let life): if self.flights[flight].life == life { self.tryAgain(flight) }
        case .answered(let flight): self.close(flight, .answered)
        case .engine(let place, let life): self.wake(engine: place, life: life)
        case .scrape(let cluster): self.scrape(cluster)
        case .gateway(let place): self.lookAround(gateway: place)
        case .tick:
            self.plan(isTick: true)
            self.queue.add(.tick, at: self.now + Self.tick)
        case .planNow: self.plan(isTick: false)
        case .mail(let slot): self.deliver(slot)
        case .happening(let place): self.apply(self.settings.events[place].event)
        case .engineDown(let place, let pause):
            self.stop(engine: place, isSilent: false)
            self.queue.add(.engineUp(place), at: self.now + pause)
        case .engineUp(let place): self.start(engine: place)
        }
    }

    // MARK: Agents

    private mutating func scrape(_ place: Int) {
        for engine in self.clusters[place].engines {
            if self.engines[engine].isUp { self.live(engine: engine) }
            self.clusters[place].observer.take(
                self.engines[engine].isUp ? .success(self.engines[engine].reading) : .failure(.refused),
                from: self.engines[engine].address,
                now: self.now
            )
        }
        if self.clusters[place].isReachable { self.speak(cluster: place) }
        self.queue.add(.scrape(cluster: place), at: self.now + SimulatedCluster.scrapePeriod)
    }

    /// Shows samples to the gateways of the region, and sends a frame when it is time.
    private mutating func speak(cluster place: Int) {
        let region = self.clusters[place].region
        let batch = SampleBatch(
            cluster: self.clusters[place].name,
            region: self.world.regions[region].name,
            pool: self.pool,
            samples: self.clusters[place].observer.samples(now: self.now)
        )
        for gateway in self.gatewaysOf[region] { self.gateways[gateway].router.observe(batch, now: self.now) }

        let isEarlyAllowed = self.settings.policy != .oursNoEarlyDigest
        guard
            let frame = self.clusters[place].frame(
                region: self.world.regions[region].name,
                isEarlyAllowed: isEarlyAllowed,
                now: self.now
            )
        else { return }
        // The dice are rolled for every frame, so that a loss changes nothing but itself.
        guard Double.random(in: 0..<1, using: &self.dice) >= self.digestLoss else { return }
        self.send(.frame(frame), after: self.roundTrip(region, self.world.hub) / 2 + self.digestDelay)
    }

    // MARK: Mail

    private mutating func deliver(_ slot: Int) {
        guard let mail = self.mails[slot] else { return }
        self.mails[slot] = nil
        self.freeMails.append(slot)
        switch mail {
        case .frame(let frame):
            guard self.isHubUp else { return }
            do throws(FrameRefusal) {
                let before = try self.mind.digests.receive(frame, now: self.now)
                if frame.isAlarming(after: before) { self.wantPlan() }
            } catch {
                // A late frame: the board has a newer one.
            }
        case .report(let report):
            guard self.isHubUp else { return }
            let before = self.mind.demand.unreachable
            _ = self.mind.demand.receive(report, now: self.now)
            if self.mind.demand.unreachable != before { self.wantPlan() }
        case .plan(let plan, let gateway):
            guard self.gateways[gateway].isUp else { return }
            switch self.gateways[gateway].fence.admit(plan.version) {
            case .newer: self.gateways[gateway].router.adopt(plan, now: self.now)
            case .same: self.gateways[gateway].router.confirm(now: self.now)
            case .past: break
            }
        case .view(let view, let gateway):
            self.gateways[gateway].view = view
        }
    }

    // MARK: The hub

    private mutating func wantPlan() {
        guard !self.isPlanWanted else { return }
        self.isPlanWanted = true
        self.queue.add(.planNow, at: max(self.now, self.lastPlanAt + Self.shortestPause))
    }

    private mutating func plan(isTick: Bool) {
        self.isPlanWanted = false
        guard self.isHubUp else { return }
        let policy = self.settings.policy
        if policy == .oursFrozen, self.now > self.settings.warmup, let plan = self.lastPlan {
            self.announce(plan)
            return
        }
        self.lastPlanAt = self.now
        if policy.usesRouter {
            // Nearest and round robin need the plan too, as the real gateways do: it says which clusters there are.
            guard let plan = self.mind.plan(version: self.chain.next, parent: self.chain.head, now: self.now) else {
                return
            }
            self.chain.accepted(plan.version)
            if isTick, policy.isOurs { self.countChurn(plan) }
            self.lastPlan = plan
            self.announce(plan)
        } else {
            self.showViews(isTick: isTick)
        }
    }

    private mutating func announce(_ plan: Plan) {
        for gateway in self.gateways.indices {
            let way = self.roundTrip(self.world.hub, self.gateways[gateway].region) / 2
            self.send(.plan(plan, gateway: gateway), after: way)
        }
    }

    private mutating func showViews(isTick: Bool) {
        let policy = self.settings.policy
        self.mind.demand.forgetSilent(now: self.now)
        let view = BaselineView(
            policy,
            self.mind,
            pool: self.pool,
            clusters: self.clusters,
            world: self.world,
            now: self.now
        )
        if isTick, self.now > self.settings.warmup, let old = self.gateways.first?.view.weights, !old.isEmpty {
            for (before, after) in zip(old, view.weights) {
                let (a, b) = (before.reduce(0, +), after.reduce(0, +))
                guard a > 0, b > 0 else { continue }
                self.churn.sum += zip(before, after).reduce(0) { $0 + abs($1.0 / a - $1.1 / b) }
                self.churn.rows += 1
            }
        }
        for gateway in self.gateways.indices {
            let way = self.roundTrip(self.world.hub, self.gateways[gateway].region) / 2
            self.send(.view(view, gateway: gateway), after: way + policy.viewDelay)
        }
    }

    /// Adds how far the rows of the bands in use moved since the last plan.
    private mutating func countChurn(_ plan: Plan) {
        guard self.now > self.settings.warmup, let old = self.lastPlan?[self.pool], let new = plan[self.pool] else {
            return
        }
        let bands = self.world.bands.map(\.band)
        for row in new.rows where bands.contains(row.band) {
            guard let before = old.weights(from: row.source, band: row.band) else { continue }
            self.churn.sum += before.clusters(with: row.weights).reduce(0) {
                $0 + abs((row.weights[$1] ?? 0) - (before[$1] ?? 0))
            }
            self.churn.rows += 1
        }
    }

    // MARK: Gateways

    /// Probes every other region and reports to the hub.
    private mutating func lookAround(gateway place: Int) {
        self.queue.add(.gateway(place), at: self.now + SimulatedGateway.period)
        guard self.gateways[place].isUp else { return }
        let home = self.gateways[place].region
        for region in self.world.regions.indices where region != home {
            for peer in self.gatewaysOf[region] {
                let address = self.gateways[peer].address
                let name = self.world.regions[region].name
                if self.gateways[peer].isUp {
                    self.gateways[place].silence[region] = 0
                    let trip = self.roundTrip(home, region)
                    self.gateways[place].router.probed(name, address, roundTrip: trip, now: self.now)
                } else {
                    self.gateways[place].silence[region] += peer == self.gatewaysOf[region].first ? 1 : 0
                    guard self.gateways[place].silence[region] >= 2 else { continue }
                    self.gateways[place].router.probed(name, address, roundTrip: nil, now: self.now)
                }
            }
        }
        let report = DemandReport(
            gateway: self.gateways[place].name,
            region: self.world.regions[home].name,
            demand: self.gateways[place].meter.rates(now: self.now),
            roundTrips: self.gateways[place].router.measuredRoundTrips,
            unreachable: Set(self.gateways[place].router.unreachable(now: self.now))
        )
        self.send(.report(report), after: self.roundTrip(home, self.world.hub) / 2)
    }
}
