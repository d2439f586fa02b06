package import FleetModel

/// One end of a link of the gossip.
package enum Peer: Hashable, Sendable, Comparable, CustomStringConvertible {
    case hub(HubID)
    case agent(AgentID)

    package var description: String {
        switch self {
        case .hub(let hub): hub.description
        case .agent(let agent): agent.description
        }
    }
}

/// What agents and hubs say to each other.
///
/// A transport needs two methods: send the newest message of each ``slot`` to a peer, and the stream of what was
/// received. It may lose, repeat and reorder messages; it must know who a peer is, and hand over `from` truly.
package enum GossipMessage: Hashable, Sendable {
    /// Agent to hub: its newest frame.
    case push(FramePush)
    /// Hub to agent: what the hub holds of an agent now. It goes back the way that the frame came.
    case acknowledge(FrameAcknowledgement)
    /// Agent to agent: pass this on to hubs.
    case relay(FramePush)
    /// Agent to hub: another agent's frame.
    case forward(FramePush)
    /// Agent to agent: a hub's acknowledgement of a relayed frame.
    case relayed(FrameAcknowledgement)
    /// Agent to agent: the frame was not passed on.
    case refuse(RelayRefusal)
    /// Hub to hub.
    case flush(MeshFlush)
    /// Agent to agent, or to a hub that does not answer frames: tries or keeps a connection, and measures it. The
    /// answer echoes the time.
    case ping(sentAt: Seconds)
    case pong(sentAt: Seconds, reach: HubSet)
}

/// A frame and when it was sent.
package struct FramePush: Hashable, Sendable {
    package var carried: CarriedFrame
    /// On the sender's clock: only echoed, never compared with another clock.
    package var sentAt: Seconds
    /// What the agent measured, now and then; only in a push to a hub.
    package var roundTrips: [RegionRoundTrip]

    package init(carried: CarriedFrame, sentAt: Seconds, roundTrips: [RegionRoundTrip] = []) {
        self.carried = carried
        self.sentAt = sentAt
        self.roundTrips = roundTrips
    }
}

/// What a hub holds of an agent.
package struct FrameAcknowledgement: Hashable, Sendable {
    package var hub: HubID
    package var agent: AgentID
    package var stamp: FrameStamp
    /// `sentAt` of the message that this answers.
    package var echo: Seconds
    /// Where the hub stands, when it told before nothing or something else.
    package var region: RegionName?
    /// Agents that may relay, best first; empty says nothing new.
    package var relays: [RelayOffer]

    package init(
        hub: HubID,
        agent: AgentID,
        stamp: FrameStamp,
        echo: Seconds,
        region: RegionName? = nil,
        relays: [RelayOffer] = []
    ) {
        self.hub = hub
        self.agent = agent
        self.stamp = stamp
        self.echo = echo
        self.region = region
        self.relays = relays
    }
}

/// An agent that may relay, and what is known of it.
package struct RelayOffer: Hashable, Sendable {
    package var agent: AgentID
    package var region: RegionName
    /// The hubs that it reached with its last frame.
    package var reach: HubSet
    /// Where it listens: for the transport.
    package var address: String

    package init(agent: AgentID, region: RegionName, reach: HubSet, address: String) {
        self.agent = agent
        self.region = region
        self.reach = reach
        self.address = address
    }
}

/// Why a relay passed a frame on to nobody.
package struct RelayRefusal: Hashable, Sendable {
    package enum Reason: String, Hashable, Sendable, CaseIterable {
        /// It reaches no hub itself.
        case noHub = "no-hub"
        /// It has forwarded as much as it may.
        case overBudget = "over-budget"
    }

    package var stamp: FrameStamp
    package var reason: Reason
    /// Relays that answered the refusing agent lately: where to try next.
    package var relays: [RelayOffer]

    package init(stamp: FrameStamp, reason: Reason, relays: [RelayOffer] = []) {
        self.stamp = stamp
        self.reason = reason
        self.relays = relays
    }
}

/// What a hub holds of one agent, as told to another hub.
package struct HaveEntry: Hashable, Sendable {
    package var agent: AgentID
    package var stamp: FrameStamp

    package init(agent: AgentID, stamp: FrameStamp) {
        self.agent = agent
        self.stamp = stamp
    }
}

