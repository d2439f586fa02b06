import FleetModel
import Leadership
import Logging
import Observability
import PlanStream
import RequestRouting
import ReverseProxy
import Synchronization
import WireProtocol
import WireTransport

/// The gateway's state behind one lock: every verb is short, synchronous and calls nobody.
final class Gateway: Sendable {
    struct State {
        var router: Router
        var meter: DemandMeter
        var fence: PlanFence
        var dice = SystemRandomNumberGenerator()
        /// The open pick of each request in flight.
        var picks: [UInt64: Pick] = [:]
        var counts = GatewayCounts()
        /// Until then it is not ready for want of an agent's word.
        let waitsForAgentsUntil: Seconds
        /// Whether an agent has been heard since the start.
        var hasSamples = false
    }

    /// How long a gateway that has just started is not ready for want of an agent's word, in seconds.
    static let agentPatience: Seconds = 5

    /// Where peers ask whether this gateway is there; its answer time is the round trip.
    static let pingPath = "/.isobar/ping"
    /// The cluster that a gateway chose: to a peer on the way up, to a curious client on the way down.
    static let clusterHeader = "x-isobar-cluster"
    /// A client sets it to 1 to be told where its request went.
    static let explainHeader = "x-isobar-explain"
    /// Requests with the same value begin with the same text, and are kept together while it is cached.
    static let sessionHeader = "x-isobar-session"
    /// About how many bytes of a request's body make a token of its prompt.
    static let bytesPerToken = 4
    static let objectiveHeaders = ["x-llm-d-inference-objective", "x-gateway-inference-objective"]

    let configuration: GatewayConfiguration
    let clock: MonotonicClock
    let links: LinkCredentials?
    let logger: Logger
    /// Plans to be written to disk.
    let accepted = NewestWins<EncodedPlan>()
    /// Reports to the hub.
    let reports = NewestWins<DemandReport>()
    private let state: Mutex<State>

    init(
        configuration: GatewayConfiguration,
        plan: Plan?,
        clock: MonotonicClock,
        links: LinkCredentials? = nil,
        logger: Logger
    ) {
        self.configuration = configuration
        self.clock = clock
        self.links = links
        self.logger = logger
        var router = Router(
            region: configuration.region,
            peers: configuration.peers,
            policy: configuration.policy
        )
        if let plan { router.adopt(plan, confirmed: false, now: clock.now) }
        self.state = Mutex(
            State(
                router: router,
                meter: DemandMeter(start: clock.now),
                fence: PlanFence(held: plan?.version),
                waitsForAgentsUntil: plan == nil ? clock.now + Self.agentPatience : clock.now
            )
        )
    }

    func withState<Value: Sendable>(_ body: (inout sending State) -> sending Value) -> Value {
        self.state.withLock(body)
    }

    /// Takes what a probe of a peer found.
    func probed(_ region: RegionName, _ address: EndpointAddress, roundTrip: Seconds?) {
        let now = self.clock.now
        self.state.withLock { $0.router.probed(region, address, roundTrip: roundTrip, now: now) }
    }

    func observe(_ batch: SampleBatch) {
        self.state.withLock { state in
            state.router.observe(batch)
            state.hasSamples = true
        }
    }

    /// What the hub is to know.
    func report() -> DemandReport {
        let now = self.clock.now
        return self.state.withLock { state in
            DemandReport(
                gateway: self.configuration.gateway,
                region: self.configuration.region,
                demand: state.meter.rates(now: now),
                roundTrips: state.router.measuredRoundTrips,
                unreachable: Set(state.router.unreachable(now: now))
            )
        }
    }
}

// MARK: Plans

extension Gateway: PlanReceiver {
    var held: PlanVersion? { self.state.withLock { $0.fence.held } }

    func receive(_ plan: Plan, encoded: EncodedPlan) -> String? {
        let now = self.clock.now
        let verdict = self.state.withLock { state in
            let verdict = state.fence.admit(plan.version)
            switch verdict {
            case .newer: state.router.adopt(plan, now: now)
            case .same: state.router.confirm(now: now)
            case .past: state.counts.plansRefused += 1
            }
            return verdict
        }
        switch verdict {
        case .newer:
            self.accepted.send(encoded)
            self.logger.debug("plan adopted", metadata: ["plan": "\(plan.version)"])
            return nil
        case .same:
            return nil
        case .past(let held):
            self.logger.warning("plan refused", metadata: ["plan": "\(plan.version)", "held": "\(held)"])
            return "older than \(held), which this gateway holds"
        }
    }

    func heartbeat() {
        let now = self.clock.now
        self.state.withLock { $0.router.confirm(now: now) }
    }

