import EngineModel
import EngineSignals
import FleetModel
import RequestRouting

// What befalls the world.

extension FleetWorld {
    /// Checks that an event names regions and clusters of this world.
    ///
    /// - Throws: ``FleetEventError`` that lists those that there are.
    package func check(_ event: FleetEvent) throws(FleetEventError) {
        let (region, cluster) = event.names
        if let region, !self.regions.contains(where: { $0.name == region }) {
            throw FleetEventError(text: region.text, known: self.regions.map(\.name.text))
        }
        if let cluster, !self.clusters.contains(where: { $0.name == cluster }) {
            throw FleetEventError(text: cluster.text, known: self.clusters.map(\.name.text))
        }
    }
}

extension FleetSimulation {
    mutating func apply(_ event: FleetEvent) {
        switch event {
        case .fail(let region): self.set(region, isUp: false)
        case .restore(let region): self.set(region, isUp: true)
        case .failCluster(let cluster):
            for engine in self.engines(of: cluster) { self.stop(engine: engine, isSilent: false) }
        case .restoreCluster(let cluster):
            for engine in self.engines(of: cluster) { self.start(engine: engine) }
        case .drain(let cluster): self.set(cluster, wanted: .draining)
        case .undrain(let cluster): self.set(cluster, wanted: .active)
        case .rollout(let cluster, let pause):
            for (turn, engine) in self.engines(of: cluster).enumerated() {
                self.queue.add(.engineDown(engine, pause: pause), at: self.now + 1.5 * pause * Double(turn))
            }
        case .burst(let region, let factor, let length):
            let source = self.world.place(ofRegion: region)
            self.traffic.burst(source: source, factor: factor, until: self.now + length)
        case .hub(let isUp): self.isHubUp = isUp
        case .digestDelay(let delay): self.digestDelay = delay
        case .digestLoss(let share): self.digestLoss = share
        case .capacityError(let share):
            for place in self.clusters.indices {
                self.clusters[place].capacityError = place.isMultiple(of: 2) ? 1 + share : 1 - share
            }
        }
    }

    private func engines(of cluster: ClusterName) -> Range<Int> {
        self.clusterNamed[cluster].map { self.clusters[$0].engines } ?? 0..<0
    }

    private mutating func set(_ cluster: ClusterName, wanted: ClusterState) {
        if let place = self.clusterNamed[cluster] { self.clusters[place].observer.wanted = wanted }
    }

    private mutating func set(_ region: RegionName, isUp: Bool) {
        let region = self.world.place(ofRegion: region)
        for place in self.clusters.indices where self.clusters[place].region == region {
            self.clusters[place].isReachable = isUp
            for engine in self.clusters[place].engines {
                if isUp { self.start(engine: engine) } else { self.stop(engine: engine, isSilent: true) }
            }
        }
        for gateway in self.gatewaysOf[region] {
            self.gateways[gateway].isUp = isUp
            if isUp { self.restart(gateway: gateway) } else { self.abandonRequests(of: gateway) }
        }
    }

    /// A gateway that comes back knows the last plan from its disk, and that nobody has confirmed it.
    private mutating func restart(gateway place: Int) {
        let old = self.gateways[place].router
        var router = Router(
            region: old.region,
            peers: self.peers(of: place),
            policy: old.policy,
            settings: old.settings
        )
        if let plan = self.lastPlan { router.adopt(plan, confirmed: false, now: self.now) }
        self.gateways[place].router = router
        self.gateways[place].inFlight = Array(repeating: 0, count: self.clusters.count)
    }

    private func peers(of gateway: Int) -> [RegionName: [EndpointAddress]] {
        var peers: [RegionName: [EndpointAddress]] = [:]
        for (region, members) in self.gatewaysOf.enumerated() where region != self.gateways[gateway].region {
            peers[self.world.regions[region].name] = members.map { self.gateways[$0].address }
        }
        return peers
    }

    mutating func stop(engine place: Int, isSilent: Bool) {
        guard self.engines[place].isUp else { return }
        self.engines[place].isUp = false
        self.engines[place].restart()
        for slot in self.flights.indices where self.flights[slot].engine == place && self.flights[slot].isAtEngine {
            self.flights[slot].failedAddresses.append(self.engines[place].address)
            if isSilent, let peer = self.flights[slot].peer {
                self.flights[slot].failedAddresses.append(self.gateways[peer].address)
            }
            self.fail(slot, after: isSilent ? Self.noticeDelay : 0)
        }
    }

    mutating func start(engine place: Int) { self.engines[place].isUp = true }

    /// The clients of a dead gateway have lost their connections; what had not begun they send again, elsewhere.
    private mutating func abandonRequests(of gateway: Int) {
        for slot in self.flights.indices where self.flights[slot].isOpen && self.flights[slot].gateway == gateway {
            self.flights[slot].pick = nil
            guard self.flights[slot].isPending else { continue }
            if self.flights[slot].isAtEngine, let engine = self.flights[slot].engine {
                _ = self.engines[engine].machine.cancel(EngineRequestID(slot))
                self.engines[engine].load -= 1
                if self.flights[slot].ttft == nil {
                    self.engines[engine].promptBacklog -= self.flights[slot].arrival.promptTokens
                }
            }
            self.flights[slot].cluster = nil
            self.fail(slot, after: Self.noticeDelay)
            _ = self.enter(slot)
        }
    }
}
