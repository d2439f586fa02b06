import FleetModel
import Foundation
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
        /// The plan in use as it came, on which deltas stand.
        var held: EncodedPlan?
        var dice = QuickDice(seed: .random(in: 0...UInt64.max))
        /// Every request from its head to its end.
        var open: [UInt64: OpenRequest] = [:]
        var admission: Admission
        var budget: RetryBudget
        /// For the pools that allow it.
        var hedges: [PoolName: HedgeMeter]
        /// Requests that wait in the proxy, and are to be told that something is new for them.
        var woken: [UInt64] = []
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
    static let objectiveHeaders = ["x-llm-d-inference-objective", "x-gateway-inference-objective"]
    /// Whose request it is: tenants share the queue fairly.
    static let fairnessHeaders = ["x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id"]
    static let defaultFlow = "default-flow"
    /// The model that the client asked for, told to whoever is next.
    static let modelHeader = "x-gateway-model-name"
    static let droppedHeader = "x-llm-d-request-dropped-reason"

    let configuration: GatewayConfiguration
    let clock: MonotonicClock
    let links: LinkCredentials?
    /// How the model servers of pools with TLS are checked.
    let trusts: [PoolName: UpstreamTrust]
    let logger: Logger
    /// Plans to be written to disk.
    let accepted = NewestWins<EncodedPlan>()
    /// Reports to the hub.
    let reports = NewestWins<DemandReport>()
    let waker = ProxyWaker()
    let accessLog: AccessLog?
    private let state: Mutex<State>
    /// Held while a plan is taken: what is written of plans is in the order in which they came into use, also when two
    /// hubs send theirs at once.
    private let taking = Mutex(())

    init(
        configuration: GatewayConfiguration,
        plan: (plan: Plan, encoded: EncodedPlan)?,
        clock: MonotonicClock,
        links: LinkCredentials? = nil,
        trusts: [PoolName: UpstreamTrust] = [:],
        logger: Logger,
        accessLog: AccessLog? = nil
    ) {
        self.accessLog = accessLog
        self.configuration = configuration
        self.clock = clock
        self.links = links
        self.trusts = trusts
        self.logger = logger
        var router = Router(
            region: configuration.region,
            peers: configuration.peers,
            policy: configuration.policy
        )
        if let plan { router.adopt(plan.plan, confirmed: false, now: clock.now) }
        self.state = Mutex(
            State(
                router: router,
                meter: DemandMeter(start: clock.now),
                fence: PlanFence(held: plan?.encoded.version),
                held: plan?.encoded,
                admission: Admission(settings: configuration.admission),
                budget: RetryBudget(share: configuration.retryShare),
                hedges: Dictionary(
                    configuration.pools.compactMap { pool in
                        pool.hedge.map { (pool.name, HedgeMeter(percentile: $0.percentile, share: $0.share)) }
                    },
                    uniquingKeysWith: { first, _ in first }
                ),
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
        self.news { $0.router.probed(region, address, roundTrip: roundTrip, now: now) }
    }

    func observe(_ batch: SampleBatch) {
        let now = self.clock.now
        self.news { state in
            state.router.observe(batch, now: now)
            state.hasSamples = true
        }
    }

    /// Takes what may make room, and lets those go who waited for it.
    private func news(_ body: (inout State) -> Void) {
        let now = self.clock.now
        let woken = self.state.withLock { state in
            body(&state)
            state.release(now: now)
            return state.takeWoken()
        }
        self.waker.wake(woken)
    }

    /// What the hub is to know; asked for again and again, so that those who wait go on also when no other news comes.
    func report() -> DemandReport {
        self.news { _ in }
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
    var held: EncodedPlan? { self.state.withLock { $0.held } }

    func receive(_ plan: Plan, encoded: EncodedPlan) -> String? {
        self.taking.withLock { _ in self.take(plan, encoded) }
    }

    private func take(_ plan: Plan, _ encoded: EncodedPlan) -> String? {
        let now = self.clock.now
        let (verdict, woken) = self.state.withLock { state in
            var verdict = state.fence.admit(plan.version)
            // The same plan, as this gateway needs it now: its file may be from when it had other pools.
            if verdict == .same, encoded.hash != state.held?.hash { verdict = .newer }
            switch verdict {
            case .newer:
                state.router.adopt(plan, now: now)
                state.held = encoded
            case .same: state.router.confirm(now: now)
            case .past: state.counts.plansRefused += 1
            }
            state.release(now: now)
            return (verdict, state.takeWoken())
        }
        self.waker.wake(woken)
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

    func unfit(_ reason: String) {
        self.state.withLock { $0.counts.deltasUnfit += 1 }
        self.logger.info("plan delta not used", metadata: ["reason": "\(reason)"])
    }

    func heartbeat() {
        let now = self.clock.now
        self.state.withLock { $0.router.confirm(now: now) }
    }

    func lost(hub: EndpointAddress, reason: String) {
        self.logger.warning("hub stream lost", metadata: ["hub": "\(hub)", "reason": "\(reason)"])
    }
}
