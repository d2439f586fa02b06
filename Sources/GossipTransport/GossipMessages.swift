import FleetModel
import Foundation
package import GossipCore
package import WireProtocol

// Messages of the gossip from the wire and back. Whatever comes from outside is bounded here.

/// What one message may hold at most.
private enum Limits {
    static let relays = 16
    static let address = 256
    static let frames = 1_024
    static let stamps = 16_384
    static let roundTrips = 65_536
}

extension GossipMessage {
    /// Checks and reads a message; single frames of a flush that cannot be read are left out.
    ///
    /// - Throws: ``WireError`` naming the first field that does not hold what it should.
    package init(_ message: Isobar_V1_GossipMessage) throws(WireError) {
        switch message.kind {
        case .push(let push): self = .push(try FramePush(push))
        case .acknowledge(let answer): self = .acknowledge(try FrameAcknowledgement(answer))
        case .relay(let push): self = .relay(try FramePush(push))
        case .forward(let push): self = .forward(try FramePush(push))
        case .relayed(let answer): self = .relayed(try FrameAcknowledgement(answer))
        case .refuse(let refusal): self = .refuse(try RelayRefusal(refusal))
        case .flush(let flush): self = .flush(try MeshFlush(flush))
        case .ping(let ping): self = .ping(sentAt: try WireError.time("ping.sent_at", ping.sentAt))
        case .pong(let pong):
            self = .pong(
                sentAt: try WireError.time("pong.sent_at", pong.sentAt),
                reach: HubSet(bits: UInt16(truncatingIfNeeded: pong.reach))
            )
        case .hello: throw WireError(field: "hello", reason: "sent twice on one stream")
        case nil: throw WireError(field: "kind", reason: "empty, or of a newer version than this program")
        }
    }

    /// The message as it travels.
    package var wire: Isobar_V1_GossipMessage {
        var message = Isobar_V1_GossipMessage()
        switch self {
        case .push(let push): message.push = push.wire
        case .acknowledge(let answer): message.acknowledge = answer.wire
        case .relay(let push): message.relay = push.wire
        case .forward(let push): message.forward = push.wire
        case .relayed(let answer): message.relayed = answer.wire
        case .refuse(let refusal): message.refuse = refusal.wire
        case .flush(let flush): message.flush = flush.wire
        case .ping(let sentAt): message.ping.sentAt = sentAt
        case .pong(let sentAt, let reach):
            message.pong.sentAt = sentAt
            message.pong.reach = UInt32(reach.bits)
        }
        return message
    }
}

extension WireError {
    /// A time on some clock, in seconds.
    fileprivate static func time(_ field: String, _ value: Double) throws(WireError) -> Seconds {
        guard value.isFinite else { throw WireError(field: field, reason: "is not a number") }
        return value
    }

    fileprivate static func region(_ field: String, _ text: String) throws(WireError) -> RegionName {
        do {
            return try RegionName(text)
        } catch {
            throw WireError(field: field, reason: error.description)
        }
    }

    /// A round trip: finite and not negative.
    fileprivate static func span(_ field: String, _ value: Float) throws(WireError) -> Seconds {
        guard value.isFinite, value >= 0 else {
            throw WireError(field: field, reason: "\(value) is not a finite number of at least 0")
        }
        return Double(value)
    }

    fileprivate static func hub(_ number: UInt32) throws(WireError) -> HubID {
        guard let hub = HubID(Int(number)) else {
            throw WireError(field: "hub", reason: "\(number) is not 0 to \(HubID.countMax - 1)")
        }
        return hub
    }
}

extension CarriedFrame {
    init(_ message: Isobar_V1_CarriedFrame) throws(WireError) {
        let bytes = [UInt8](message.sealed)
        let header: SealHeader
        do {
            header = try SealHeader(reading: bytes)
        } catch {
            throw WireError(field: "carried.sealed", reason: "\(error)")
        }
        guard header.id.sequence > 0 else {
            throw WireError(field: "carried.sealed", reason: "a proof, where a frame belongs")
        }
        self.init(
            frame: SealedFrame(header: FrameHeader(header), bytes: bytes),
            age: Double(message.ageUs) / 1e6
        )
    }

    var wire: Isobar_V1_CarriedFrame {
        var message = Isobar_V1_CarriedFrame()
        message.sealed = Data(self.frame.bytes)
        message.ageUs = UInt32(min(max(0, self.age * 1e6), 4_294_967_295))
        return message
    }
}

