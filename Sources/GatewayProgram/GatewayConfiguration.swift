import ConfigurationFiles
import FleetModel
import ProgramShell
import RequestRouting
import WireTransport

/// What `gateway.yaml` says.
struct GatewayConfiguration: Sendable {
    struct Pool: Sendable {
        var name: PoolName
        /// Requests under this path belong to the pool, and a model server sees what follows it.
        var path: String
        /// The objective of requests that name none.
        var objective: String?
        /// The base model; requests for others want an adapter of it.
        var model: String?
        var rewrite = ModelRewrite()
        /// Its model servers are called over TLS, and checked so; over plain text when `nil`.
        var endpointTLS: EndpointTLS?
        var endpointProtocol = HTTPVersion.http1
        /// Second tries beside a first; none when `nil`.
        var hedge: Hedge?

        /// Whether a request is under the path: `/qwen` has `/qwen` and `/qwen/v1`, not `/qwen2`.
        func contains(_ uri: String) -> Bool {
            let prefix = self.prefix
            guard uri.utf8.starts(with: prefix) else { return false }
            let next = uri.utf8.dropFirst(prefix.count).first
            return next == nil || next == UInt8(ascii: "/") || next == UInt8(ascii: "?")
        }

        /// What follows the path, beginning with a slash.
        func inside(_ uri: String) -> String {
            let prefix = self.prefix
            guard !prefix.isEmpty else { return uri }
            let rest = Substring(uri.utf8.dropFirst(prefix.count))
            return rest.utf8.first == UInt8(ascii: "/") ? String(rest) : "/" + rest
        }

        /// The path's bytes without a slash at the end.
        private var prefix: Substring.UTF8View {
            self.path.utf8.last == UInt8(ascii: "/") ? self.path.utf8.dropLast() : self.path.utf8[...]
        }
    }

    /// What the gateway speaks to whom it calls.
    enum HTTPVersion: String, Sendable, CaseIterable {
        case http1, http2
    }

    /// When requests of a pool may be executed twice.
    struct Hedge: Sendable, Hashable {
        /// Of the times to a first byte: a second try begins after it.
        var percentile: Double
        /// Second tries over requests.
        var share: Double
    }

    /// How the model servers of a pool are checked.
    struct EndpointTLS: Sendable, Hashable {
        /// A PEM file with the authorities that are trusted; those of the system when `nil`.
        var authority: String?
        /// The name in their certificates, when it is not the host that is called.
        var serverName: String?
    }

    /// An InferenceObjective: a name that requests give, and its priority.
    struct Objective: Sendable {
        var name: String
        /// The pool that it is for; every pool without one.
        var pool: PoolName?
        var priority: Int

        func serves(_ pool: PoolName) -> Bool { self.pool.map { $0 == pool } ?? true }
    }

    var gateway: GatewayName
    var region: RegionName
    /// Where clients connect (HTTP).
    var listen: EndpointAddress
    /// The certificate that clients see; plain text when `nil`.
    var listenTLS: ListenerFiles?
    /// Where the gateways of other regions connect, over mutual TLS.
    var listenPeers: EndpointAddress?
    var admin: EndpointAddress?
    /// Mutual TLS on every gRPC link and between gateways; plain text, on loopback only, when missing.
    var tls: LinkConfiguration?
    var hubs: [EndpointAddress]
    /// The agents of the region, whose samples decide between endpoints.
    var agents: [EndpointAddress]
    /// The gateways of other regions.
    var peers: [RegionName: [EndpointAddress]]
    /// Those of them that are called over HTTP/2.
    var streamingPeers: Set<EndpointAddress>
    /// Where the last good plan is kept.
    var planFile: String?
    var policy: RoutingPolicy
    /// Longest path first.
    var pools: [Pool]
    var objectives: [Objective]
    /// `stdout` or a file's path; no access log without it.
    var accessLog: String?
    var admission = AdmissionSettings()
    /// The longest body of a request, in bytes; the proxy's own when `nil`.
    var maxBodyBytes: Int?
    /// Tries after the first over requests.
    var retryShare = 0.2

    /// What it needs of a plan.
    var scope: PlanScope { PlanScope(region: self.region, pools: self.pools.map(\.name)) }

