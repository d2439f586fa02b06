import FleetModel
package import GossipCore
import Synchronization

/// Programs of one process that talk without sockets: the twin of ``GossipStreams`` for tests.
package final class MemoryNetwork: Sendable {
    private struct State {
        var members: [Peer: MemoryTransport] = [:]
        var cut: Set<[Peer]> = []
    }

    private let state = Mutex(State())

    package init() {}

    /// A new member, which meets everybody that it is not cut off from.
    package func join(_ introduction: Introduction) -> MemoryTransport {
        let member = MemoryTransport(introduction, network: self)
        let others = self.state.withLock { state in
            state.members[introduction.peer] = member
            return state.members.values.filter { other in
                other !== member && !state.cut.contains([introduction.peer, other.own.peer].sorted())
            }
        }
        for other in others {
            member.inbox.put(.met(other.own))
            other.inbox.put(.met(introduction))
        }
        return member
    }

    /// Cuts the link between two members, or heals it.
    package func cut(_ one: Peer, _ other: Peer, heal: Bool = false) {
        let ends = self.state.withLock { state -> [MemoryTransport] in
            let pair = [one, other].sorted()
            let isNews = heal ? state.cut.remove(pair) != nil : state.cut.insert(pair).inserted
            return isNews ? [state.members[one], state.members[other]].compactMap { $0 } : []
        }
        guard ends.count == 2 else { return }
        for (end, far) in [(ends[0], ends[1]), (ends[1], ends[0])] {
            end.inbox.put(heal ? .met(far.own) : .lost(far.own.peer))
        }
    }

    fileprivate func deliver(_ message: GossipMessage, from: Peer, to: Peer) {
        let target = self.state.withLock { state in
            state.cut.contains([from, to].sorted()) ? nil : state.members[to]
        }
        target?.inbox.put(.heard(from, message))
    }
}

/// One member of a ``MemoryNetwork``.
package final class MemoryTransport: MeshTransport {
    fileprivate let own: Introduction
    fileprivate let inbox = GossipInbox()
    private let network: MemoryNetwork

    fileprivate init(_ own: Introduction, network: MemoryNetwork) {
        self.own = own
        self.network = network
    }

    package func send(_ message: GossipMessage, to peer: Peer, at address: String?) {
        self.network.deliver(message, from: self.own.peer, to: peer)
    }

    package var received: GossipEvents { GossipEvents(inbox: self.inbox) }
}