/// What one hub tells another, each 0.1 s.
package struct MeshFlush: Hashable, Sendable {
    /// Drawn at each start of the hub: another one says that it has forgotten everything.
    package var run: UInt64
    package var sentAt: Seconds
    /// The last flush heard from the receiver: its `sentAt`, and how long it lay here.
    package var echo: FlushEcho?
    /// Where the sender stands; told with everything.
    package var region: RegionName?
    /// Frames that the receiver is not known to have.
    package var frames: [CarriedFrame]
    /// What changed here since the last flush; everything, when ``isComplete``.
    package var have: [HaveEntry]
    package var isComplete: Bool
    /// The agents suspected here, with the newest stamp seen of each; `nil` says nothing new.
    package var suspicions: [HaveEntry]?
    /// Round trips of the sender's own measuring and of its agents'; `nil` says nothing new.
    package var roundTrips: [RegionRoundTrip]?

    package init(
        run: UInt64,
        sentAt: Seconds,
        echo: FlushEcho? = nil,
        region: RegionName? = nil,
        frames: [CarriedFrame],
        have: [HaveEntry],
        isComplete: Bool,
        suspicions: [HaveEntry]? = nil,
        roundTrips: [RegionRoundTrip]? = nil
    ) {
        self.run = run
        self.sentAt = sentAt
        self.echo = echo
        self.region = region
        self.frames = frames
        self.have = have
        self.isComplete = isComplete
        self.suspicions = suspicions
        self.roundTrips = roundTrips
    }
}

/// Answers the time of a flush, so that its sender can tell the round trip.
package struct FlushEcho: Hashable, Sendable {
    package var sentAt: Seconds
    package var heldFor: Seconds

    package init(sentAt: Seconds, heldFor: Seconds) {
        self.sentAt = sentAt
        self.heldFor = heldFor
    }
}

/// A message and where it goes.
package struct Outgoing: Hashable, Sendable {
    package var to: Peer
    package var message: GossipMessage

    package init(to: Peer, message: GossipMessage) {
        self.to = to
        self.message = message
    }
}

/// Messages of one slot replace each other in an outbox: the newest is enough.
package enum GossipSlot: Hashable, Sendable {
    case frame(AgentID)
    case answer(AgentID)
    case flush
    case ping, pong
}

extension GossipMessage {
    /// The message after it has waited for so long, in seconds: a frame in it is older by that.
    package func aged(by seconds: Seconds) -> GossipMessage {
        switch self {
        case .push(var push):
            push.carried.age += seconds
            return .push(push)
        case .relay(var push):
            push.carried.age += seconds
            return .relay(push)
        case .forward(var push):
            push.carried.age += seconds
            return .forward(push)
        default: return self
        }
    }

    /// The place in an outbox that this message takes.
    package var slot: GossipSlot {
        switch self {
        case .push(let push), .relay(let push), .forward(let push): .frame(push.carried.frame.header.agent)
        case .acknowledge(let answer), .relayed(let answer): .answer(answer.agent)
        case .refuse: .pong
        case .flush: .flush
        case .ping: .ping
        case .pong: .pong
        }
    }

    /// Bytes as a protobuf message, without the transport's headers.
    ///
    /// Every varying field at its largest usual size, so that what is counted is not less than what is sent.
    package var size: Int {
        switch self {
        case .push(let push), .relay(let push), .forward(let push):
            push.carried.size + 9 + push.roundTrips.reduce(0) { $0 + $1.size } + 4
        case .acknowledge(let answer), .relayed(let answer):
            2 + 6 + 12 + 9 + (answer.region.map { $0.text.utf8.count + 2 } ?? 0)
                + answer.relays.reduce(0) { $0 + $1.size } + 4
        case .refuse(let refusal): 18 + refusal.relays.reduce(0) { $0 + $1.size }
        case .ping: 13
        case .pong: 17
        case .flush(let flush):
            9 + 9 + (flush.echo == nil ? 0 : 20) + flush.frames.reduce(0) { $0 + $1.size + 3 }
                + 12 * flush.have.count + 12 * (flush.suspicions?.count ?? 0)
                + (flush.region.map { $0.text.utf8.count + 2 } ?? 0)
                + (flush.roundTrips ?? []).reduce(0) { $0 + $1.size } + 12
        }
    }
}

extension RelayOffer {
    var size: Int { 6 + self.region.text.utf8.count + 2 + 4 + self.address.utf8.count + 4 }
}

extension CarriedFrame {
    /// Sealed bytes, the age and the framing of both.
    var size: Int { self.frame.bytes.count + 3 + 3 }
}
