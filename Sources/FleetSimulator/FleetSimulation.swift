import EngineModel
import EngineSignals
package import FleetModel
import FleetPlanning
import GossipCore
import Leadership
import RequestRouting
import TestKit

/// What is asked of one run.
package struct SimulationSettings: Sendable {
    package var policy: SimulationPolicy
    /// Requests per second over all regions, bursts apart.
    package var rate: Double
    /// How long the run goes on before requests count, in seconds: agents and hub begin knowing nothing.
    package var warmup: Seconds
    /// How long requests are sent after that; infinite for a run that is stopped from outside.
    package var duration: Seconds
    package var events: [TimedEvent]
    package var arrivals: ArrivalProcess
    package var seed: UInt64

    package init(
        policy: SimulationPolicy,
        rate: Double,
        warmup: Seconds = 60,
        duration: Seconds = .infinity,
        events: [TimedEvent] = [],
        arrivals: ArrivalProcess = .poisson,
        seed: UInt64
    ) {
        self.policy = policy
        self.rate = rate
        self.warmup = warmup
        self.duration = duration
        self.events = events
        self.arrivals = arrivals
        self.seed = seed
    }
}

/// A fleet in virtual time: a discrete-event world that runs the thinking rooms as they are.
///
/// Engines are ``EngineMachine``s; agents read them into `PoolObserver`s and send frames, which take time and may be
/// lost, to the hub's `HubMind`; its plans go to the gateways, whose `Router`s choose for each request. A request for
/// another region goes through a gateway there, as it does on a real fleet. Nothing in here decides anything that a
/// fleet decides, but for the baselines.
///
/// The same settings, world and requests give the same records, bit by bit: events of one instant happen in the order
/// in which they were planned, and every purpose has dice of its own.
///
/// Times that the world adds: half a round trip each way between regions; a tenth of a second at least between two
/// plans; ``noticeDelay`` until a gateway takes silence for death.
package struct FleetSimulation: Sendable {
    enum Event: Sendable {
        case arrival
        case dispatch(flight: Int, life: Int)
        case hop(flight: Int, life: Int)
        case failed(flight: Int, life: Int)
        case answered(flight: Int)
        case engine(Int, life: Int)
        case scrape(cluster: Int)
        case gateway(Int)
        case tick
        case planNow
        case mail(Int)
        case happening(Int)
        case engineDown(Int, pause: Seconds)
        case engineUp(Int)
    }

    /// A message under way.
    enum Mail: Sendable {
        case frame(DigestFrame)
        case report(DemandReport)
        case plan(Plan, gateway: Int)
        case view(BaselineView, gateway: Int)
    }

    /// One request under way.
    struct Flight: Sendable {
        var arrival: Arrival
        /// Seconds there and back between the client's region and its gateway's.
        var clientTrip: Seconds = 0
        var gateway = 0
        var cluster: Int?
        var engine: Int?
        var pick: Pick?
        /// The gateway of the other region, and its choice.
        var peer: Int?
        var peerPick: Pick?
        var failedAddresses: [EndpointAddress] = []
        var failedClusters: [Int] = []
        var tries = 0
        /// Changes whenever the request is sent anew, so that news of the try before is known as such.
        var life = 0
        var isAtEngine = false
        var firstTokenAt: Seconds?
        var ttft: Seconds?
        /// Parts of the time to first token, as in ``RequestRecord``.
        var distance: Seconds = 0
        var prefill: Seconds = 0
        /// Under way: neither answered nor given up.
        var isPending = true
        /// Its gateway has not ended it yet.
        var isOpen = true
    }

    /// How long a gateway waits for an answer to a connection attempt before it gives up; the proxy's own limit.
    static let noticeDelay: Seconds = 1
    /// Tries of one request, the first included; the proxy's own limit.
    static let maxTries = 3
    static let tick: Seconds = 1
    static let shortestPause: Seconds = 0.1

    package let world: FleetWorld
    package let settings: SimulationSettings
    let pool = PoolName(namespace: "default", name: "chat")
    package internal(set) var now: Seconds = 0

    var queue = EventQueue<Event>()
    var mails: [Mail?] = []
    var freeMails: [Int] = []
    var flights: [Flight] = []
    var freeFlights: [Int] = []
    var openFlights = 0
    var nextArrival: Arrival?

    var traffic: FleetTraffic
    var engines: [SimulatedEngine] = []
    var engineAt: [EndpointAddress: Int] = [:]
    var clusters: [SimulatedCluster] = []
    var clusterNamed: [ClusterName: Int] = [:]
    var gateways: [SimulatedGateway] = []
    var gatewayAt: [EndpointAddress: Int] = [:]
    var gatewaysOf: [[Int]] = []
    var turns: [Int] = []
    var mind: HubMind
    var chain = PlanChain(epoch: 1, head: nil)
    var lastPlan: Plan?
    var lastPlanAt: Seconds = -.infinity
    var isPlanWanted = false
    var isHubUp = true
    var digestDelay: Seconds = 0
    var digestLoss = 0.0
    var dice: SeededGenerator
    /// Requests per second that one engine of each cluster truly finishes: for the clairvoyant only.
    let trueCapacity: [Double]

    package internal(set) var records: [RequestRecord] = []
    var churn = (sum: 0.0, rows: 0)
    var retries = 0
    /// The prefix caches' counts when the first request that counts was sent.
    var prefixAtStart: PrefixCount?
    /// Requests sent so far, all of them.
    package internal(set) var sent = 0

    /// A run that has not begun.
    ///
    /// `requests` are what clients ask, in turn, and not empty; `capacity` has the requests per second that one engine
    /// of each cluster truly finishes at these requests.
    package init(
        world: FleetWorld,
        requests: [TrafficRequest],
        capacity: [Double],
        settings: SimulationSettings
    ) {
        self.world = world
        self.settings = settings
        self.trueCapacity = capacity
        self.traffic = FleetTraffic(requests: requests, world: world, settings: settings)
        var seeds = SeededGenerator(seed: settings.seed ^ 0x6973_6f62_6172)
        self.dice = SeededGenerator(seed: seeds.next())
        self.mind = HubMind(policy: settings.policy.solverPolicy)
        self.makeClusters()
        self.makeGateways(seeds: &seeds)
        self.begin()
    }

    /// Whether every request that was to be sent has been answered or given up.
    package var isDone: Bool { self.nextArrival == nil && self.openFlights == 0 }

    /// When the last request is sent.
    package var end: Seconds { self.settings.warmup + self.settings.duration }

    /// Lives through everything up to and including `time`, or until ``isDone``.
    package mutating func advance(to time: Seconds) {
        while !self.isDone, let (event, at) = self.queue.next() {
            guard at <= time else {
                self.queue.add(event, at: at)
                break
            }
            self.now = max(self.now, at)
            self.handle(event)
        }
        if !self.isDone { self.now = max(self.now, time) }
    }

    /// Lets something happen now.
    ///
    /// - Throws: ``FleetEventError`` when it names what is not in the world.
    package mutating func happen(_ event: FleetEvent) throws(FleetEventError) {
        try self.world.check(event)
        self.apply(event)
    }

    /// What the measured part of the run came to.
    package var outcome: PolicyOutcome {
        let counted = self.records.filter { $0.at >= self.settings.warmup && $0.at <= self.end }
        var outcome = PolicyOutcome(records: counted, bands: self.world.bands)
        let prefix = self.prefixCount
        let start = self.prefixAtStart ?? prefix
        let queried = prefix.queried - start.queried
        outcome.prefixHitShare = queried > 0 ? Double(prefix.hit - start.hit) / Double(queried) : 0
        outcome.churn = self.churn.rows > 0 ? self.churn.sum / Double(self.churn.rows) : nil
        outcome.retries = self.retries
        outcome.capacityBelief = self.capacityBelief
        outcome.finishedAt = self.now
        return outcome
    }

    /// Tokens looked up and found in all prefix caches so far.
    var prefixCount: PrefixCount {
        self.engines.reduce(into: PrefixCount()) { sum, engine in
            let count = engine.prefixEver
            sum.queried += count.queried
            sum.hit += count.hit
        }
    }

    /// Believed over true capacity, of the clusters whose digest the hub holds.
    private var capacityBelief: Double? {
        var (believed, truth) = (0.0, 0.0)
        for view in self.mind.digests.views(now: self.now) {
            guard let place = self.clusterNamed[view.frame.id.cluster],
                let capacity = view.frame.digests.first?.capacity
            else { continue }
            believed += capacity
            truth += self.trueCapacity[place] * Double(self.clusters[place].engines.count)
        }
        return truth > 0 ? believed / truth : nil
    }
}

