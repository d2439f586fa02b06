import EngineScraping
import EngineSignals
import Exposition
import FleetModel
import GossipCore
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
        var lastSent: [PoolDigest] = []
        var lastSentAt: Seconds = -.infinity
        /// When a significant change was last looked for.
        var lastComparedAt: Seconds = -.infinity
        /// When a hub last said that it holds a newer frame.
        var acceptedAt: Seconds?
        /// Where other agents reach this one.
        var address = ""
        var counts = AgentCounts()
    }

    /// A significant change is sent at once, but never sooner than this after the last frame.
    static let shortestInterval: Seconds = 0.1

    let configuration: AgentConfiguration
    let clock: MonotonicClock
    let links: LinkCredentials?
    let logger: Logger
    /// The gossip's streams, to hubs and to agents that help, or are helped.
    let streams: GossipStreams
    /// To the gateways of the region.
    let batches = NewestWins<[SampleBatch]>()
    private let state: Mutex<State>
    private let meshEnd = Mutex<MeshAgent?>(nil)

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
        self.streams = GossipStreams(now: { clock.now })
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
                        settings: SignalSettings(
                            maxRunning: pool.maxNumSeqs,
                            staleAfter: max(2, 4 * configuration.pace.idle)
                        )
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
        let begun = ProcessorTime.ofThread
        let (isSignificant, fault) = self.state.withLock { state -> (Bool, ScrapeFault?) in
            defer { state.counts.digestSeconds += ProcessorTime.ofThread - begun }
            guard let pool = state.poolOf[endpoint] else { return (false, nil) }
            let fault: ScrapeFault? =
                switch result {
                case .success(let reading): reading.fault
                case .failure(let failure): failure
                }
            let isNew = fault != state.observers[pool][endpoint]?.lastFault
            if let fault { state.counts.faults[fault.code, default: 0] += 1 } else { state.counts.scrapes += 1 }
            state.observers[pool].take(result, from: endpoint, now: now)
            return (self.isSignificant(&state, now: now), isNew ? fault : nil)
        }
        if let fault {
            // Once a kind of fault, not five times a second; the counter has them all.
            self.logger.warning("scrape failed", metadata: ["endpoint": "\(endpoint)", "reason": "\(fault)"])
        }
        if isSignificant { self.mesh?.hasChanged() }
    }

    /// Shows the gateways the newest readings.
    func showSamples() {
        let now = self.clock.now
        let configuration = self.configuration
        let begun = ProcessorTime.ofThread
        let batches = self.state.withLock { state in
            defer { state.counts.digestSeconds += ProcessorTime.ofThread - begun }
            return state.observers.map { observer in
                let samples = observer.samples(now: now)
                for sample in samples where sample.load != nil {
                    state.counts.sampleAges.observe(now - sample.takenAt)
                }
                return SampleBatch(
                    cluster: configuration.cluster,
                    region: configuration.region,
                    pool: observer.pool,
                    samples: samples
                )
            }
        }
        self.batches.send(batches)
    }

    /// A page was read, in so much processor time.
    func read(in seconds: Seconds) {
        self.state.withLock { $0.counts.parseSeconds += seconds }
    }

    private func isSignificant(_ state: inout State, now: Seconds) -> Bool {
        guard now - max(state.lastSentAt, state.lastComparedAt) >= Self.shortestInterval else { return false }
        state.lastComparedAt = now
        return state.observers.map { $0.digest(now: now) }.contains { digest in
            digest.isSignificant(after: state.lastSent.first { $0.pool == digest.pool })
        }
    }
}

// MARK: Gossip

extension Agent: MeshAgentOwner {
    /// This agent's end of the gossip; `nil` until a hub has given an incarnation.
    var mesh: MeshAgent? { self.meshEnd.withLock { $0 } }

    /// Where other agents reach this one, once it listens.
    func listens(at bound: EndpointAddress) {
        let address = self.configuration.address(boundTo: bound)
        self.state.withLock { $0.address = address }
    }

    /// Begins an incarnation, or ends one.
    ///
    /// - Throws: ``SealFault`` for a key that is none.
    func begin(_ registration: AgentRegistration) throws(SealFault) -> MeshAgent {
        let configuration = self.configuration
        var settings = GossipSettings()
        settings.interval = configuration.interval
        // A hub that is alone is reached when it answers: relays would bring it every frame twice.
        settings.reachWanted = min(settings.reachWanted, configuration.hubs.count)
        let mesh = try MeshAgent(
            cluster: configuration.cluster,
            region: configuration.region,
            registration: registration,
            settings: settings,
            transport: self.streams,
            owner: self,
            now: { self.clock.now }
        )
        self.streams.introduce(
            Introduction(
                .agent(AgentID(registration.agent)),
                name: configuration.agent.text,
                region: configuration.region,
                cluster: configuration.cluster,
                proof: mesh.proof
            )
        )
        self.state.withLock { $0.counts.registrations += 1 }
        self.meshEnd.withLock { $0 = mesh }
        return mesh
    }

    func payload(of frame: FrameID) -> [UInt8]? {
        let now = self.clock.now
        let begun = ProcessorTime.ofThread
        let configuration = self.configuration
        let (digests, address) = self.state.withLock { state -> ([PoolDigest], String) in
            defer { state.counts.digestSeconds += ProcessorTime.ofThread - begun }
            let digests = state.observers.map { $0.digest(now: now) }
            state.lastSent = digests
            state.lastSentAt = now
            return (digests, state.address)
        }
        var message = Isobar_V1_Frame(
            DigestFrame(
                id: frame,
                region: configuration.region,
                agent: configuration.agent,
                interval: configuration.interval,
                digests: digests
            )
        )
        message.address = address
        do {
            return try message.serializedBytes()
        } catch {
            self.logger.error("digest not sent", metadata: ["frame": "\(frame)", "reason": "\(error)"])
            return nil
        }
    }

    func published(_ frame: FrameID) {
        self.logger.debug("digest sent", metadata: ["frame": "\(frame)"])
    }

    func acknowledged(_ frame: FrameID, by hub: HubID, through: Peer) {
        let now = self.clock.now
        self.state.withLock { $0.acceptedAt = now }
        self.logger.debug(
            "digest accepted",
            metadata: ["frame": "\(frame)", "hub": "\(hub)", "through": "\(through)"]
        )
    }
}
