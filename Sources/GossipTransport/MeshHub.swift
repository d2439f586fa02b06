package import FleetModel
package import GossipCore
import SwiftProtobuf
import Synchronization
package import WireProtocol

/// What a hub's end of the gossip tells its program; called from its own tasks, one at a time.
package protocol MeshHubOwner: Sendable {
    /// A frame that is newer than what was held of its agent.
    ///
    /// - Parameters:
    ///   - frame: What the agent sealed.
    ///   - agent: Its number.
    ///   - age: Since the agent made it, as far as is known, in seconds.
    ///   - via: Through whom it came.
    func learned(_ frame: DigestFrame, of agent: AgentID, age: Seconds, via: Peer)
    /// A frame that its agent sealed, and that cannot be read.
    func unreadable(_ error: WireError)
    func changed(_ change: LivenessChange)
}

/// ``HubMesh`` over a transport: the clock is real, frames are opened, messages go out and come in.
package final class MeshHub: Sendable {
    private struct State {
        var mesh: HubMesh
        var hubNames: [HubID: String] = [:]
        /// What frames said under their seal.
        var agents: [AgentID: AgentCard] = [:]
        /// What was last refused under an agent's number.
        var faults: [AgentID: AgentFault] = [:]
    }

    /// A frame that was not taken.
    package struct AgentFault: Hashable, Sendable {
        package var reason: String
        package var at: Seconds
    }

    /// Who an agent is, as its frames say.
    package struct AgentCard: Hashable, Sendable {
        package var cluster: ClusterName
        package var agent: AgentName
        package var region: RegionName
        package var address: String
    }

    private let transport: any MeshTransport
    private let keys: FrameKeys
    private let owner: any MeshHubOwner
    private let now: @Sendable () -> Seconds
    private let state: Mutex<State>

    /// - Parameters:
    ///   - hub: This replica's number.
    ///   - region: Where it stands, when that is known.
    ///   - keys: Open the frames.
    ///   - settings: Times and bounds.
    ///   - transport: Carries the messages, under this replica's number.
    ///   - owner: Told what is learned.
    ///   - now: A monotonic clock, in seconds.
    package init(
        hub: HubID,
        region: RegionName?,
        keys: FrameKeys,
        settings: GossipSettings = GossipSettings(),
        transport: any MeshTransport,
        owner: any MeshHubOwner,
        now: @escaping @Sendable () -> Seconds
    ) {
        self.transport = transport
        self.keys = keys
        self.owner = owner
        self.now = now
        var dice = SystemRandomNumberGenerator()
        self.state = Mutex(
            State(mesh: HubMesh(hub: hub, region: region, settings: settings, now: now(), dice: &dice))
        )
    }

    /// Looks at the mesh, or tells it what its program knows.
    package func withMesh<Value: Sendable>(_ body: (inout HubMesh) -> Value) -> Value {
        self.state.withLock { body(&$0.mesh) }
    }

    /// Who an agent is, when a frame of it was read.
    package func card(of agent: AgentID) -> AgentCard? { self.state.withLock { $0.agents[agent] } }

    /// What was last refused under each agent's number.
    package var faults: [AgentID: AgentFault] { self.state.withLock { $0.faults } }

    /// Every agent that a frame was read of.
    package var cards: [AgentID: AgentCard] { self.state.withLock { $0.agents } }

    /// Another replica's name, when it was ever met.
    package func name(of hub: HubID) -> String? { self.state.withLock { $0.hubNames[hub] } }

    /// Listens and flushes until it is cancelled.
    package func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.beat() }
            group.addTask {
                for await events in self.transport.received {
                    for event in events { self.take(event) }
                }
            }
        }
    }

    private func beat() async {
        while !Task.isCancelled {
            let now = self.now()
            let (effects, next) = self.state.withLock { state in
                (state.mesh.tick(now: now), state.mesh.nextWake)
            }
            self.carryOut(effects, opened: [:])
            try? await Task.sleep(for: .seconds(min(1, max(0.001, next - self.now()))))
        }
    }

    private func take(_ event: GossipEvent) {
        switch event {
        case .met(let introduction):
            guard case .hub(let hub) = introduction.peer else { return }
            self.state.withLock { state in
                state.hubNames[hub] = introduction.name
                state.mesh.meet(hub)
            }
        case .lost, .unrecognized: break
        case .heard(let peer, let message):
            let now = self.now()
            var opened: [AgentID: OpenedFrame] = [:]
            let effects = self.state.withLock { state in
                let before = state.mesh.counts
                var suspect: AgentID?
                let effects = state.mesh.receive(message, from: peer, now: now) { frame in
                    guard let content = try? self.keys.open(frame.bytes) else {
                        suspect = frame.header.agent
                        return false
                    }
                    opened[frame.header.agent] = content
                    return true
                }
                // Only of agents that there are, so that a flood of numbers fills nothing.
                if let suspect, state.agents[suspect] != nil {
                    state.faults[suspect] = AgentFault(reason: "forged, through \(peer)", at: now)
                } else if state.mesh.counts.misdirected > before.misdirected, case .agent(let agent) = peer,
                    state.agents[agent] != nil
                {
                    state.faults[agent] = AgentFault(reason: "sent what it has no business to send", at: now)
                }
                return effects
            }
            self.carryOut(effects, opened: opened)
        }
    }

    private func carryOut(_ effects: HubMesh.Effects, opened: [AgentID: OpenedFrame]) {
        for carried in effects.learned {
            let agent = carried.frame.header.agent
            guard let content = opened[agent] else { continue }
            self.learn(content, of: agent, age: carried.age)
        }
        for outgoing in effects.messages { self.transport.send(outgoing.message, to: outgoing.to, at: nil) }
        for change in effects.changes { self.owner.changed(change) }
    }

    private func learn(_ content: OpenedFrame, of agent: AgentID, age: Seconds) {
        let frame: DigestFrame
        let address: String
        do throws(WireError) {
            let message: Isobar_V1_Frame
            do {
                message = try Isobar_V1_Frame(serializedBytes: content.payload)
            } catch {
                throw WireError(field: "sealed", reason: "holds no frame")
            }
            frame = try message.model()
            address = String(message.address.prefix(256))
            guard frame.id == content.id else {
                throw WireError(field: "id", reason: "\(frame.id) under \(content.id)")
            }
        } catch {
            self.owner.unreadable(error)
            return
        }
        let capacity = frame.digests.reduce(0) { $0 + ($1.capacity ?? 1) }
        let card = AgentCard(cluster: frame.id.cluster, agent: frame.agent, region: frame.region, address: address)
        let via = self.state.withLock { state -> Peer in
            state.agents[agent] = card
            if state.agents.count > state.mesh.agentCount {
                state.agents = state.agents.filter { state.mesh.stamp(of: $0.key) != nil }
                state.faults = state.faults.filter { state.mesh.stamp(of: $0.key) != nil }
            }
            state.mesh.know(
                agent,
                region: frame.region,
                address: address,
                incarnation: UInt32(truncatingIfNeeded: frame.id.incarnation)
            )
            state.mesh.weigh(agent, capacity)
            return state.mesh.via(of: agent) ?? .agent(agent)
        }
        self.owner.learned(frame, of: agent, age: age, via: via)
    }
}
