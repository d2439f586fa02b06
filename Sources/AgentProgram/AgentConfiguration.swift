import ConfigurationFiles
import EngineSignals
import FleetModel
import ProgramShell

/// What `agent.yaml` says.
struct AgentConfiguration: Sendable {
    struct Pool: Sendable {
        var name: PoolName
        /// What all its endpoints are, when the file says it.
        var engine: MetricsProfile?
        var endpoints: [EndpointAddress]
        /// What some of its endpoints are, by their labels.
        var labelled: [EndpointAddress: MetricsProfile]
        /// The endpoints' `--max-num-seqs`, when the operator knows it.
        var maxNumSeqs: Int?
    }

    var cluster: ClusterName
    var region: RegionName
    var agent: AgentName
    /// Where the gateways of the region get samples (gRPC).
    var listen: EndpointAddress
    /// Where other agents reach this one, to have frames passed on.
    var advertise: EndpointAddress?
    var admin: EndpointAddress?
    /// Mutual TLS on every gRPC link; plain text, on loopback only, when missing.
    var tls: LinkConfiguration?
    var hubs: [EndpointAddress]
    /// How often a frame is sent when nothing happens, in seconds.
    var interval: Seconds
    /// How often an endpoint is read.
    var pace: ScrapePace
    /// Engines that are not built in.
    var engines: [MetricsProfile]
    var pools: [Pool]

    init(file: String) throws(ConfigurationError) {
        var fields = try YAMLFields(file: file)
        self.cluster = try fields.required("cluster") { try ClusterName($0) }
        self.region = try fields.required("region") { try RegionName($0) }
        self.agent = try fields.required("agent") { try AgentName($0) }
        self.listen = try fields.required("listen") { try EndpointAddress(listening: $0) }
        self.advertise = try fields.optional("advertise") { try EndpointAddress($0) }
        self.admin = try fields.optional("admin") { try EndpointAddress(listening: $0) }
        self.tls = try fields.mapping("tls") { (tls) throws(ConfigurationError) in try LinkConfiguration(&tls) }
        self.hubs = try fields.list("hub") { try EndpointAddress($0) }
        self.interval = try fields.seconds("interval", in: 0.1...60, default: 1)
        let usual = try fields.seconds("scrapeInterval", in: 0.05...5, default: 0.2)
        self.pace = ScrapePace(
            usual: usual,
            busy: try fields.seconds("scrapeIntervalBusy", in: 0.05...usual, default: min(usual, 0.1)),
            idle: try fields.seconds("scrapeIntervalIdle", in: usual...5, default: max(usual, 0.5))
        )
        let engines = try fields.mappings("engines") { (engine) throws(ConfigurationError) in
            try MetricsProfile(fields: &engine)
        }
        self.engines = engines
        if Set(engines.map(\.name)).count < engines.count {
            throw fields.error("engines", "has a name twice; give each engine its own")
        }
        self.pools = try fields.mappings("pools") { (pool) throws(ConfigurationError) in
            try Pool(&pool, engines: engines)
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
}

extension AgentConfiguration {
    /// Where other agents reach this one; empty when the file names only a wildcard, which is no address.
    func address(boundTo bound: EndpointAddress) -> String {
        if let advertise { return advertise.description }
        return ["0.0.0.0", "::"].contains(bound.host) ? "" : bound.description
    }
}

extension AgentConfiguration.Pool {
    /// Endpoints that are read alike, and the profiles to read them by.
    struct Group {
        var profiles: [MetricsProfile]
        var endpoints: [EndpointAddress]
    }

    init(_ fields: inout YAMLFields, engines: [MetricsProfile]) throws(ConfigurationError) {
        self.name = try fields.required("name") { try PoolName($0) }
        self.engine = try fields.optional("engine") { try Self.engine($0, among: engines) } ?? nil
        let endpoints = try fields.list("endpoints") {
            (address: try EndpointAddress($0), labels: [String: String]())
        } orMapping: { (endpoint) throws(ConfigurationError) in
            let address = try endpoint.required("address") { try EndpointAddress($0) }
            return (address: address, labels: try endpoint.texts("labels"))
        }
        self.endpoints = endpoints.map(\.address)
        self.labelled = [:]
        for endpoint in endpoints {
            self.labelled[endpoint.address] = MetricsProfile.chosen(
                byLabels: endpoint.labels,
                among: engines + MetricsProfile.builtIn
            )
        }
        self.maxNumSeqs = try fields.integer("maxNumSeqs", in: 1...1_000_000, default: nil)
    }

    /// The endpoints by what tells their engine: the file, else their labels, else each page, by the file's own
    /// engines first.
    func groups(engines: [MetricsProfile]) -> [Group] {
        let detected = engines + MetricsProfile.builtIn
        var groups: [Group] = []
        for endpoint in self.endpoints {
            let profiles = (self.engine ?? self.labelled[endpoint]).map { [$0] } ?? detected
            if let place = groups.firstIndex(where: { $0.profiles == profiles }) {
                groups[place].endpoints.append(endpoint)
            } else {
                groups.append(Group(profiles: profiles, endpoints: [endpoint]))
            }
        }
        return groups
    }

    /// `engine:` in the file; `nil` for `auto`.
    private static func engine(_ name: String, among own: [MetricsProfile]) throws -> MetricsProfile? {
        if name == "auto" { return nil }
        guard let profile = (own + MetricsProfile.builtIn).first(where: { $0.name == name }) else {
            throw UnknownEngine(name: name, known: MetricsProfile.names(with: own))
        }
        return profile
    }

    private struct UnknownEngine: Error, CustomStringConvertible {
        let name: String
        let known: [String]

        var description: String { "\"\(self.name)\" is not valid: use \(self.known.joined(separator: ", "))" }
    }
}