extension FrameHeader {
    /// The clear part of a sealed frame, as the gossip reads it.
    package init(_ header: SealHeader) {
        self.init(
            agent: AgentID(header.agent),
            stamp: FrameStamp(
                incarnation: UInt32(truncatingIfNeeded: header.id.incarnation),
                sequence: UInt32(truncatingIfNeeded: header.id.sequence)
            ),
            // An agent that promises nothing is held to the shortest interval that a file may name.
            interval: max(0.1, Double(header.interval) / 1_000),
            reach: HubSet(bits: header.reach)
        )
    }
}

extension FramePush {
    init(_ message: Isobar_V1_FramePush) throws(WireError) {
        self.init(
            carried: try CarriedFrame(message.carried),
            sentAt: try WireError.time("sent_at", message.sentAt),
            roundTrips: try message.roundTrips.prefix(64).map(RegionRoundTrip.reading)
        )
    }

    var wire: Isobar_V1_FramePush {
        var message = Isobar_V1_FramePush()
        message.carried = self.carried.wire
        message.sentAt = self.sentAt
        message.roundTrips = self.roundTrips.map(\.wire)
        return message
    }
}

extension FrameAcknowledgement {
    init(_ message: Isobar_V1_FrameAnswer) throws(WireError) {
        self.init(
            hub: try WireError.hub(message.hub),
            agent: AgentID(message.agent),
            stamp: FrameStamp(order: message.stamp),
            echo: try WireError.time("echo", message.echo),
            region: message.region.isEmpty ? nil : try WireError.region("region", message.region),
            relays: try message.relays.prefix(Limits.relays).map(RelayOffer.reading)
        )
    }

    var wire: Isobar_V1_FrameAnswer {
        var message = Isobar_V1_FrameAnswer()
        message.hub = UInt32(self.hub.number)
        message.agent = self.agent.number
        message.stamp = self.stamp.order
        message.echo = self.echo
        message.region = self.region?.text ?? ""
        message.relays = self.relays.map(\.wire)
        return message
    }
}

extension RelayOffer {
    static func reading(_ message: Isobar_V1_RelayOffer) throws(WireError) -> RelayOffer {
        guard message.address.utf8.count <= Limits.address else {
            throw WireError(field: "relays.address", reason: "is longer than \(Limits.address) bytes")
        }
        return RelayOffer(
            agent: AgentID(message.agent),
            region: try WireError.region("relays.region", message.region),
            reach: HubSet(bits: UInt16(truncatingIfNeeded: message.reach)),
            address: message.address
        )
    }

    var wire: Isobar_V1_RelayOffer {
        var message = Isobar_V1_RelayOffer()
        message.agent = self.agent.number
        message.region = self.region.text
        message.reach = UInt32(self.reach.bits)
        message.address = self.address
        return message
    }
}

extension RelayRefusal {
    init(_ message: Isobar_V1_RelayRefusal) throws(WireError) {
        let reason: Reason
        switch message.reason {
        case .noHub: reason = .noHub
        case .overBudget: reason = .overBudget
        case .unspecified, .UNRECOGNIZED:
            throw WireError(field: "refuse.reason", reason: "\(message.reason.rawValue) is no reason")
        }
        self.init(
            stamp: FrameStamp(order: message.stamp),
            reason: reason,
            relays: try message.relays.prefix(Limits.relays).map(RelayOffer.reading)
        )
    }

    var wire: Isobar_V1_RelayRefusal {
        var message = Isobar_V1_RelayRefusal()
        message.stamp = self.stamp.order
        message.reason = self.reason == .noHub ? .noHub : .overBudget
        message.relays = self.relays.map(\.wire)
        return message
    }
}

extension RegionRoundTrip {
    static func reading(_ message: Isobar_V1_RegionRoundTrip) throws(WireError) -> RegionRoundTrip {
        RegionRoundTrip(
            source: try WireError.region("round_trips.source", message.source),
            target: try WireError.region("round_trips.target", message.target),
            smooth: try WireError.span("round_trips.smooth", message.smooth),
            minimum: try WireError.span("round_trips.least", message.least)
        )
    }

    var wire: Isobar_V1_RegionRoundTrip {
        var message = Isobar_V1_RegionRoundTrip()
        message.source = self.source.text
        message.target = self.target.text
        message.smooth = Float(self.smooth)
        message.least = Float(self.minimum)
        return message
    }
}

