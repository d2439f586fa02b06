package import FleetModel

/// How one member is started: everything that etcd's command line says.
package struct EtcdLaunch: Hashable, Sendable {
    /// Whether the member makes the cluster together with the others, or comes to one that is there.
    ///
    /// A member that has data goes by its data, whatever this says.
    package enum State: String, Hashable, Sendable {
        case new, existing
    }

    /// PEM files for clients and peers alike.
    package struct Certificates: Hashable, Sendable {
        package var certificate: String
        package var key: String
        package var authority: String
        /// The host name that a certificate must carry to be let in; see `FleetName.hubsHost`.
        package var admitted: String

        package init(certificate: String, key: String, authority: String, admitted: String) {
            self.certificate = certificate
            self.key = key
            self.authority = authority
            self.admitted = admitted
        }
    }

    /// What does not change from start to start.
    package struct Settings: Hashable, Sendable {
        package var site: EtcdSite
        /// All members, this one too.
        package var sites: [EtcdSite]
        /// The folder of its data, in which ``folder`` is etcd's own.
        package var data: String
        /// Plain text without them, which is for loopback only.
        package var certificates: Certificates?
        /// Bytes above which etcd takes no more writes.
        package var quota: Int64
        /// A leader's silence after which members elect another one, in seconds.
        package var election: Seconds

        package init(
            site: EtcdSite,
            sites: [EtcdSite],
            data: String,
            certificates: Certificates?,
            quota: Int64,
            election: Seconds
        ) {
            self.site = site
            self.sites = sites
            self.data = data
            self.certificates = certificates
            self.quota = quota
            self.election = election
        }

        /// What etcd calls its data folder.
        package var folder: String { "\(self.data)/etcd" }

        var scheme: String { self.certificates == nil ? "http" : "https" }

        /// The URL by which other members know this address.
        package func url(_ address: EndpointAddress) -> String { "\(self.scheme)://\(address)" }
    }

    package var settings: Settings
    package var state: State
    /// Every member's name and peer URL.
    package var members: [Member]

    package struct Member: Hashable, Sendable {
        package var name: String
        package var peer: String

        package init(name: String, peer: String) {
            self.name = name
            self.peer = peer
        }
    }

    package init(settings: Settings, state: State, members: [Member]) {
        self.settings = settings
        self.state = state
        self.members = members
    }

    /// etcd's arguments.
    package var arguments: [String] {
        let settings = self.settings
        let (client, peer) = (settings.site.client, settings.site.peer)
        let milliseconds = Int((settings.election * 1_000).rounded())
        var arguments = [
            "--name", settings.site.replica.text, "--data-dir", settings.folder,
            "--listen-client-urls", settings.url(client.bound), "--advertise-client-urls", settings.url(client),
            "--listen-peer-urls", settings.url(peer.bound), "--initial-advertise-peer-urls", settings.url(peer),
            "--initial-cluster", self.members.map { "\($0.name)=\($0.peer)" }.joined(separator: ","),
            "--initial-cluster-state", self.state.rawValue,
            "--heartbeat-interval", "\(milliseconds / 10)", "--election-timeout", "\(milliseconds)",
            "--quota-backend-bytes", "\(settings.quota)",
            // Entries that a member keeps in memory until it writes a snapshot. Ours are plans of tens of kilobytes:
            // the 100,000 of etcd 3.4 and 3.5 would be gigabytes.
            "--snapshot-count", "5000",
            // The leading hub compacts too; this is for the time when no hub leads.
            "--auto-compaction-mode", "periodic", "--auto-compaction-retention", "10m",
            "--logger", "zap", "--log-outputs", "stderr",
            // Nobody asks in JSON, and with certificates the gateway would refuse itself once a second.
            "--enable-grpc-gateway=false",
        ]
        if let files = settings.certificates {
            arguments += [
                "--cert-file", files.certificate, "--key-file", files.key, "--trusted-ca-file", files.authority,
                "--client-cert-auth", "--client-cert-allowed-hostname", files.admitted,
                "--peer-cert-file", files.certificate, "--peer-key-file", files.key,
                "--peer-trusted-ca-file", files.authority, "--peer-client-cert-auth",
                "--peer-cert-allowed-hostname", files.admitted,
            ]
        }
        return arguments
    }
}

extension EndpointAddress {
    /// What to listen on: etcd listens on IP addresses only, so a name becomes every address of the machine.
    var bound: EndpointAddress {
        if self.host == "localhost" { return EndpointAddress(host: "127.0.0.1", port: self.port) }
        let isAddress = self.host.contains(":") || self.host.allSatisfy { $0.isASCII && ($0.isNumber || $0 == ".") }
        return isAddress ? self : EndpointAddress(host: "0.0.0.0", port: self.port)
    }
}