    func lost(hub: EndpointAddress, reason: String, retryIn: Seconds) {
        self.logger.warning("hub stream lost", metadata: ["hub": "\(hub)", "reason": "\(reason)"])
    }
}

// MARK: Requests

extension Gateway: ProxyDirector {
    func direct(_ request: ProxiedRequest, failed: [ProxyTarget]) -> ProxyDecision {
        if request.uri == Self.pingPath { return .answer(ProxyAnswer(status: 204)) }
        guard let pool = self.configuration.pools.first(where: { $0.contains(request.uri) }) else {
            return .answer(
                .error(
                    status: 404,
                    code: "no_pool",
                    message: "no pool has this path; known: "
                        + self.configuration.pools.map(\.path).joined(separator: ", ")
                )
            )
        }
        let asked = request[header: Self.clusterHeader].flatMap { try? ClusterName($0) }
        let pick = PickRequest(
            pool: pool.name,
            band: Self.band(of: request),
            isHop: request.hops > 0,
            cluster: request.hops > 0 ? asked : nil,
            failed: failed.map(\.address),
            promptTokens: (request[header: "content-length"].flatMap { Int($0) } ?? 0) / Self.bytesPerToken,
            session: request[header: Self.sessionHeader].map(Self.session)
        )
        let now = self.clock.now
        let chosen = self.state.withLock { state -> Result<(Pick, PlanVersion?), PickRefusal> in
            if failed.isEmpty, !pick.isHop { state.meter.arrived(pool: pick.pool, band: pick.band, now: now) }
            do throws(PickRefusal) {
                let chosen = try state.router.pick(pick, now: now, using: &state.dice)
                state.picks[request.id] = chosen
                state.counts.picked(chosen)
                return .success((chosen, state.fence.held))
            } catch {
                state.counts.refused(error)
                return .failure(error)
            }
        }
        switch chosen {
        case .success(let (chosen, version)):
            return self.forward(request, of: pool, chosen, version)
        case .failure(let refusal):
            return .answer(
                .error(
                    status: 503,
                    code: refusal.rawValue,
                    message: "no endpoint of pool \(pool.name) can take a request; see the gateway's /v1/status",
                    headers: [ProxyHeader("retry-after", "1")]
                )
            )
        }
    }

    private func forward(
        _ request: ProxiedRequest,
        of pool: GatewayConfiguration.Pool,
        _ pick: Pick,
        _ version: PlanVersion?
    ) -> ProxyDecision {
        var down: [ProxyHeader] = []
        if request[header: Self.explainHeader] == "1" {
            // A peer says itself which of its clusters took the request.
            if !pick.isRemote {
                down.append(ProxyHeader(Self.clusterHeader, pick.cluster.text))
                down.append(ProxyHeader("x-isobar-endpoint", pick.target.description))
            }
            if pick.reason != .hop {
                down.append(ProxyHeader("x-isobar-reason", pick.reason.rawValue))
                if let version { down.append(ProxyHeader("x-isobar-plan", version.description)) }
            }
        }
        return .forward(
            ProxyTarget(address: pick.target),
            // A peer finds the pool by the path, as this gateway did; a model server does not know it.
            uri: pick.isRemote ? nil : pool.inside(request.uri),
            requestHeaders: pick.isRemote ? [ProxyHeader(Self.clusterHeader, pick.cluster.text)] : [],
            responseHeaders: down
        )
    }

    /// The objective's name is the band's until objectives are resources of their own.
    private static func band(of request: ProxiedRequest) -> Band {
        Self.objectiveHeaders.lazy.compactMap { request[header: $0] }.first.flatMap(Band.init(rawValue:)) ?? .standard
    }

    /// A number for a session's name: FNV-1a.
    private static func session(_ name: String) -> UInt64 {
        name.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
    }

    func observe(_ outcome: ProxyOutcome) {
        let now = self.clock.now
        self.state.withLock { state in
            guard let pick = state.picks[outcome.request] else { return }
            state.counts.observed(outcome.event, of: pick)
            if case .firstByte = outcome.event { state.router.began(pick) }
            guard outcome.event.isTerminal else { return }
            state.picks[outcome.request] = nil
            switch outcome.event {
            case .completed: state.router.finished(pick, .answered, now: now)
            case .failed, .cut: state.router.finished(pick, .failed, now: now)
            case .sent, .firstByte, .cancelled: state.router.finished(pick, .cancelled, now: now)
            }
        }
        if case .failed(let failure, _) = outcome.event {
            self.logger.info(
                "try failed",
                metadata: ["target": "\(outcome.target)", "reason": "\(failure)", "try": "\(outcome.number)"]
            )
        }
    }
}
