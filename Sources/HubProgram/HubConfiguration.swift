import ConfigurationFiles
import FleetModel
import ProgramShell
import StateStoreEtcd

/// What `hub.yaml` says.
struct HubConfiguration: Sendable {
    /// Where the state is kept.
    enum StoreKind: String, CaseIterable, Sendable {
        /// One replica, in a file.
        case sqlite
        /// Several replicas, in an etcd cluster.
        case etcd
    }

    /// Who lets go of old changes in etcd.
    enum Compactor: String, CaseIterable, Sendable {
        /// The leading hub.
        case hub
        /// Whoever runs etcd.
        case none
    }

    /// How to reach etcd.
    struct Etcd: Sendable {
        var endpoints: [EndpointAddress]
        var prefix: String
        /// Plain text, or the certificates of hubs, when missing.
        var files: EtcdFiles?
        var compaction: Compactor
        /// The member that this hub runs itself.
        var managed: ManagedEtcd?
    }

    /// Where agents and gateways connect (gRPC).
    var listen: EndpointAddress
    /// Where operators look: `/livez`, `/readyz`, `/metrics`, `/v1/status`.
    var admin: EndpointAddress?
    /// Mutual TLS on every gRPC link; plain text, on loopback only, when missing.
    var tls: LinkConfiguration?
    /// This replica's name among the others.
    var replica: ReplicaName
    /// Where it stands.
    var region: RegionName?
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
    ///   - isManaged: Whether the command line asks for a member beside this hub.
    /// - Throws: ``ConfigurationError`` naming the first field that does not hold what it should.
    init(
        file: String,
        store: StoreKind? = nil,
        endpoints: [EndpointAddress] = [],
        isManaged: Bool = false
    ) throws(ConfigurationError) {
        var fields = try YAMLFields(file: file)
        self.listen = try fields.required("listen") { try EndpointAddress(listening: $0) }
        self.admin = try fields.optional("admin") { try EndpointAddress(listening: $0) }
        self.tls = try fields.mapping("tls") { (tls) throws(ConfigurationError) in try LinkConfiguration(&tls) }
        self.advertise = try fields.optional("advertise") { try EndpointAddress($0) } ?? self.listen
        self.region = try fields.optional("region") { try RegionName($0) }
        let managed = try fields.mapping("managedEtcd") { (managed) throws(ConfigurationError) in
            try ManagedEtcd(&managed)
        }
        if isManaged, managed == nil {
            throw fields.error("managedEtcd", "is missing; --etcd managed needs the members' addresses and a folder")
        }
        let inFile = try fields.choice("store", default: managed == nil ? StoreKind.sqlite : .etcd)
        self.store = isManaged ? .etcd : store ?? inFile
        self.state = try self.store == .sqlite ? fields.required("state") { $0 } : fields.optional("state") { $0 }
        let etcd = try fields.list("etcd") { try EndpointAddress($0) }
        let named = try fields.optional("replica") { try ReplicaName($0) }
        self.etcd = Etcd(
            endpoints: endpoints.isEmpty ? named.flatMap { managed?.endpoints(for: $0) } ?? etcd : endpoints,
            prefix: try fields.optional("etcdPrefix") { $0 } ?? "/isobar/",
            files: try Self.files(&fields),
            compaction: try fields.choice("etcdCompaction", default: .hub),
            managed: managed
        )
        if managed != nil {
            guard etcd.isEmpty, endpoints.isEmpty else {
                throw fields.error("etcd", "and managedEtcd exclude each other; hubs know the members that they run")
            }
            guard self.etcd.files == nil else {
                throw fields.error("etcdAuthority", "is for an etcd that others run; members beside hubs go by `tls`")
            }
            guard self.store == .etcd else {
                throw fields.error("managedEtcd", "is there, and the store is \(self.store); leave one of them out")
            }
        }
        self.lease = try fields.seconds("lease", in: 1...60, default: 2)
        self.tick = try fields.seconds("tick", in: 0.1...60, default: 1)
        self.undeclaredPools = try fields.choice("undeclaredPools", default: .plan)
        switch self.store {
        case .sqlite:
            self.replica = named ?? ReplicaName(unchecked: "hub")
        case .etcd:
            guard let named else {
                throw fields.error("replica", "is missing; with etcd each replica needs a name of its own")
            }
            guard !self.etcd.endpoints.isEmpty else {
                throw fields.error("etcd", "is empty; name the members, or give --etcd-endpoints")
            }
            self.replica = named
            guard self.advertise.port != 0 else {
                throw fields.error("advertise", "is missing; other replicas cannot reach port 0")
            }
        }
        if let managed {
            // etcd's own rule: a lease that could end while members elect a leader would end for nothing.
            guard self.lease >= 1.5 * managed.election else {
                throw fields.error(
                    "lease",
                    "is less than one and a half of managedEtcd.electionTimeout; make it longer"
                )
            }
        }
        try fields.finish()
    }

    private static func files(_ fields: inout YAMLFields) throws(ConfigurationError) -> EtcdFiles? {
        let authority = try fields.optional("etcdAuthority") { $0 }
        let certificate = try fields.optional("etcdCertificate") { $0 }
        let key = try fields.optional("etcdKey") { $0 }
        guard (certificate == nil) == (key == nil) else {
            throw fields.error("etcdCertificate", "and etcdKey go together; name both or neither")
        }
        guard let authority else {
            if certificate == nil { return nil }
            throw fields.error("etcdAuthority", "is missing; etcdCertificate is used with TLS only")
        }
        let client = certificate.flatMap { certificate in
            key.map { EtcdFiles.Client(certificate: certificate, key: $0) }
        }
        return EtcdFiles(authority: authority, client: client)
    }
}

/// What becomes of pools that agents tell of and no resource declares.
enum UndeclaredPools: String, CaseIterable, Sendable {
    case plan, ignore
}
