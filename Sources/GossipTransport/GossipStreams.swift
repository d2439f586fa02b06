package import FleetModel
import Foundation
package import GRPCCore
package import GossipCore
import SwiftProtobuf
import Synchronization
package import WireProtocol

/// The gossip over gRPC: one long-lived stream a link, on the one port that each program has.
///
/// A stream begins with both ends saying who they are. After that each end writes the newest message of each slot, and
/// what it reads goes to one inbox. A message that cannot be read is counted and dropped, and the stream goes on.
/// Streams that end are made anew after a pause with jitter.
///
/// Between two peers there may be two streams, one from each end. A message takes the one on which the other was heard
/// last, and both when neither has said anything for a second, so that one way cut leaves the other in use.
package final class GossipStreams: MeshTransport {
    private struct Known {
        var lanes: [GossipLane] = []
        var gate: FloodGate
        /// What a peer without a stream is to hear once it has one.
        var outbox = GossipOutbox()
        var wantedAt: Seconds = -.infinity
        var isDialled = false
        var lastSeenAt: Seconds
        var fault: String?
    }

    private struct State {
        var own: Introduction?
        var recognizes: (@Sendable ([UInt8]) -> SealHeader?)?
        var peers: [Peer: Known] = [:]
        /// Why the last stream over a connection to a hub failed, by the connection's name.
        var faults: [String: String] = [:]
        var lanesEver: UInt64 = 0
    }

    struct Dial: Sendable {
        var peer: Peer
        var address: EndpointAddress
    }

    /// A peer without any stream is forgotten after this, in seconds; until then its flood gate counts on.
    static let forgottenAfter: Seconds = 60
    /// A relay that nothing was sent to for this long is let go, in seconds.
    static let idleAfter: Seconds = 30
    /// After this silence a message takes every stream to the peer, in seconds.
    static let silence: Seconds = 1
    /// How long a message waits for a connection that is being made, in seconds.
    static let waitsFor: Seconds = 3
    /// Connections to relays at once.
    static let dialsMax = 16

    package let counts = GossipStreamCounts()
    private let now: @Sendable () -> Seconds
    private let inbox = GossipInbox()
    private let state = Mutex(State())
    private let dials: AsyncStream<Dial>
    private let dial: AsyncStream<Dial>.Continuation

    /// - Parameter now: A monotonic clock, in seconds.
    package init(now: @escaping @Sendable () -> Seconds) {
        self.now = now
        (self.dials, self.dial) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(Self.dialsMax))
    }

    /// Begins to speak under a name, or under another one; nothing is said before.
    ///
    /// - Parameters:
    ///   - own: Who this program is.
    ///   - recognizes: A hub's check of an agent's proof, which tells whose it is; agents have none.
    package func introduce(
        _ own: Introduction,
        recognizes: (@Sendable ([UInt8]) -> SealHeader?)? = nil
    ) {
        let old = self.state.withLock { state -> [GossipLane] in
            state.recognizes = recognizes
            guard state.own != own else { return [] }
            state.own = own
            return state.peers.values.flatMap(\.lanes)
        }
        for lane in old { lane.end() }
    }

    // MARK: MeshTransport

    package var received: GossipEvents { GossipEvents(inbox: self.inbox) }

    package func send(_ message: GossipMessage, to peer: Peer, at address: String?) {
        let now = self.now()
        let (lanes, waits, dial) = self.state.withLock { state -> ([GossipLane], GossipOutbox.Outcome?, Dial?) in
            if let known = state.peers[peer], !known.lanes.isEmpty {
                state.peers[peer]?.wantedAt = now
                guard known.lanes.count > 1 else { return (known.lanes, nil, nil) }
                let best = known.lanes.max { ($0.heardAt, $0.id) < ($1.heardAt, $1.id) }
                guard let best, now - best.heardAt < Self.silence else { return (known.lanes, nil, nil) }
                return ([best], nil, nil)
            }
            guard let address, let target = try? EndpointAddress(address) else { return ([], nil, nil) }
            var known = state.peers[peer] ?? Known(gate: FloodGate(for: peer), lastSeenAt: now)
            let isDialled = known.isDialled
            if !isDialled, state.peers.values.count(where: \.isDialled) >= Self.dialsMax { return ([], nil, nil) }
            (known.isDialled, known.wantedAt) = (true, now)
            let outcome = known.outbox.put(message)
            state.peers[peer] = known
            return ([], outcome, isDialled ? nil : Dial(peer: peer, address: target))
        }
        if let dial, case .dropped = self.dial.yield(dial) { self.state.withLock { $0.peers[peer]?.isDialled = false } }
        if lanes.isEmpty, waits == nil { self.counts.dropped(.noLink) }
        if let waits { self.counts.put(waits) }
        for lane in lanes { self.counts.put(lane.put(message)) }
    }

    /// Connects to relays as they are needed, until it is cancelled.
    ///
    /// - Parameter connect: Makes a connection to an agent and keeps it for as long as the talk over it lasts.
    package func run(connect: @escaping @Sendable (EndpointAddress, GossipTalk) async -> Void) async {
        await withDiscardingTaskGroup { group in
            for await dial in self.dials {
                group.addTask {
                    await connect(dial.address, GossipTalk(streams: self, expects: dial.peer))
                    self.state.withLock { $0.peers[dial.peer]?.isDialled = false }
                }
            }
        }
    }

    /// Why a peer is not heard, when that is known: of the last stream to it that failed.
    package func fault(of peer: Peer) -> String? { self.state.withLock { $0.peers[peer]?.fault } }

    /// Why the last stream over a connection to a hub failed; `nil` while one is open.
    package func fault(over connection: String) -> String? { self.state.withLock { $0.faults[connection] } }

    /// Streams that are open, and peers at the other ends.
    package var openStreams: (streams: Int, peers: Int) {
        self.state.withLock { state in
            (state.peers.values.reduce(0) { $0 + $1.lanes.count }, state.peers.values.count { !$0.lanes.isEmpty })
        }
    }

    // MARK: Streams

    /// Who this program is, once it may speak.
    fileprivate var own: Introduction? { self.state.withLock { $0.own } }

    private func makeLane(isOwn: Bool) -> GossipLane {
        let id = self.state.withLock { state in
            state.lanesEver += 1
            return state.lanesEver
        }
        return GossipLane(id: id, isOwn: isOwn, now: self.now())
    }

    /// A stream begins to carry messages of a peer, in the place of an older one that the same end opened.
    private func open(_ lane: GossipLane, to introduction: Introduction) {
        let now = self.now()
        lane.opened(to: introduction.peer, now: now)
        let (old, waiting) = self.state.withLock { state -> ([GossipLane], [GossipMessage]) in
            let peer = introduction.peer
            var known = state.peers[peer] ?? Known(gate: FloodGate(for: peer), lastSeenAt: now)
            let old = known.lanes.filter { $0.isOwn == lane.isOwn }
            known.lanes.removeAll { $0.isOwn == lane.isOwn }
            known.lanes.append(lane)
            known.fault = nil
            // What waited for the connection has grown older meanwhile.
            let waited = now - known.wantedAt
            let waiting = waited < Self.waitsFor ? known.outbox.take().map { $0.aged(by: waited) } : []
            known.outbox = GossipOutbox()
            state.peers[peer] = known
            let limit = 64 + 2 * state.peers.values.count { !$0.lanes.isEmpty }
            if state.peers.count > limit {
                state.peers = state.peers.filter {
                    !$0.value.lanes.isEmpty || $0.value.isDialled || now - $0.value.lastSeenAt < Self.forgottenAfter
                }
            }
            return (old, waiting)
        }
        for lane in old { lane.end() }
        self.inbox.put(.met(introduction))
        for message in waiting { self.counts.put(lane.put(message)) }
    }

    private func close(_ lane: GossipLane) {
        lane.end()
        guard let peer = lane.peer else { return }
        let now = self.now()
        let isLast = self.state.withLock { state -> Bool in
            guard var known = state.peers[peer] else { return false }
            let before = known.lanes.count
            known.lanes.removeAll { $0.id == lane.id }
            known.lastSeenAt = now
            state.peers[peer] = known
            return known.lanes.isEmpty && before > 0
        }
        guard isLast else { return }
        self.counts.lost()
        self.inbox.put(.lost(peer))
    }

    /// Takes one message of a peer, as bytes.
    ///
    /// Waits when the peer floods this program: what it sends meanwhile waits at its end.
    private func take(_ bytes: [UInt8], on lane: GossipLane, from peer: Peer) async throws {
        let now = self.now()
        self.counts.received(bytes: bytes.count)
        let verdict = self.state.withLock { $0.peers[peer]?.gate.judge(bytes: bytes.count, now: now) } ?? .dropAndPause
        switch verdict {
        case .take:
            let message: GossipMessage
            do {
                message = try GossipMessage(try Isobar_V1_GossipMessage(serializedBytes: bytes))
            } catch {
                self.counts.dropped(.unreadable)
                return
            }
            lane.heard(now: now)
            if self.inbox.put(.heard(peer, message)) == .full { self.counts.dropped(.inboxFull) }
        case .dropAndPause:
            self.counts.dropped(.flood)
            try await Task.sleep(for: .seconds(FloodGate.pause))
        }
    }

    /// One stream that a peer opened.
    fileprivate func serve(
        _ request: RPCAsyncSequence<[UInt8], any Error>,
        _ response: RPCWriter<[UInt8]>,
        from link: LinkPeer?
    ) async throws {
        let lane = self.makeLane(isOwn: false)
        defer { self.close(lane) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await lane.pump { bytes in
                    try await response.write(bytes)
                    self.counts.wrote(bytes: bytes.count)
                }
            }
            group.addTask {
                for try await bytes in request {
                    if let peer = lane.peer {
                        try await self.take(bytes, on: lane, from: peer)
                        continue
                    }
                    let (introduction, own) = try self.admit(bytes, from: link)
                    try await response.write(try own.wire.serializedBytes())
                    self.open(lane, to: introduction)
                }
            }
            defer { group.cancelAll() }
            // Whichever ends first ends the stream: the peer left, or another stream took this one's place.
            try await group.next()
        }
    }

    /// Hears the first message of a peer that opened a stream, and answers with who this program is.
    ///
    /// - Throws: `RPCError`, which ends the stream.
    private func admit(_ bytes: [UInt8], from link: LinkPeer?) throws -> (peer: Introduction, own: Introduction) {
        let (own, recognizes) = self.state.withLock { ($0.own, $0.recognizes) }
        guard var own else { throw RPCError(code: .unavailable, message: "this program is not ready to speak yet") }
        let introduction: Introduction
        do {
            guard case .hello(let hello) = try Isobar_V1_GossipMessage(serializedBytes: bytes).kind else {
                throw WireError(field: "kind", reason: "the first message must be a Hello")
            }
            introduction = try Introduction(hello)
        } catch {
            self.counts.dropped(.unreadable)
            throw RPCError(code: .invalidArgument, message: "\(error)")
        }
        switch introduction.peer {
        case .hub:
            guard recognizes != nil, link.map({ $0.identity.role == .hub }) ?? true else {
                self.counts.dropped(.unproven)
                throw RPCError(code: .permissionDenied, message: "only a hub speaks to a hub as a hub")
            }
        case .agent(let agent):
            if let stranger = link?.refusal(speakingFor: introduction.cluster?.text ?? "") {
                self.counts.dropped(.unproven)
                throw RPCError(code: .permissionDenied, message: stranger)
            }
            if let recognizes {
                let proven = recognizes(introduction.proof)
                guard let proven, proven.agent == agent.number, proven.id.cluster == introduction.cluster,
                    proven.id.sequence == 0
                else {
                    self.counts.dropped(.unproven)
                    throw RPCError(code: .unauthenticated, message: "the key of \(agent) is not known; register again")
                }
            } else {
                own.proof = []
            }
        }
        return (introduction, own)
    }

    /// Talks over one connection for as long as it is wanted, over as many streams as it takes.
    fileprivate func talk<Transport: ClientTransport>(
        over client: GRPCClient<Transport>,
        expects peer: Peer?,
        named connection: String
    ) async {
        defer { self.state.withLock { $0.faults[connection] = nil } }
        var backoff = Backoff()
        var dice = SystemRandomNumberGenerator()
        while !Task.isCancelled, self.isWanted(peer) {
            guard let own = self.own else {
                // Nobody is to wait for a back-off that has grown before there was anything to say.
                try? await Task.sleep(for: .milliseconds(50))
                continue
            }
            let began = self.now()
            do {
                try await self.stream(over: client, as: own, expects: peer, named: connection)
                self.failed(peer, connection, "the stream ended")
            } catch let error as RPCError {
                if error.code == .unauthenticated { self.inbox.put(.unrecognized) }
                self.failed(peer, connection, "\(error.code): \(error.message)")
            } catch {
                self.failed(peer, connection, "\(error)")
            }
            // A stream that lasted is no reason to wait long for the next.
            if self.now() - began > 5 { backoff.reset() }
            try? await Task.sleep(for: .seconds(backoff.pause(using: &dice)))
        }
    }

    private func isWanted(_ peer: Peer?) -> Bool {
        guard let peer else { return true }
        let now = self.now()
        return self.state.withLock { state in state.peers[peer].map { now - $0.wantedAt < Self.idleAfter } ?? false }
    }

    private func failed(_ peer: Peer?, _ connection: String, _ reason: String) {
        guard !Task.isCancelled else { return }
        self.state.withLock { state in
            if let peer { state.peers[peer]?.fault = reason } else { state.faults[connection] = reason }
        }
    }

    private func stream<Transport: ClientTransport>(
        over client: GRPCClient<Transport>,
        as own: Introduction,
        expects expected: Peer?,
        named connection: String
    ) async throws {
        let lane = self.makeLane(isOwn: true)
        defer { self.close(lane) }
        var own = own
        if case .agent = expected { own.proof = [] }
        let hello: [UInt8] = try own.wire.serializedBytes()
        var options = CallOptions.defaults
        // A peer that is away is a fault to show, and the next try comes soon.
        options.waitForReady = false
        let request = StreamingClientRequest<[UInt8]>(metadata: [:]) { writer in
            try await writer.write(hello)
            try await lane.pump { bytes in
                try await writer.write(bytes)
                self.counts.wrote(bytes: bytes.count)
            }
        }
        try await client.bidirectionalStreaming(
            request: request,
            descriptor: Isobar_V1_Gossip.Method.Talk.descriptor,
            serializer: RawMessages(),
            deserializer: RawMessages(),
            options: options
        ) { response in
            // The writer has nothing to wait for once the answers have ended.
            defer { lane.end() }
            for try await bytes in response.messages {
                if let peer = lane.peer {
                    try await self.take(bytes, on: lane, from: peer)
                    if !self.isWanted(expected) { return }
                    continue
                }
                guard case .hello(let hello) = try Isobar_V1_GossipMessage(serializedBytes: bytes).kind else {
                    throw WireError(field: "kind", reason: "the first message must be a Hello")
                }
                let introduction = try Introduction(hello)
                switch (introduction.peer, expected) {
                case (.hub, nil): break
                case (let peer, let expected?) where peer == expected: break
                default:
                    let wanted = expected.map(\.description) ?? "a hub"
                    throw WireError(field: "hello", reason: "\(introduction.peer) answers in the place of \(wanted)")
                }
                self.state.withLock { $0.faults[connection] = nil }
                self.open(lane, to: introduction)
            }
        }
    }
}

