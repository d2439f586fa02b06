import FleetModel
import Testing

@testable import EtcdCare

@Suite("etcd's command line")
struct EtcdLaunchTests {
    private static func launch(_ host: String, _ certificates: EtcdLaunch.Certificates? = nil) throws -> [String] {
        let site = EtcdSite(
            replica: try ReplicaName("hub-0"),
            client: try EndpointAddress("\(host):2379"),
            peer: try EndpointAddress("\(host):2380")
        )
        let settings = EtcdLaunch.Settings(
            site: site,
            sites: [site],
            data: "/data",
            certificates: certificates,
            quota: 2 << 30,
            election: 1.5
        )
        return EtcdLaunch(
            settings: settings,
            state: .existing,
            members: [.init(name: "hub-0", peer: settings.url(site.peer)), .init(name: "hub-1", peer: "http://b:2380")]
        ).arguments
    }

    private func value(_ name: String, in arguments: [String]) -> String? {
        arguments.firstIndex(of: name).map { arguments[$0 + 1] }
    }

    @Test("names the member, its cluster and its times")
    func plain() throws {
        let arguments = try Self.launch("127.0.0.1")
        #expect(self.value("--name", in: arguments) == "hub-0")
        #expect(self.value("--initial-cluster", in: arguments) == "hub-0=http://127.0.0.1:2380,hub-1=http://b:2380")
        #expect(self.value("--initial-cluster-state", in: arguments) == "existing")
        #expect(self.value("--heartbeat-interval", in: arguments) == "150")
        #expect(self.value("--election-timeout", in: arguments) == "1500")
        #expect(self.value("--quota-backend-bytes", in: arguments) == "2147483648")
        #expect(!arguments.contains { $0.contains("cert") })
    }

    @Test("listens on an address, also when it is known by a name")
    func names() throws {
        let named = try Self.launch("hub-0.example")
        #expect(self.value("--listen-client-urls", in: named) == "http://0.0.0.0:2379")
        #expect(self.value("--advertise-client-urls", in: named) == "http://hub-0.example:2379")
        let local = try Self.launch("localhost")
        #expect(self.value("--listen-peer-urls", in: local) == "http://127.0.0.1:2380")
        #expect(self.value("--listen-peer-urls", in: try Self.launch("[::1]")) == "http://[::1]:2380")
    }

    @Test("with certificates, lets in nobody but hubs, as clients and as peers")
    func certificates() throws {
        let files = EtcdLaunch.Certificates(
            certificate: "h.crt",
            key: "h.key",
            authority: "ca.crt",
            admitted: try FleetName("acme").hubsHost
        )
        let arguments = try Self.launch("10.0.0.1", files)
        #expect(self.value("--advertise-client-urls", in: arguments) == "https://10.0.0.1:2379")
        #expect(self.value("--client-cert-allowed-hostname", in: arguments) == "hub.acme.isobar")
        #expect(self.value("--peer-cert-allowed-hostname", in: arguments) == "hub.acme.isobar")
        #expect(arguments.contains("--client-cert-auth") && arguments.contains("--peer-client-cert-auth"))
    }

    @Test("reads etcd's version, and knows the oldest that will do")
    func version() throws {
        let printed = "etcd Version: 3.4.23\nGit SHA: Not provided\nGo Version: go1.19.8\n"
        #expect(EtcdVersion(printed: printed)?.description == "3.4.23")
        #expect(EtcdVersion(printed: "etcd Version: 3.6.0-rc.1\n") == EtcdVersion(major: 3, minor: 6, patch: 0))
        #expect(EtcdVersion(printed: "3.4.23") == nil)
        #expect(EtcdVersion(major: 3, minor: 3, patch: 27) < .oldest)
    }
}
