import FleetModel
import Leadership
import RequestRouting
import TestKit

/// One gateway: the router and the meter of the real one, and what only baselines need.
struct SimulatedGateway {
    /// How often it reports demand and probes its peers, in seconds.
    static let period: Seconds = 0.5

    let name: GatewayName
    let region: Int
    let address: EndpointAddress
    var router: Router
    var meter: DemandMeter
    var fence = PlanFence()
    var dice: SeededGenerator
    var isUp = true
    /// Requests sent and not answered, by cluster.
    var inFlight: [Int]
    /// Probes without an answer in a row, by region.
    var silence: [Int]
    /// What a baseline knows.
    var view = BaselineView()

    init(
        name: GatewayName,
        region: Int,
        address: EndpointAddress,
        router: Router,
        clusters: Int,
        regions: Int,
        seed: UInt64
    ) {
        self.name = name
        self.region = region
        self.address = address
        self.router = router
        self.meter = DemandMeter(start: 0)
        self.dice = SeededGenerator(seed: seed)
        self.inFlight = Array(repeating: 0, count: clusters)
        self.silence = Array(repeating: 0, count: regions)
    }

    /// Whether the last probes of a region were answered.
    func reaches(_ region: Int) -> Bool { self.silence[region] < 2 }
}
