import ConfigurationFiles
import EngineSignals
import FleetModel

/// What `agent.yaml` says.
struct AgentConfiguration: Sendable {
    struct Pool: Sendable {
        var name: PoolName
        /// Which names its metrics have; found out from the first page when not given.
        var engine: EngineKind?
        var endpoints: [EndpointAddress]
        /// The endpoints' `--max-num-seqs`, when the operator knows it.
        var maxNumSeqs: Int?
    }

    var cluster: ClusterName
    var region: RegionName
    var agent: AgentName
    /// Where the gateways of the region get samples (gRPC).
    var listen: EndpointAddress
    var admin: EndpointAddress?
    var hubs: [EndpointAddress]
    /// How often a frame is sent when nothing happens, in seconds.
    var interval: Seconds
    /// How often an endpoint is read.
    var pace: ScrapePace
    var pools: [Pool]

    init(file: String) throws(ConfigurationError) {
        var fields = try YAMLFields(file: file)
        self.cluster = try fields.required("cluster") { try ClusterName($0) }
        self.region = try fields.required("region") { try RegionName($0) }
        self.agent = try fields.required("agent") { try AgentName($0) }
        self.listen = try fields.required("listen") { try EndpointAddress(listening: $0) }
        self.admin = try fields.optional("admin") { try EndpointAddress(listening: $0) }
        self.hubs = try fields.list("hub") { try EndpointAddress($0) }
        self.interval = try fields.seconds("interval", in: 0.1...60, default: 1)
        let usual = try fields.seconds("scrapeInterval", in: 0.05...5, default: 0.2)
        self.pace = ScrapePace(
            usual: usual,
            busy: try fields.seconds("scrapeIntervalBusy", in: 0.05...usual, default: min(usual, 0.1)),
            idle: try fields.seconds("scrapeIntervalIdle", in: usual...5, default: max(usual, 0.5))
        )
        self.pools = try fields.mappings("pools") { (pool) throws(ConfigurationError) in
            Pool(
                name: try pool.required("name") { try PoolName($0) },
                engine: try pool.choice("engine", default: EngineChoice.auto).kind,
                endpoints: try pool.list("endpoints") { try EndpointAddress($0) },
                maxNumSeqs: try pool.integer("maxNumSeqs", in: 1...1_000_000, default: nil)
            )
        }
        guard !self.hubs.isEmpty else { throw fields.error("hub", "is empty; name the address of at least one hub") }
        guard !self.pools.isEmpty else { throw fields.error("pools", "is empty; name at least one pool") }
        var seen: [EndpointAddress: PoolName] = [:]
        for pool in self.pools {
            guard !pool.endpoints.isEmpty else {
                throw fields.error("pools", "\(pool.name) has no endpoints; name at least one host:port")
            }
            for endpoint in pool.endpoints {
                // Two pools on one server would each count its capacity as their own.
                if let other = seen.updateValue(pool.name, forKey: endpoint) {
                    throw fields.error("pools", "\(endpoint) stands in \(other) and in \(pool.name); keep it in one")
                }
            }
        }
        try fields.finish()
    }

    /// `engine:` in the file: a kind of engine, or `auto`.
    private enum EngineChoice: RawRepresentable, CaseIterable {
        case auto
        case kind(EngineKind)

        static var allCases: [EngineChoice] { [.auto] + EngineKind.allCases.map { .kind($0) } }

        init?(rawValue: String) {
            guard rawValue != "auto" else { self = .auto; return }
            guard let kind = EngineKind(rawValue: rawValue) else { return nil }
            self = .kind(kind)
        }

        var rawValue: String { self.kind?.rawValue ?? "auto" }

        var kind: EngineKind? {
            if case .kind(let kind) = self { return kind }
            return nil
        }
    }
}
