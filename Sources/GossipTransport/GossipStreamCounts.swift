package import Exposition
import Synchronization

/// Why a message of the gossip was dropped before anybody thought about it; the words are a metric label.
package enum GossipDrop: String, Hashable, Sendable, CaseIterable {
    /// The peer is not connected.
    case noLink = "no_link"
    /// It cannot be read, or its first message is no Hello.
    case unreadable
    /// The peer says who it is, and cannot prove it.
    case unproven
    /// The peer sends more than it may.
    case flood
    /// The reader is too slow.
    case inboxFull = "inbox_full"
    /// The peer is too slow.
    case outboxFull = "outbox_full"
}

/// What went over the streams of one program.
package final class GossipStreamCounts: Sendable {
    private struct State {
        var sent: UInt64 = 0
        var sentBytes: UInt64 = 0
        var replaced: UInt64 = 0
        var received: UInt64 = 0
        var receivedBytes: UInt64 = 0
        var drops: [GossipDrop: UInt64] = [:]
        var lost: UInt64 = 0
    }

    private let state = Mutex(State())

    package init() {}

    package subscript(_ drop: GossipDrop) -> UInt64 { self.state.withLock { $0.drops[drop] ?? 0 } }
    /// Messages put into an outbox, and those whose place a newer one took before they left.
    package var sent: UInt64 { self.state.withLock { $0.sent } }
    package var replaced: UInt64 { self.state.withLock { $0.replaced } }
    package var received: UInt64 { self.state.withLock { $0.received } }
    package var sentBytes: UInt64 { self.state.withLock { $0.sentBytes } }
    package var receivedBytes: UInt64 { self.state.withLock { $0.receivedBytes } }

    func dropped(_ drop: GossipDrop) { self.state.withLock { $0.drops[drop, default: 0] += 1 } }

    func put(_ outcome: GossipOutbox.Outcome) {
        self.state.withLock { state in
            switch outcome {
            case .added: state.sent += 1
            case .replaced:
                state.sent += 1
                state.replaced += 1
            case .full: state.drops[.outboxFull, default: 0] += 1
            }
        }
    }

    func wrote(bytes: Int) { self.state.withLock { $0.sentBytes += UInt64(bytes) } }

    func received(bytes: Int) {
        self.state.withLock { state in
            state.received += 1
            state.receivedBytes += UInt64(bytes)
        }
    }

    func lost() { self.state.withLock { $0.lost += 1 } }

    /// Writes the counters.
    package func write(to page: inout ExpositionWriter, openStreams: (streams: Int, peers: Int)) {
        let state = self.state.withLock { $0 }
        func counter(_ name: String, _ help: String, _ value: UInt64) {
            page.single("isobar_gossip_\(name)_total", .counter, help: help, Double(value))
        }
        counter("messages_sent", "Messages put into an outbox.", state.sent)
        counter("sent_bytes", "Bytes of messages that left.", state.sentBytes)
        counter("messages_replaced", "Messages whose place a newer one took before they left.", state.replaced)
        counter("messages_received", "Messages that came, read or not.", state.received)
        counter("received_bytes", "Bytes of them.", state.receivedBytes)
        counter("streams_lost", "Times that the last stream to a peer ended.", state.lost)
        page.family("isobar_gossip_dropped_total", .counter, help: "Messages dropped before they were read, by reason.")
        for drop in GossipDrop.allCases {
            page.sample("isobar_gossip_dropped_total", ["reason": drop.rawValue], Double(state.drops[drop] ?? 0))
        }
        page.single("isobar_gossip_streams", .gauge, help: "Streams that are open.", Double(openStreams.streams))
        page.single("isobar_gossip_peers", .gauge, help: "Peers at their other ends.", Double(openStreams.peers))
    }
}
