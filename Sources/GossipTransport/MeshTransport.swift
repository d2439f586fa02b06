package import FleetModel
package import GossipCore
import Synchronization
import WireProtocol

/// What carries the gossip's messages between programs: two methods.
///
/// It may lose, repeat and reorder messages. It knows who a peer is, and hands over nothing under another name.
package protocol MeshTransport: Sendable {
    /// Puts a message in a peer's outbox, in the place of what waits there in the same ``GossipMessage/slot``.
    ///
    /// - Parameters:
    ///   - message: The message.
    ///   - peer: Whom it is for; nothing is sent to one that is neither connected nor has an address.
    ///   - address: Where the peer listens, when no connection may be open yet.
    func send(_ message: GossipMessage, to peer: Peer, at address: String?)

    /// What was received, and from whom; for one reader at a time.
    var received: GossipEvents { get }
}

/// Who a peer is, beside its number.
package struct Introduction: Hashable, Sendable {
    package var peer: Peer
    /// The hub replica's name, or the agent's.
    package var name: String
    package var region: RegionName?
    /// An agent's.
    package var cluster: ClusterName?
    /// An agent's, which only the holder of its key can make; see ``FrameSeal/proof``.
    package var proof: [UInt8]

    package init(
        _ peer: Peer,
        name: String,
        region: RegionName? = nil,
        cluster: ClusterName? = nil,
        proof: [UInt8] = []
    ) {
        self.peer = peer
        self.name = name
        self.region = region
        self.cluster = cluster
        self.proof = proof
    }
}

/// What a transport has to tell.
package enum GossipEvent: Hashable, Sendable {
    /// A peer is connected, once more perhaps.
    case met(Introduction)
    /// The last connection to a peer is gone.
    case lost(Peer)
    case heard(Peer, GossipMessage)
    /// A hub does not know this agent's key: it has to register again.
    case unrecognized
}

/// Events that wait for their reader: of the same peer and slot only the newest, flushes all.
///
/// A flush that is lost is repaired, but late, so none replaces another here; there are ten a second from each hub.
final class GossipInbox: Sendable {
    enum Outcome { case added, replaced, full }

    private enum Place: Hashable {
        case slot(Peer, GossipSlot)
        case presence(Peer)
    }

    private struct State {
        var waiting: [GossipEvent] = []
        var places: [Place: Int] = [:]
    }

    private let limit: Int
    private let state = Mutex(State())
    let bell = NewestWins<Void>()

    init(limit: Int = 16_384) { self.limit = limit }

    @discardableResult
    func put(_ event: GossipEvent) -> Outcome {
        let place: Place?
        switch event {
        case .heard(_, .flush), .unrecognized: place = nil
        case .heard(let peer, let message): place = .slot(peer, message.slot)
        case .met(let introduction): place = .presence(introduction.peer)
        case .lost(let peer): place = .presence(peer)
        }
        let outcome = self.state.withLock { state -> Outcome in
            if let place, let index = state.places[place] {
                state.waiting[index] = event
                return .replaced
            }
            guard state.waiting.count < self.limit else { return .full }
            if let place { state.places[place] = state.waiting.count }
            state.waiting.append(event)
            return .added
        }
        if outcome != .full { self.bell.send(()) }
        return outcome
    }

    func take() -> [GossipEvent] {
        self.state.withLock { state in
            defer { state = State() }
            return state.waiting
        }
    }
}

/// What a transport received, in batches: everything that came since the reader last looked.
package struct GossipEvents: AsyncSequence, Sendable {
    package typealias Element = [GossipEvent]
    package typealias Failure = Never

    let inbox: GossipInbox

    /// Ends when its task is cancelled.
    package struct AsyncIterator: AsyncIteratorProtocol {
        package typealias Element = [GossipEvent]
        package typealias Failure = Never

        let inbox: GossipInbox
        var bell: AsyncStream<Void>.Iterator

        /// The next batch; `nil` when the reader's task is cancelled.
        package mutating func next() async -> [GossipEvent]? {
            await self.next(isolation: nil)
        }

        /// The next batch; `nil` when the reader's task is cancelled.
        package mutating func next(isolation actor: isolated (any Actor)?) async -> [GossipEvent]? {
            while !Task.isCancelled {
                let events = self.inbox.take()
                if !events.isEmpty { return events }
                guard await self.bell.next(isolation: actor) != nil else { return nil }
            }
            return nil
        }
    }

    package func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(inbox: self.inbox, bell: self.inbox.bell.values().makeAsyncIterator())
    }
}

/// Messages on their way to one peer: the newest of each slot, in the order in which the slots came up.
struct GossipOutbox: Sendable {
    enum Outcome { case added, replaced, full }

    /// A hub's answers to one relay, and a relay's forwards to one hub, are as many as the agents that they are about.
    static let slotsMax = 4_096

    private var waiting: [GossipMessage] = []
    private var places: [GossipSlot: Int] = [:]

    var isEmpty: Bool { self.places.isEmpty }

    mutating func put(_ message: GossipMessage) -> Outcome {
        if let place = self.places[message.slot] {
            self.waiting[place] = message
            return .replaced
        }
        guard self.places.count < Self.slotsMax else { return .full }
        self.places[message.slot] = self.waiting.count
        self.waiting.append(message)
        return .added
    }

    mutating func take() -> [GossipMessage] {
        defer { self = GossipOutbox() }
        return self.waiting
    }
}
