package import FleetModel
package import GossipCore
import Synchronization
package import WireProtocol

/// What an agent's end of the gossip asks of its program and tells it; called from its own tasks.
package protocol MeshAgentOwner: Sendable {
    /// What the frame with this id is to hold, for the hub alone; `nil` for no frame now.
    func payload(of frame: FrameID) -> [UInt8]?
    func published(_ frame: FrameID)
    /// A hub holds a frame, as it said itself or through a relay; told for each answer.
    func acknowledged(_ frame: FrameID, by hub: HubID, through: Peer)
}

/// ``AgentPusher`` over a transport: the clock is real, frames are sealed, messages go out and come in.
package final class MeshAgent: Sendable {
    private struct State {
        var pusher: AgentPusher
        var seal: FrameSeal
        var hubNames: [HubID: String] = [:]
    }

    /// An idle loop looks at the clock this often, in seconds, since a change makes the next frame due early.
    static let longestPause: Seconds = 0.1

    private let cluster: ClusterName
    private let region: RegionName
    private let settings: GossipSettings
    private let transport: any MeshTransport
    private let owner: any MeshAgentOwner
    private let now: @Sendable () -> Seconds
    private let incarnation: UInt64
    private let state: Mutex<State>

    /// - Parameters:
    ///   - cluster: Whose digests.
    ///   - region: Where it stands.
    ///   - registration: What a hub gave.
    ///   - settings: Times and bounds.
    ///   - transport: Carries the messages, under this agent's number.
    ///   - owner: Makes the frames' contents.
    ///   - now: A monotonic clock, in seconds.
    /// - Throws: ``SealFault`` for a key that is none.
    package init(
        cluster: ClusterName,
        region: RegionName,
        registration: AgentRegistration,
        settings: GossipSettings,
        transport: any MeshTransport,
        owner: any MeshAgentOwner,
        now: @escaping @Sendable () -> Seconds
    ) throws(SealFault) {
        self.cluster = cluster
        self.region = region
        self.settings = settings
        self.transport = transport
        self.owner = owner
        self.now = now
        self.incarnation = UInt64(registration.incarnation)
        var dice = SystemRandomNumberGenerator()
        self.state = Mutex(
            State(
                pusher: AgentPusher(
                    agent: AgentID(registration.agent),
                    incarnation: registration.incarnation,
                    region: region,
                    hubs: [],
                    settings: settings,
                    now: now(),
                    dice: &dice
                ),
                seal: try FrameSeal(cluster: cluster, registration: registration)
            )
        )
    }

    /// Shows a hub whose frames these are.
    package var proof: [UInt8] { self.state.withLock { $0.seal.proof } }

    package var counts: AgentPusher.Counts { self.state.withLock { $0.pusher.counts } }

    /// The newest frame that some hub is known to hold.
    package var acknowledged: FrameID? {
        let stamp = self.state.withLock { $0.pusher.acknowledged }
        return stamp == .none ? nil : self.id(stamp)
    }

    /// The hubs that were ever met, with their names.
    package var hubs: [(name: String, view: AgentPusher.HubView)] {
        let now = self.now()
        return self.state.withLock { state in
            state.pusher.hubs(now: now).map { (name: state.hubNames[$0.hub] ?? "\($0.hub)", view: $0) }
        }
    }

    /// Whether hubs have named agents that may pass frames on.
    package var knowsRelays: Bool { self.state.withLock { $0.pusher.knowsRelays } }

    /// Whether frames go through relays, since no hub answered the last one itself.
    package var isRelayed: Bool { self.state.withLock { $0.pusher.isRelayed } }

    /// Something is worth telling at once: the next frame goes as soon as spacing and budget allow.
    package func hasChanged() {
        let now = self.now()
        self.state.withLock { $0.pusher.hasChanged(now: now) }
        self.wake()
    }

    /// Speaks until it is cancelled, or has to register again.
    ///
    /// - Returns: Why it has to register again, or `nil` when it was cancelled.
    package func run() async -> String? {
        await withTaskGroup(of: String?.self) { group in
            group.addTask { await self.beat() }
            group.addTask { await self.listen() }
            let first = await group.next() ?? nil
            group.cancelAll()
            return first
        }
    }

    private func beat() async -> String? {
        while !Task.isCancelled {
            let pause = self.wake()
            try? await Task.sleep(for: .seconds(min(Self.longestPause, max(0.001, pause))))
        }
        return nil
    }

    private func listen() async -> String? {
        for await events in self.transport.received {
            for event in events {
                guard let reason = self.take(event) else { continue }
                return reason
            }
        }
        return nil
    }

    /// - Returns: Why the agent has to register again, when it has to.
    private func take(_ event: GossipEvent) -> String? {
        let now = self.now()
        switch event {
        case .met(let introduction):
            guard case .hub(let hub) = introduction.peer else { return nil }
            self.state.withLock { state in
                state.hubNames[hub] = introduction.name
                state.pusher.meet(hub, region: introduction.region, now: now)
            }
        case .lost(let peer):
            if case .hub(let hub) = peer { self.state.withLock { $0.pusher.part(hub) } }
        case .unrecognized:
            return "a hub does not know its key"
        case .heard(let peer, let message):
            let (out, isSuperseded, own) = self.state.withLock { state in
                let out = self.addressed(state.pusher.receive(message, from: peer, now: now), state.pusher)
                return (out, state.pusher.isSuperseded, state.pusher.agent)
            }
            self.send(out)
            if let answer = message.answer, answer.agent == own {
                self.owner.acknowledged(self.id(answer.stamp), by: answer.hub, through: peer)
            }
            if isSuperseded { return "another agent speaks under its name" }
        }
        return nil
    }

    /// Does what is due.
    ///
    /// - Returns: Seconds until more is due.
    @discardableResult
    private func wake() -> Seconds {
        let now = self.now()
        let (out, header) = self.state.withLock { state in
            let out = self.addressed(state.pusher.tick(now: now), state.pusher)
            return (out, state.pusher.isFrameDue(now: now) ? state.pusher.nextHeader(now: now) : nil)
        }
        self.send(out)
        if let header { self.publish(header) }
        return self.state.withLock { $0.pusher.nextWake } - now
    }

    private func publish(_ header: FrameHeader) {
        let id = self.id(header.stamp)
        // Without a lock: what the frame holds is behind the owner's own.
        guard let payload = self.owner.payload(of: id) else { return }
        let now = self.now()
        let out = self.state.withLock { state -> [(Outgoing, String?)]? in
            // Two frames may be made at once: whoever is late has an older sequence, and drops it.
            guard
                let bytes = try? state.seal.seal(
                    payload,
                    sequence: header.stamp.sequence,
                    interval: header.interval,
                    reach: header.reach.bits
                )
            else { return nil }
            let messages = state.pusher.publish(SealedFrame(header: header, bytes: bytes), now: now)
            return self.addressed(messages, state.pusher)
        }
        guard let out else { return }
        self.owner.published(id)
        self.send(out)
    }

    private func id(_ stamp: FrameStamp) -> FrameID {
        FrameID(
            cluster: self.cluster,
            incarnation: UInt64(stamp.incarnation),
            sequence: UInt64(stamp.sequence)
        )
    }

    private func addressed(_ messages: [Outgoing], _ pusher: borrowing AgentPusher) -> [(Outgoing, String?)] {
        messages.map { outgoing in
            guard case .agent(let agent) = outgoing.to else { return (outgoing, nil) }
            return (outgoing, pusher.address(of: agent))
        }
    }

    private func send(_ messages: [(Outgoing, String?)]) {
        for (outgoing, address) in messages { self.transport.send(outgoing.message, to: outgoing.to, at: address) }
    }
}

extension GossipMessage {
    /// What a hub tells that it holds.
    fileprivate var answer: FrameAcknowledgement? {
        switch self {
        case .acknowledge(let answer), .relayed(let answer): answer
        default: nil
        }
    }
}
