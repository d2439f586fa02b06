import FleetModel
import Foundation
import GRPCCore
import GossipCore
import SwiftProtobuf
import Synchronization
import WireProtocol

/// One stream to one peer, and what waits to be written to it.
final class GossipLane: Sendable {
    private struct State {
        var outbox = GossipOutbox()
        var heardAt: Seconds
        var peer: Peer?
    }

    let id: UInt64
    /// Whether this end opened the stream.
    let isOwn: Bool
    private let state: Mutex<State>
    private let bell: AsyncStream<Void>
    private let ring: AsyncStream<Void>.Continuation

    init(id: UInt64, isOwn: Bool, now: Seconds) {
        self.id = id
        self.isOwn = isOwn
        self.state = Mutex(State(heardAt: now))
        (self.bell, self.ring) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Who is at the other end, once that is proven.
    var peer: Peer? { self.state.withLock { $0.peer } }

    func opened(to peer: Peer, now: Seconds) {
        self.state.withLock { state in
            state.peer = peer
            state.heardAt = now
        }
    }

    /// When the peer last said something on this stream.
    var heardAt: Seconds { self.state.withLock { $0.heardAt } }

    func heard(now: Seconds) { self.state.withLock { $0.heardAt = now } }

    func put(_ message: GossipMessage) -> GossipOutbox.Outcome {
        let outcome = self.state.withLock { $0.outbox.put(message) }
        self.ring.yield()
        return outcome
    }

    /// Lets ``pump(_:)`` end, and with it the stream.
    func end() { self.ring.finish() }

    /// Writes what comes into the outbox, until the lane ends or its task is cancelled.
    func pump(_ write: ([UInt8]) async throws -> Void) async throws {
        for await _ in self.bell {
            for message in self.state.withLock({ $0.outbox.take() }) {
                try await write(try message.wire.serializedBytes())
            }
        }
    }
}

/// Bytes as they are: a message is read after the flood gate, and one that cannot be read does not end its stream.
struct RawMessages: MessageSerializer, MessageDeserializer {
    func serialize<Bytes: GRPCContiguousBytes>(_ message: [UInt8]) throws -> Bytes { Bytes(message) }

    func deserialize<Bytes: GRPCContiguousBytes>(_ bytes: Bytes) throws -> [UInt8] {
        bytes.withUnsafeBytes { Array($0) }
    }
}
