import EngineSignals
import FleetModel
import GossipTransport
import Logging
import Observability
import SwiftProtobuf
import Synchronization
import WireProtocol
import WireTransport

/// The agent's state behind one lock: readings come in, samples and frames go out.
final class Agent: Sendable {
    struct State {
        var observers: [PoolObserver]
        let poolOf: [EndpointAddress: Int]
        /// Set when the hub has given one, with its seal; no frame leaves before.
        var incarnation: UInt64?
        var seal: FrameSeal?
        var sequence: UInt64 = 0
        var lastSent: [PoolDigest] = []
        var lastSentAt: Seconds = -.infinity
        /// The newest frame that a hub has taken.
        var accepted: FrameID?
        var acceptedAt: Seconds?
        var counts = AgentCounts()
    }

    /// A significant change is sent at once, but never sooner than this after the last frame.
    static let shortestInterval: Seconds = 0.1

    let configuration: AgentConfiguration
    let clock: MonotonicClock
    let links: LinkCredentials?
    let logger: Logger
    /// To every hub replica: sealed once, the same bytes to each.
    let frames = NewestWins<[UInt8]>()
    /// To the gateways of the region.
    let batches = NewestWins<[SampleBatch]>()
    private let state: Mutex<State>

    init(
        configuration: AgentConfiguration,
        clock: MonotonicClock,
        links: LinkCredentials? = nil,
        logger: Logger
    ) {
        self.configuration = configuration
        self.clock = clock
        self.links = links
        self.logger = logger
        var poolOf: [EndpointAddress: Int] = [:]
        for (index, pool) in configuration.pools.enumerated() {
            for endpoint in pool.endpoints { poolOf[endpoint] = index }
        }
        self.state = Mutex(
            State(
                observers: configuration.pools.map { pool in
                    PoolObserver(
                        pool: pool.name,
                        endpoints: pool.endpoints,
                        settings: SignalSettings(maxRunning: pool.maxNumSeqs)
                    )
                },
                poolOf: poolOf
            )
        )
    }

    func withState<Value: Sendable>(_ body: (inout sending State) -> sending Value) -> Value {
        self.state.withLock(body)
    }

    /// Takes what one scrape gave.
    func scraped(_ endpoint: EndpointAddress, _ result: Result<EngineReading, ScrapeFault>) {
        let now = self.clock.now
        let (frame, fault) = self.state.withLock { state -> (DigestFrame?, ScrapeFault?) in
            guard let pool = state.poolOf[endpoint] else { return (nil, nil) }
            let before = state.observers[pool][endpoint]?.lastFault
            state.observers[pool].take(result, from: endpoint, now: now)
            var fault: ScrapeFault?
            switch result {
            case .success: state.counts.scrapes += 1
            case .failure(let failure):
                state.counts.faults[failure.code, default: 0] += 1
                fault = failure == before ? nil : failure
            }
            return (self.frameIfSignificant(&state, now: now), fault)
        }
        if let fault {
            // Once a kind of fault, not five times a second; the counter has them all.
            self.logger.warning("scrape failed", metadata: ["endpoint": "\(endpoint)", "reason": "\(fault)"])
        }
        if let frame { self.send(frame) }
    }

    /// The time has come for a frame.
    func beat() {
        let now = self.clock.now
        let frame = self.state.withLock { state in
            self.frame(&state, digests: state.observers.map { $0.digest(now: now) }, now: now)
        }
        if let frame { self.send(frame) }
    }

    /// Shows the gateways the newest readings.
    func showSamples() {
        let now = self.clock.now
        let configuration = self.configuration
        let batches = self.state.withLock { state in
            state.observers.map { observer in
                SampleBatch(
                    cluster: configuration.cluster,
                    region: configuration.region,
                    pool: observer.pool,
                    samples: observer.samples(now: now)
                )
            }
        }
        self.batches.send(batches)
    }

    /// Begins an incarnation.
    ///
    /// - Throws: ``SealFault`` for a key that is none.
    func registered(_ registration: AgentRegistration) throws(SealFault) {
        let seal = try FrameSeal(
            cluster: self.configuration.cluster,
            incarnation: registration.incarnation,
            key: registration.key
        )
        self.state.withLock { state in
            state.incarnation = registration.incarnation
            state.seal = seal
            state.sequence = 0
        }
    }

    var isRegistered: Bool { self.state.withLock { $0.incarnation != nil } }

    /// A hub could not open a frame: its secret is not the one that the key was made of, so a new key is needed.
    func couldNotBeOpened(_ id: FrameID) {
        self.state.withLock { state in
            if state.incarnation == id.incarnation { (state.incarnation, state.seal) = (nil, nil) }
        }
    }

    private func send(_ frame: DigestFrame) {
        do {
            let payload: [UInt8] = try Isobar_V1_Frame(frame).serializedBytes()
            // The lock again, since two frames may be made at once: whoever is late has an older sequence and drops it.
            let sealed = try self.state.withLock { state -> [UInt8]? in
                guard state.incarnation == frame.id.incarnation else { return nil }
                return try state.seal?.seal(payload, sequence: frame.id.sequence)
            }
            guard let sealed else { return }
            self.frames.send(sealed)
            self.logger.debug("digest sent", metadata: ["frame": "\(frame.id)"])
        } catch {
            self.logger.debug("digest not sent", metadata: ["frame": "\(frame.id)", "reason": "\(error)"])
        }
    }

    private func frameIfSignificant(_ state: inout State, now: Seconds) -> DigestFrame? {
        guard now - state.lastSentAt >= Self.shortestInterval else { return nil }
        let digests = state.observers.map { $0.digest(now: now) }
        let isSignificant = digests.contains { digest in
            digest.isSignificant(after: state.lastSent.first { $0.pool == digest.pool })
        }
        return isSignificant ? self.frame(&state, digests: digests, now: now) : nil
    }

    private func frame(_ state: inout State, digests: [PoolDigest], now: Seconds) -> DigestFrame? {
        guard let incarnation = state.incarnation else { return nil }
        state.sequence += 1
        state.lastSent = digests
        state.lastSentAt = now
        state.counts.frames += 1
        return DigestFrame(
            id: FrameID(cluster: self.configuration.cluster, incarnation: incarnation, sequence: state.sequence),
            region: self.configuration.region,
            agent: self.configuration.agent,
            interval: self.configuration.interval,
            digests: digests
        )
    }
}
