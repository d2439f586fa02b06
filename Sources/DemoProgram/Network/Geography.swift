import FleetModel

/// One kind of model server of the demo.
struct DemoEngine: Hashable, Sendable {
    /// A profile of `isobar engine`: model and GPU.
    var profile: String
    /// The most requests in its running batch.
    var seats: Int
}

/// One region of the demo: one cluster with its engines, an agent and a gateway.
struct DemoRegion: Hashable, Sendable {
    var name: RegionName
    /// Its part of all requests.
    var demand: Double
    var engines: [DemoEngine]

    /// The seats an agent is told for its pool, which takes one number: the mean of its engines.
    var meanSeats: Int { self.engines.map(\.seats).reduce(0, +) / max(1, self.engines.count) }
    var cluster: ClusterName { ClusterName(unchecked: "\(self.name.text)-a") }
    var gateway: GatewayName { GatewayName(unchecked: "\(self.name.text)-gw") }
    var agent: AgentName { AgentName(unchecked: "\(self.cluster.text)-0") }
}

/// An unordered pair of regions.
struct RegionPair: Hashable, Sendable {
    private let first: RegionName
    private let second: RegionName

    init(_ one: RegionName, _ other: RegionName) {
        self.first = min(one, other)
        self.second = max(one, other)
    }
}

/// The regions of the demo and the round-trip times between them.
///
/// Capacity at the lengths of Azure's conversation trace (1,155 prompt and 211 output tokens): a request costs
/// `211 · step / seats` of decoding and one prefill. Generated tokens per second over 211, measured with every engine
/// saturated (`isobar demo --policy nearest --rate 20`), agree within 7 %: 2.1, 1.3, 2.0, 1.1, 3.4 and 1.2.
///
/// | region      | engine                    | requests/s | region's |
/// |-------------|---------------------------|------------|----------|
/// | us-east     | 8b-l40s, 16 seats         | 2.1        |          |
/// |             | 8b-l40s, 8 seats          | 1.3        | 3.4      |
/// | europe-west | 8b-l40s, 16 seats         | 2.1        |          |
/// |             | 70b-a100-tp4, 8 seats     | 1.1        | 3.2      |
/// | asia-east   | 70b-h100-tp4, 16 seats    | 3.3        |          |
/// |             | 8b-l40s, 8 seats          | 1.3        | 4.6      |
///
/// Together 11.1 requests/s, so the default rate of 6.5 is 59 % of it: 2.6 in us-east (77 % of its own), 2.3 in
/// europe-west (71 %) and 1.6 in asia-east (35 %). Any one region can be lost: 6.5 to 7.9 requests/s remain.
struct Geography: Sendable {
    static let defaultRate = 6.5
    /// The model that every engine serves.
    static let model = "llama"
    /// Prompt and answer of one request together, in tokens: what the smallest KV cache of the engines surely holds.
    static let longestRequest = 131_072
    /// Where the hub is on the network.
    ///
    /// It outlives the loss of the region: it stands for a hub whose replicas are in several.
    static let hubRegion = RegionName(unchecked: "us-east")

    var regions: [DemoRegion]
    private var roundTrips: [RegionPair: Seconds]

    static let standard = Geography(
        regions: [
            DemoRegion(
                name: RegionName(unchecked: "us-east"),
                demand: 0.40,
                engines: [DemoEngine(profile: "8b-l40s", seats: 16), DemoEngine(profile: "8b-l40s", seats: 8)]
            ),
            DemoRegion(
                name: RegionName(unchecked: "europe-west"),
                demand: 0.35,
                engines: [DemoEngine(profile: "8b-l40s", seats: 16), DemoEngine(profile: "70b-a100-tp4", seats: 8)]
            ),
            DemoRegion(
                name: RegionName(unchecked: "asia-east"),
                demand: 0.25,
                engines: [DemoEngine(profile: "70b-h100-tp4", seats: 16), DemoEngine(profile: "8b-l40s", seats: 8)]
            ),
        ],
        roundTrips: [
            RegionPair(RegionName(unchecked: "us-east"), RegionName(unchecked: "europe-west")): 0.083,
            RegionPair(RegionName(unchecked: "us-east"), RegionName(unchecked: "asia-east")): 0.162,
            RegionPair(RegionName(unchecked: "europe-west"), RegionName(unchecked: "asia-east")): 0.233,
        ]
    )

    init(regions: [DemoRegion], roundTrips: [RegionPair: Seconds]) {
        self.regions = regions
        self.roundTrips = roundTrips
    }

    /// The time from one region to another and back, in seconds; 0 inside a region, whose loopback is not slowed.
    func roundTrip(_ one: RegionName, _ other: RegionName) -> Seconds {
        one == other ? 0 : self.roundTrips[RegionPair(one, other)] ?? 0
    }

    mutating func setRoundTrip(_ pair: RegionPair, _ seconds: Seconds) { self.roundTrips[pair] = seconds }

    /// All regions as seen from one of them, itself first, then by distance.
    func byDistance(from region: RegionName) -> [RegionName] {
        self.regions.map(\.name).sorted {
            (self.roundTrip(region, $0), $0.text) < (self.roundTrip(region, $1), $1.text)
        }
    }

    subscript(region: RegionName) -> DemoRegion? { self.regions.first { $0.name == region } }

    /// The region in which a cluster stands.
    func region(of cluster: String) -> RegionName? { self.regions.first { $0.cluster.text == cluster }?.name }
}