// MARK: - Making

extension FleetSimulation {
    private mutating func makeClusters() {
        for (place, cluster) in self.world.clusters.enumerated() {
            let first = self.engines.count
            for number in 0..<cluster.engines {
                let address = EndpointAddress(host: cluster.name.text, port: 8_000 + number)
                self.engineAt[address] = self.engines.count
                self.engines.append(SimulatedEngine(profile: cluster.profile, cluster: place, address: address))
            }
            self.clusterNamed[cluster.name] = place
            var made = SimulatedCluster(
                name: cluster.name,
                region: self.world.place(ofRegion: cluster.region),
                engines: first..<self.engines.count,
                observer: PoolObserver(
                    pool: self.pool,
                    endpoints: self.engines[first...].map(\.address),
                    settings: self.settings.policy.signalSettings(maxSequences: cluster.profile.maxSequences)
                )
            )
            made.heedsSaturation = self.settings.policy != .oursNoSaturation
            self.clusters.append(made)
        }
    }

    private mutating func makeGateways(seeds: inout SeededGenerator) {
        self.turns = Array(repeating: 0, count: self.world.regions.count)
        let addresses = self.world.regions.map { region in
            (0..<region.gateways).map { EndpointAddress(host: "gateway.\(region.name)", port: 9_000 + $0) }
        }
        for (place, region) in self.world.regions.enumerated() {
            var peers: [RegionName: [EndpointAddress]] = [:]
            for (other, peer) in self.world.regions.enumerated() where other != place {
                peers[peer.name] = addresses[other]
            }
            self.gatewaysOf.append([])
            for (number, address) in addresses[place].enumerated() {
                self.gatewayAt[address] = self.gateways.count
                self.gatewaysOf[place].append(self.gateways.count)
                self.gateways.append(
                    SimulatedGateway(
                        name: GatewayName(unchecked: "\(region.name)-\(number)"),
                        region: place,
                        address: address,
                        router: Router(
                            region: region.name,
                            peers: peers,
                            policy: self.settings.policy.routing,
                            settings: self.settings.policy.routingSettings
                        ),
                        clusters: self.world.clusters.count,
                        regions: self.world.regions.count,
                        seed: seeds.next()
                    )
                )
            }
        }
    }

