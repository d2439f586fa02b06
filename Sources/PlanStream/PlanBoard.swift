package import FleetModel
import NIOCore
import Synchronization
import WireProtocol

/// What became of what a hub replica said to its gateways.
package struct PlanTraffic: Hashable, Sendable {
    /// Streams at the moment.
    package var streams = 0
    package var bodies: UInt64 = 0
    package var deltas: UInt64 = 0
    package var heartbeats: UInt64 = 0
    /// Bytes of all of them.
    package var bytes: UInt64 = 0
    /// Plans that a stream could not take before the next one.
    package var skipped: UInt64 = 0
    /// Bodies that a gateway asked for, because a delta did not fit.
    package var resent: UInt64 = 0
    /// Streams that were ended, because the gateway answered nothing for ``PlanSubscription/patience``.
    package var dropped: UInt64 = 0

    static func + (one: Self, two: Self) -> Self {
        Self(
            streams: one.streams + two.streams,
            bodies: one.bodies + two.bodies,
            deltas: one.deltas + two.deltas,
            heartbeats: one.heartbeats + two.heartbeats,
            bytes: one.bytes + two.bytes,
            skipped: one.skipped + two.skipped,
            resent: one.resent + two.resent,
            dropped: one.dropped + two.dropped
        )
    }
}

/// The plan in force, where a hub replica puts it for all its gateways' streams.
///
/// A plan wakes each event loop once, and the loop serves its streams one after the other.
package final class PlanBoard: Sendable {
    private struct State {
        var current: Announcement?
        var loops: [ObjectIdentifier: Loop] = [:]
    }

    /// The streams of one event loop.
    private struct Loop {
        let eventLoop: any EventLoop
        let streams: NIOLoopBound<LoopStreams>
        let traffic: Tally
    }

    private let state = Mutex(State())
    private let clock: @Sendable () -> Seconds

    /// - Parameter clock: The hub's clock.
    package init(clock: @escaping @Sendable () -> Seconds) { self.clock = clock }

    var now: Seconds { self.clock() }

    var current: Announcement? { self.state.withLock { $0.current } }

    /// Whether anything has been announced yet, be it that there is no plan.
    package var isOpen: Bool { self.current != nil }

    package var traffic: PlanTraffic {
        self.state.withLock { $0.loops.values.map(\.traffic) }.reduce(PlanTraffic()) { $0 + $1.value.withLock { $0 } }
    }

    /// Puts a plan in force, or says that there is none.
    ///
    /// - Throws: ``PlanUnreadable`` when it cannot be encoded.
    package func announce(_ plan: EncodedPlan?) throws(PlanUnreadable) {
        let loops = try self.state.withLock { state throws(PlanUnreadable) in
            state.current = try Announcement(plan, after: state.current)
            return Array(state.loops.values)
        }
        for loop in loops { self.serve(loop) }
    }

    /// Says that what was announced last is still in force.
    package func confirm() {
        let loops = self.state.withLock { Array($0.loops.values) }
        for loop in loops { self.serve(loop) }
    }

    /// What the loop then finds announced is what it serves: two plans in a row are one round of the newer, and one that
    /// finds nothing to say.
    private func serve(_ loop: Loop) {
        loop.eventLoop.execute {
            guard let announcement = self.current else { return }
            loop.streams.value.serve(announcement, now: self.now)
        }
    }

    /// The streams of the event loop that this is called on.
    func streams(on eventLoop: any EventLoop) -> LoopStreams {
        self.state.withLock { state in
            if let loop = state.loops[ObjectIdentifier(eventLoop)] { return loop.streams }
            let traffic = Tally()
            let streams = NIOLoopBound(LoopStreams(tally: traffic), eventLoop: eventLoop)
            state.loops[ObjectIdentifier(eventLoop)] = Loop(eventLoop: eventLoop, streams: streams, traffic: traffic)
            return streams
        }.value
    }
}

/// Counts of one event loop, read from elsewhere.
final class Tally: Sendable {
    let value = Mutex(PlanTraffic())
}

/// The streams of one event loop; touched on that loop only.
final class LoopStreams {
    /// Those of one connection are served together: they share its state and its system calls.
    private struct Connection {
        let connection: any DirectConnection
        var streams: [ObjectIdentifier: GatewayStream] = [:]
    }

    private let tally: Tally
    private var connections: [ObjectIdentifier: Connection] = [:]
    private var streamsEver: UInt64 = 0

    init(tally: Tally) { self.tally = tally }

    func add(_ stream: GatewayStream) {
        let connection = stream.connection
        self.connections[ObjectIdentifier(connection), default: Connection(connection: connection)]
            .streams[ObjectIdentifier(stream)] = stream
        self.count { $0.streams += 1 }
    }

    func remove(_ stream: GatewayStream) {
        let connection = ObjectIdentifier(stream.connection)
        guard self.connections[connection]?.streams.removeValue(forKey: ObjectIdentifier(stream)) != nil else { return }
        if self.connections[connection]?.streams.isEmpty == true { self.connections[connection] = nil }
        self.count { $0.streams -= 1 }
    }

    /// The place of a new stream in the round of heartbeats, 0 to 1.
    func nextPhase() -> Double {
        self.streamsEver += 1
        // The golden ratio's multiples fill the round evenly, however many there are.
        let turns = Double(self.streamsEver) * 0.618_033_988_749_895
        return turns - turns.rounded(.down)
    }

    func count(_ body: (inout PlanTraffic) -> Void) { self.tally.value.withLock { body(&$0) } }

    /// Says to every stream what it is to hear.
    func serve(_ announcement: Announcement, now: Seconds) {
        var traffic = PlanTraffic()
        var stuck: [GatewayStream] = []
        for together in self.connections.values {
            together.connection.gathering {
                for stream in together.streams.values
                where stream.serve(announcement, isConfirmed: true, now: now, &traffic) {
                    stuck.append(stream)
                }
            }
        }
        traffic.dropped += UInt64(stuck.count)
        let round = traffic
        self.count { $0 = $0 + round }
        for stream in stuck { stream.giveUp() }
    }
}
