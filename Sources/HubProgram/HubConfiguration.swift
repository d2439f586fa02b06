import ConfigurationFiles
import FleetModel
import ProgramShell

/// What `hub.yaml` says.
struct HubConfiguration: Sendable {
    /// Where the state is kept.
    enum StoreKind: String, CaseIterable, Sendable {
        /// One replica, in a file.
        case sqlite
        /// Several replicas, in an etcd cluster.
        case etcd
    }

    /// How to reach etcd.
    struct Etcd: Sendable {
        var endpoints: [EndpointAddress]
        var prefix: String
        var authority: String?
        var certificate: String?
        var key: String?
    }

    /// Where agents and gateways connect (gRPC).
    var listen: EndpointAddress
    /// Where operators look: `/livez`, `/readyz`, `/metrics`, `/v1/status`.
    var admin: EndpointAddress?
    /// Mutual TLS on every gRPC link; plain text, on loopback only, when missing.
    var tls: LinkConfiguration?
    /// This replica's name among the others.
    var replica: ReplicaName
    /// Where other replicas reach this one.
    var advertise: EndpointAddress
    var store: StoreKind
    /// The SQLite file that holds the state.
    var state: String?
    var etcd: Etcd
    /// How long the leader may be silent before another replica leads, in seconds.
    var lease: Seconds
    /// How often a plan is made, in seconds; a failure is answered at once.
    var tick: Seconds
    /// What becomes of pools that agents tell of and no resource declares.
    var undeclaredPools: UndeclaredPools

    /// - Parameters:
    ///   - file: The YAML file.
    ///   - store: What the command line says instead of the field `store`.
    ///   - endpoints: What the command line says instead of the field `etcd`.
    /// - Throws: ``ConfigurationError`` naming the first field that does not hold what it should.
    init(
        file: String,
        store: StoreKind? = nil,
        endpoints: [EndpointAddress] = []
    ) throws(ConfigurationError) {
        var fields = try YAMLFields(file: file)
        self.listen = try fields.required("listen") { try EndpointAddress(listening: $0) }
        self.admin = try fields.optional("admin") { try EndpointAddress(listening: $0) }
        self.tls = try fields.mapping("tls") { (tls) throws(ConfigurationError) in try LinkConfiguration(&tls) }
        self.advertise = try fields.optional("advertise") { try EndpointAddress($0) } ?? self.listen
        let named = try fields.optional("replica") { try ReplicaName($0) }
        let inFile = try fields.choice("store", default: StoreKind.sqlite)
        self.store = store ?? inFile
        self.state = try self.store == .sqlite ? fields.required("state") { $0 } : fields.optional("state") { $0 }
        let etcd = try fields.list("etcd") { try EndpointAddress($0) }
        self.etcd = Etcd(
            endpoints: endpoints.isEmpty ? etcd : endpoints,
            prefix: try fields.optional("etcdPrefix") { $0 } ?? "/isobar/",
            authority: try fields.optional("etcdAuthority") { $0 },
            certificate: try fields.optional("etcdCertificate") { $0 },
            key: try fields.optional("etcdKey") { $0 }
        )
        self.lease = try fields.seconds("lease", in: 1...60, default: 2)
        self.tick = try fields.seconds("tick", in: 0.1...60, default: 1)
        self.undeclaredPools = try fields.choice("undeclaredPools", default: .plan)
        switch self.store {
        case .sqlite:
            self.replica = named ?? ReplicaName(unchecked: "hub")
        case .etcd:
            guard !self.etcd.endpoints.isEmpty else {
                throw fields.error("etcd", "is empty; name the members, or give --etcd-endpoints")
            }
            guard let named else {
                throw fields.error("replica", "is missing; with etcd each replica needs a name of its own")
            }
            self.replica = named
            guard self.advertise.port != 0 else {
                throw fields.error("advertise", "is missing; other replicas cannot reach port 0")
            }
        }
        guard (self.etcd.certificate == nil) == (self.etcd.key == nil) else {
            throw fields.error("etcdCertificate", "and etcdKey go together; name both or neither")
        }
        guard self.etcd.certificate == nil || self.etcd.authority != nil else {
            throw fields.error("etcdAuthority", "is missing; etcdCertificate is used with TLS only")
        }
        try fields.finish()
    }
}

/// What becomes of pools that agents tell of and no resource declares.
enum UndeclaredPools: String, CaseIterable, Sendable {
    case plan, ignore
}
