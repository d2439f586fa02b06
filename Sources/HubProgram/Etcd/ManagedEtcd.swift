import ConfigurationFiles
import EtcdCare
import FleetModel
import WireTransport

/// What `managedEtcd:` in the hub's file says: the etcd member that this hub runs beside itself.
struct ManagedEtcd: Sendable {
    /// etcd's program: a path, or a name to look for in `PATH`.
    var program: String
    /// The folder of the member's data.
    var data: String
    /// Bytes above which etcd takes no more writes.
    var quota: Int64
    /// A member's silence after which the others elect another leader among them, in seconds.
    var election: Seconds
    /// The members of all replicas, sorted by name.
    var sites: [EtcdSite]

    init(_ fields: inout YAMLFields) throws(ConfigurationError) {
        self.program = try fields.optional("program") { $0 } ?? "etcd"
        self.data = try fields.required("data") { $0 }
        let mebibytes = try fields.integer("quota", in: 64...8_192, default: 2_048) ?? 2_048
        self.quota = Int64(mebibytes) << 20
        self.election = try fields.seconds("electionTimeout", in: 0.5...20, default: 1)
        let sites = try fields.mappings("members") { (member) throws(ConfigurationError) in
            EtcdSite(
                replica: try member.required("replica") { try ReplicaName($0) },
                client: try member.required("client") { try EndpointAddress($0) },
                peer: try member.required("peer") { try EndpointAddress($0) }
            )
        }
        self.sites = sites.sorted { $0.replica < $1.replica }
        guard [1, 3, 5, 7].contains(sites.count) else {
            throw fields.error(
                "members",
                "has \(sites.count); name 3 or 5: of 3 one may be lost, of 5 two, and an even one more helps nobody"
            )
        }
        guard Set(sites.map(\.replica)).count == sites.count else {
            throw fields.error("members", "names a replica twice; each has one member")
        }
        let addresses = sites.flatMap { [$0.client, $0.peer] }
        guard Set(addresses).count == addresses.count else {
            throw fields.error("members", "has an address twice; client and peer of every member have one of their own")
        }
    }

    /// How this replica's member is started, whatever has to be done before.
    ///
    /// - Parameters:
    ///   - replica: This replica.
    ///   - links: The hub's certificates; plain text without them.
    /// - Returns: All of it that does not change from start to start.
    /// - Throws: ``ManagedEtcdFault`` when the members cannot be run as they are configured.
    func launchSettings(
        of replica: ReplicaName,
        links: LinkCredentials?
    ) throws(ManagedEtcdFault) -> EtcdLaunch.Settings {
        guard let site = self.sites.first(where: { $0.replica == replica }) else {
            throw ManagedEtcdFault(
                field: "managedEtcd.members",
                reason: "has no member of replica \(replica), which this hub is; add one, in every hub's file"
            )
        }
        var certificates: EtcdLaunch.Certificates?
        if let links {
            let host = links.identity.fleet.hubsHost
            let missing = [host, site.client.host, site.peer.host].filter { !links.hosts.contains($0) }
            guard missing.isEmpty else {
                let hosts = Set([site.client.host, site.peer.host]).sorted().map { " --host \($0)" }.joined()
                throw ManagedEtcdFault(
                    field: "tls.certificate",
                    reason: "\(links.paths.certificate): is not good for \(missing.joined(separator: ", ")), by which "
                        + "etcd's members know each other; issue one with `isobar pki issue hub \(replica)\(hosts)`"
                )
            }
            let files = links.paths
            certificates = EtcdLaunch.Certificates(
                certificate: files.certificate,
                key: files.key,
                authority: files.authority,
                admitted: host
            )
        } else if let far = self.sites.flatMap({ [$0.client, $0.peer] }).first(where: { !$0.isLoopback }) {
            throw ManagedEtcdFault(
                field: "managedEtcd.members",
                reason: "\(far): links off loopback need mutual TLS; "
                    + "add `tls:` with certificate, key and authority, which `isobar pki` makes"
            )
        }
        return EtcdLaunch.Settings(
            site: site,
            sites: self.sites,
            data: self.data,
            certificates: certificates,
            quota: self.quota,
            election: self.election
        )
    }

    /// Where hubs reach the members: this replica's own first, which is the nearest.
    func endpoints(for replica: ReplicaName) -> [EndpointAddress] {
        self.sites.filter { $0.replica == replica }.map(\.client)
            + self.sites.filter { $0.replica != replica }.map(\.client)
    }
}

/// Why a hub cannot run its member; it names the field and the fix.
struct ManagedEtcdFault: Error, Hashable, CustomStringConvertible {
    let field: String
    let reason: String

    var description: String { "\(self.field): \(self.reason)" }
}