    /// Plans what happens by itself; periodic things have a phase each, so that they never bunch up.
    private mutating func begin() {
        func phase(_ place: Int, of count: Int, period: Seconds) -> Seconds {
            period * Double(place) / Double(max(1, count))
        }
        for place in self.clusters.indices {
            let at = phase(place, of: self.clusters.count, period: SimulatedCluster.scrapePeriod)
            self.queue.add(.scrape(cluster: place), at: at)
        }
        for place in self.gateways.indices {
            self.queue.add(.gateway(place), at: phase(place, of: self.gateways.count, period: SimulatedGateway.period))
        }
        for (place, event) in self.settings.events.enumerated() { self.queue.add(.happening(place), at: event.at) }
        self.queue.add(.tick, at: 0.5)
        self.drawArrival()
    }

    mutating func drawArrival() {
        let arrival = self.traffic.next()
        self.nextArrival = arrival.at <= self.end ? arrival : nil
        if self.nextArrival != nil { self.queue.add(.arrival, at: arrival.at) }
    }

    // MARK: Mail

    mutating func send(_ mail: Mail, after delay: Seconds) {
        let slot: Int
        if let free = self.freeMails.popLast() {
            slot = free
            self.mails[slot] = mail
        } else {
            slot = self.mails.count
            self.mails.append(mail)
        }
        self.queue.add(.mail(slot), at: self.now + delay)
    }

    func roundTrip(_ a: Int, _ b: Int) -> Seconds { self.world.roundTrips[a][b] }
}