/// What goes over one connection.
package struct GossipTalk: Sendable {
    fileprivate let streams: GossipStreams
    fileprivate let expects: Peer?
    fileprivate let connection: String

    /// A talk with whichever hub is at the other end, for as long as its task is not cancelled.
    ///
    /// - Parameters:
    ///   - streams: Who talks.
    ///   - connection: Names the connection, to ask for its fault by.
    package init(_ streams: GossipStreams, withHubOver connection: String) {
        self.streams = streams
        self.expects = nil
        self.connection = connection
    }

    fileprivate init(streams: GossipStreams, expects: Peer) {
        self.streams = streams
        self.expects = expects
        self.connection = ""
    }

    /// Talks; streams that end are made anew after a pause with jitter.
    package func run<Transport: ClientTransport>(over client: GRPCClient<Transport>) async {
        await self.streams.talk(over: client, expects: self.expects, named: self.connection)
    }
}

/// The end of the gossip's streams that others open.
package struct GossipService: RegistrableRPCService {
    private let streams: GossipStreams

    package init(_ streams: GossipStreams) { self.streams = streams }

    package func registerMethods<Transport: ServerTransport>(with router: inout RPCRouter<Transport>) {
        let streams = self.streams
        router.registerHandler(
            forMethod: Isobar_V1_Gossip.Method.Talk.descriptor,
            deserializer: RawMessages(),
            serializer: RawMessages()
        ) { request, context in
            let peer = context.peer
            return StreamingServerResponse(metadata: [:]) { writer in
                try await streams.serve(request.messages, writer, from: peer)
                return [:]
            }
        }
    }
}
