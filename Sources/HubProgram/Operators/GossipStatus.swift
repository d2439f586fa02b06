import FleetModel
import FleetPlanning
import GossipCore
import GossipTransport
import Observability
import OperatorLink
import WireProtocol

extension HubDesk {
    /// What this replica knows of agents, of the other replicas and of round trips.
    func gossip() async throws -> Isobar_V1_GossipStatus {
        guard let mesh = self.hub.mesh else {
            throw OperatorRefusal(.unavailable, "the gossip has not begun: the store has not given number and keys yet")
        }
        let now = self.hub.clock.now
        let (cards, faults) = (mesh.cards, mesh.faults)
        let (own, members, views) = mesh.withMesh { ($0.summary, $0.members(now: now), $0.views(now: now)) }
        var status = Isobar_V1_GossipStatus()
        status.hub = self.name
        status.number = UInt32(own.hub.number)
        status.region = own.region?.text ?? ""
        status.frozen = own.isFrozen
        status.doubt = UInt32(own.doubt)
        status.hubs = self.others(members, mesh)
        let speakers = self.hub.withState { Set($0.mind.digests.views(now: now).map(\.frame.id)) }
        let frames = self.hub.withState { state in
            Dictionary(
                Set(cards.values.map(\.cluster)).flatMap { state.mind.digests.agents(of: $0, now: now) }
                    .map { (AgentKey(cluster: $0.frame.id.cluster, agent: $0.frame.agent), $0.frame) }
            ) { $1 }
        }
        status.agents = views.compactMap { view in
            guard let card = cards[view.agent] else { return nil }
            let frame = frames[AgentKey(cluster: card.cluster, agent: card.agent)]
            var agent = Isobar_V1_GossipAgent(view, card)
            agent.path = self.path(of: view, mesh: mesh, cards: cards)
            agent.speaks = frame.map { speakers.contains($0.id) } ?? false
            agent.pools = (frame?.digests ?? []).map { Isobar_V1_GossipPool($0) }
            if let fault = faults[view.agent] { (agent.fault, agent.faultAge) = (fault.reason, now - fault.at) }
            agent.elsewhere = mesh.withMesh { $0.stampsElsewhere(of: view.agent) }.map { hub, stamp in
                var holding = Isobar_V1_GossipHolding()
                holding.hub = mesh.name(of: hub) ?? "\(hub)"
                (holding.incarnation, holding.sequence) = (stamp.incarnation, stamp.sequence)
                return holding
            }
            return agent
        }
        .sorted { ($0.cluster, $0.agent) < ($1.cluster, $1.agent) }
        status.roundTrips = self.roundTrips(now: now)
        return status
    }

    private struct AgentKey: Hashable, Sendable {
        var cluster: ClusterName
        var agent: AgentName
    }

    /// The other replicas: those of the store, and those that were met.
    private func others(_ members: [HubMesh.MemberView], _ mesh: MeshHub) -> [Isobar_V1_GossipHub] {
        let stored = (self.hub.members.current ?? []).filter { $0.name != self.name }
        let named = members.map { (name: mesh.name(of: $0.hub) ?? "\($0.hub)", view: $0) }
        return Set(stored.map(\.name)).union(named.map(\.name)).sorted().map { name in
            var hub = Isobar_V1_GossipHub()
            hub.name = name
            hub.address = stored.first { $0.name == name }?.address ?? ""
            hub.fault = self.hub.streams.fault(over: name) ?? ""
            guard let view = named.first(where: { $0.name == name })?.view else { return hub }
            hub.number = UInt32(view.hub.number)
            hub.region = view.region?.text ?? ""
            if let silence = view.silence { hub.silence = silence }
            if let roundTrip = view.roundTrip.minimum { hub.roundTrip = roundTrip }
            return hub
        }
    }

    /// Through whom the newest frame of an agent came, in words.
    private func path(of view: AgentView, mesh: MeshHub, cards: [AgentID: MeshHub.AgentCard]) -> String {
        switch view.via {
        case .hub(let hub): "via hub \(mesh.name(of: hub) ?? "\(hub)")"
        case .agent(view.agent): "direct"
        case .agent(let relay): "via relay \(cards[relay]?.agent.text ?? "\(relay)")"
        }
    }

    private func roundTrips(now: Seconds) -> [Isobar_V1_GossipRoundTrip] {
        self.hub.withState { state in
            let clusters = state.mind.digests.views(now: now).map(\.frame.region)
            let regions = Set(clusters).union(state.mind.demand.regions).union(state.mind.links.regions).sorted()
            return regions.flatMap { source in
                regions.filter { $0 > source }.compactMap { target in
                    guard let known = state.mind.roundTrip(from: source, to: target, now: now) else { return nil }
                    var pair = Isobar_V1_GossipRoundTrip()
                    (pair.source, pair.target) = (source.text, target.text)
                    (pair.seconds, pair.by) = (known.seconds, known.by.rawValue)
                    return pair
                }
            }
        }
    }
}

extension Isobar_V1_GossipAgent {
    fileprivate init(_ view: AgentView, _ card: MeshHub.AgentCard) {
        self.init()
        self.cluster = card.cluster.text
        self.agent = card.agent.text
        self.region = card.region.text
        self.address = card.address
        self.number = view.agent.number
        self.incarnation = view.stamp.incarnation
        self.sequence = view.stamp.sequence
        self.age = view.age
        self.held = view.heldFor
        self.liveness = view.liveness.rawValue
        self.phi = view.phi
        self.share = view.admission
    }
}

extension Isobar_V1_GossipPool {
    fileprivate init(_ digest: PoolDigest) {
        self.init()
        self.pool = digest.pool.description
        self.state = digest.state.rawValue
        self.endpointsReady = UInt32(clamping: digest.endpointsReady)
        self.endpointsKnown = UInt32(clamping: digest.endpointsKnown)
    }
}