    init(file: String) throws(ConfigurationError) {
        var fields = try YAMLFields(file: file)
        self.gateway = try fields.required("gateway") { try GatewayName($0) }
        let region = try fields.required("region") { try RegionName($0) }
        self.region = region
        self.listen = try fields.required("listen") { try EndpointAddress(listening: $0) }
        self.listenTLS = try fields.mapping("listenTLS") { (tls) throws(ConfigurationError) in
            ListenerFiles(
                certificate: try tls.required("certificate") { $0 },
                key: try tls.required("key") { $0 },
                clientAuthority: try tls.optional("clientAuthority") { $0 }
            )
        }
        self.listenPeers = try fields.optional("listenPeers") { try EndpointAddress(listening: $0) }
        self.admin = try fields.optional("admin") { try EndpointAddress(listening: $0) }
        self.tls = try fields.mapping("tls") { (tls) throws(ConfigurationError) in try LinkConfiguration(&tls) }
        if self.tls == nil, self.listenPeers != nil {
            throw fields.error("listenPeers", "needs `tls`: only gateways of the fleet may connect there")
        }
        self.hubs = try fields.list("hub") { try EndpointAddress($0) }
        self.agents = try fields.list("agents") { try EndpointAddress($0) }
        let peers = try fields.mappings("peers") { (peer) throws(ConfigurationError) in
            let peerRegion = try peer.required("region") { try RegionName($0) }
            guard peerRegion != region else {
                throw peer.error("region", "is this gateway's own; peers are gateways of other regions")
            }
            return (
                region: peerRegion,
                address: try peer.required("address") { try EndpointAddress($0) },
                version: try peer.choice("protocol", default: HTTPVersion.http1)
            )
        }
        self.peers = Dictionary(grouping: peers, by: \.region).mapValues { $0.map(\.address) }
        self.streamingPeers = Set(peers.filter { $0.version == .http2 }.map(\.address))
        self.planFile = try fields.optional("planFile") { $0 }
        self.policy = try fields.choice("policy", default: .ours)
        self.accessLog = try fields.optional("accessLog") { $0 }
        self.maxBodyBytes = try fields.integer("maxBodyBytes", in: 1...(1 << 40), default: nil)
        let waitingMax = try fields.integer("waitingMax", in: 1...1_000_000, default: nil)
        if let waitingMax { self.admission.waitingMax = waitingMax }
        let retries = try fields.integer("retryPercent", in: 0...100, default: nil)
        if let retries { self.retryShare = Double(retries) / 100 }
        self.objectives = try fields.mappings("objectives") { (objective) throws(ConfigurationError) in
            Objective(
                name: try objective.required("name") { $0 },
                pool: try objective.optional("pool") { try PoolName($0) },
                priority: try objective.integer("priority", in: -1_000_000...1_000_000, default: 0) ?? 0
            )
        }
        let pools = try fields.mappings("pools") { (pool) throws(ConfigurationError) in
            let path = try pool.optional("path") { $0 } ?? "/"
            guard path.hasPrefix("/") else { throw pool.error("path", "\"\(path)\" must begin with /") }
            // `/qwen` and `/qwen/` are one path.
            let trimmed = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
            return Pool(
                name: try pool.required("name") { try PoolName($0) },
                path: trimmed,
                objective: try pool.optional("objective") { $0 },
                model: try pool.optional("model") { $0 },
                rewrite: ModelRewrite(rules: try pool.mappings("rewrites", Self.rule)),
                endpointTLS: try pool.mapping("endpointTLS") { (tls) throws(ConfigurationError) in
                    EndpointTLS(
                        authority: try tls.optional("authority") { $0 },
                        serverName: try tls.optional("serverName") { $0 }
                    )
                },
                endpointProtocol: try pool.choice("endpointProtocol", default: .http1),
                hedge: try pool.mapping("hedge") { (hedge) throws(ConfigurationError) in
                    Hedge(
                        percentile: Double(try hedge.integer("percentile", in: 50...99, default: 95) ?? 95) / 100,
                        share: Double(try hedge.integer("budgetPercent", in: 1...50, default: 5) ?? 5) / 100
                    )
                }
            )
        }
        self.pools = pools.sorted { $0.path.utf8.count > $1.path.utf8.count }
        guard !pools.isEmpty else { throw fields.error("pools", "is empty; name at least one pool") }
        if let twice = Dictionary(grouping: pools, by: \.path).first(where: { $0.value.count > 1 }) {
            throw fields.error("pools", "path \(twice.key) belongs to \(twice.value.count) pools; give each its own")
        }
        try fields.finish()
    }

    /// The region of a peer; `nil` for an address that is none.
    func region(of peer: EndpointAddress) -> RegionName? {
        self.peers.first { $0.value.contains(peer) }?.key
    }

    /// Reads one rule of an InferenceModelRewrite: of its targets either all have a weight or none.
    private static func rule(_ rule: inout YAMLFields) throws(ConfigurationError) -> ModelRewrite.Rule {
        let model = try rule.optional("model") { $0 }
        let targets = try rule.mappings("targets") { (target) throws(ConfigurationError) in
            (
                try target.required("model") { $0 },
                try target.integer("weight", in: 1...1_000_000, default: nil)
            )
        }
        guard !targets.isEmpty else { throw rule.error("targets", "is empty; name at least one model") }
        let weighted = targets.count { $0.1 != nil }
        guard weighted == 0 || weighted == targets.count else {
            throw rule.error("targets", "has a weight for some and not for others; give all of them one, or none")
        }
        return ModelRewrite.Rule(
            model: model,
            targets: targets.map { ModelRewrite.Target(model: $0.0, weight: $0.1 ?? 1) }
        )
    }
}