extension MeshFlush {
    init(_ message: Isobar_V1_MeshFlush) throws(WireError) {
        var echo: FlushEcho?
        if message.hasEcho {
            echo = FlushEcho(
                sentAt: try WireError.time("flush.echo.sent_at", message.echo.sentAt),
                heldFor: try WireError.time("flush.echo.held_for", message.echo.heldFor)
            )
        }
        var roundTrips: [RegionRoundTrip]?
        if message.hasRoundTrips {
            roundTrips = try message.roundTrips.values.prefix(Limits.roundTrips).map(RegionRoundTrip.reading)
        }
        self.init(
            run: message.run,
            sentAt: try WireError.time("flush.sent_at", message.sentAt),
            echo: echo,
            region: message.region.isEmpty ? nil : try WireError.region("flush.region", message.region),
            frames: message.frames.prefix(Limits.frames).compactMap { try? CarriedFrame($0) },
            have: try HaveEntry.reading("flush.have", message.have),
            isComplete: message.isComplete,
            suspicions: message.hasSuspicions ? try HaveEntry.reading("flush.suspicions", message.suspicions) : nil,
            roundTrips: roundTrips
        )
    }

    var wire: Isobar_V1_MeshFlush {
        var message = Isobar_V1_MeshFlush()
        message.run = self.run
        message.sentAt = self.sentAt
        if let echo {
            message.echo.sentAt = echo.sentAt
            message.echo.heldFor = echo.heldFor
        }
        message.region = self.region?.text ?? ""
        message.frames = self.frames.map(\.wire)
        if !self.have.isEmpty { message.have = HaveEntry.wire(self.have) }
        message.isComplete = self.isComplete
        if let suspicions { message.suspicions = HaveEntry.wire(suspicions) }
        if let roundTrips { message.roundTrips.values = roundTrips.map(\.wire) }
        return message
    }
}

extension HaveEntry {
    fileprivate static func reading(
        _ field: String,
        _ message: Isobar_V1_StampVector
    ) throws(WireError) -> [HaveEntry] {
        guard message.agents.count == message.stamps.count, message.agents.count <= Limits.stamps else {
            let found = "\(message.agents.count) agents and \(message.stamps.count) stamps"
            throw WireError(field: field, reason: "\(found); one stamp an agent, \(Limits.stamps) at most")
        }
        return zip(message.agents, message.stamps).map { HaveEntry(agent: AgentID($0), stamp: FrameStamp(order: $1)) }
    }

    fileprivate static func wire(_ entries: [HaveEntry]) -> Isobar_V1_StampVector {
        var message = Isobar_V1_StampVector()
        message.agents = entries.map(\.agent.number)
        message.stamps = entries.map(\.stamp.order)
        return message
    }
}

extension Introduction {
    /// Checks and reads what a peer says of itself; that it is true is another matter.
    init(_ hello: Isobar_V1_Hello) throws(WireError) {
        guard hello.name.isDNSLabelOrLonger else {
            throw WireError(field: "hello.name", reason: "is empty or longer than 253 bytes")
        }
        let peer: Peer
        var cluster: ClusterName?
        switch hello.who {
        case .hub(let number): peer = .hub(try WireError.hub(number))
        case .agent(let number):
            peer = .agent(AgentID(number))
            do {
                cluster = try ClusterName(hello.cluster)
            } catch {
                throw WireError(field: "hello.cluster", reason: error.description)
            }
        case nil: throw WireError(field: "hello.who", reason: "is missing")
        }
        self.init(
            peer,
            name: hello.name,
            region: hello.region.isEmpty ? nil : try WireError.region("hello.region", hello.region),
            cluster: cluster,
            proof: [UInt8](hello.proof)
        )
    }

    /// The first message of a stream; only a hub is shown the proof.
    var wire: Isobar_V1_GossipMessage {
        var message = Isobar_V1_GossipMessage()
        switch self.peer {
        case .hub(let hub): message.hello.hub = UInt32(hub.number)
        case .agent(let agent): message.hello.agent = agent.number
        }
        message.hello.name = self.name
        message.hello.region = self.region?.text ?? ""
        message.hello.cluster = self.cluster?.text ?? ""
        message.hello.proof = Data(self.proof)
        return message
    }
}

extension String {
    fileprivate var isDNSLabelOrLonger: Bool { !self.isEmpty && self.utf8.count <= 253 }
}
