import CertificateAuthority
import FleetModel
import Foundation
import Logging
import ProcessKit
import StateStore
import TestKit
import Testing
import WireTransport

@testable import StateStoreEtcd

/// An authority, and an etcd that asks its clients for certificates of it.
private struct SecureCluster: Sendable {
    let folder: TemporaryFolder
    let authority: AuthorityFolder
    let etcd: EtcdCluster

    // `hubsOnly`: the host name of the fleet's hubs must be in a client's certificate.
    init(hubsOnly: Bool = false) async throws {
        self.folder = try TemporaryFolder()
        self.authority = AuthorityFolder(path: self.folder.file("pki"))
        let fleet = try FleetName("acme")
        _ = try self.authority.create(fleet: fleet, lifetime: 86_400, now: Date())
        let held = try self.authority.issue(
            role: .hub,
            name: "etcd",
            hosts: ["127.0.0.1"],
            lifetime: 86_400,
            now: Date()
        )
        self.etcd = try await EtcdCluster(
            certificates: EtcdCluster.Certificates(
                certificate: held.certificateFile,
                key: held.keyFile,
                authority: self.authority.authorityFile,
                admitted: hubsOnly ? fleet.hubsHost : nil
            )
        )
    }

    func issue(_ role: Role, _ name: String) throws -> HeldCertificate {
        try self.authority.issue(role: role, name: name, lifetime: 86_400, now: Date())
    }

    func store(_ security: EtcdSecurity, prefix: String = "/isobar/") throws -> EtcdStore {
        try EtcdStore(
            EtcdSettings(
                endpoints: try self.etcd.endpoints.map { try EndpointAddress($0) },
                prefix: prefix,
                security: security,
                patience: .seconds(2)
            )
        )
    }

    func files(_ held: HeldCertificate) -> EtcdFiles {
        EtcdFiles(
            authority: self.authority.authorityFile,
            client: EtcdFiles.Client(certificate: held.certificateFile, key: held.keyFile)
        )
    }

    /// What a store answers when it is asked; "well" when nothing is wrong.
    func answer(_ security: EtcdSecurity, prefix: String = "/isobar/") async throws -> String {
        let store = try self.store(security, prefix: prefix)
        return await withTaskGroup(of: Void.self) { group in
            group.addTask { await store.run() }
            defer { group.cancelAll() }
            do throws(StoreError) {
                _ = try await store.get("a")
                return "well"
            } catch {
                return "\(error)"
            }
        }
    }
}

@Suite(
    "etcd with TLS",
    .serialized,
    .enabled(if: EtcdCluster.isExpected, Comment(rawValue: EtcdCluster.advice))
)
struct EtcdTLSTests {
    @Test("serves a hub with the right files, and says which field is wrong otherwise")
    func files() async throws {
        let cluster = try await SecureCluster()
        let hub = try cluster.issue(.hub, "hub-0")
        let good = cluster.files(hub)
        try await cluster.etcd.run {
            try await eventually("it serves", within: .seconds(60)) { try await cluster.answer(.files(good)) == "well" }

            let none = try await cluster.answer(.files(EtcdFiles(authority: good.authority, client: nil)))
            #expect(none.contains("etcdCertificate: is not set, and the member asks for one"), "\(none)")

            let plain = try await cluster.answer(.plain)
            #expect(plain.contains("etcdAuthority: is not set, and the member may want TLS"), "\(plain)")

            let other = AuthorityFolder(path: cluster.folder.file("other"))
            _ = try other.create(fleet: try FleetName("globex"), lifetime: 86_400, now: Date())
            let stranger = try other.issue(role: .hub, name: "hub-0", lifetime: 86_400, now: Date())
            let wrong = try await cluster.answer(.files(EtcdFiles(authority: other.authorityFile, client: good.client)))
            #expect(wrong.contains("etcdAuthority: \(other.authorityFile): did not sign"), "\(wrong)")

            let foreign = try await cluster.answer(
                .files(
                    EtcdFiles(
                        authority: good.authority,
                        client: EtcdFiles.Client(certificate: stranger.certificateFile, key: stranger.keyFile)
                    )
                )
            )
            #expect(foreign.contains("etcdCertificate: \(stranger.certificateFile): is refused"), "\(foreign)")
        }
    }

    @Test("files that cannot be used are refused at the start, with the field and the file")
    func badFiles() async throws {
        let cluster = try await SecureCluster()
        let (hub, agent) = (try cluster.issue(.hub, "hub-0"), try cluster.issue(.agent, "a"))
        func fault(_ authority: String?, _ certificate: String, _ key: String) -> String {
            do {
                let files = EtcdFiles(
                    authority: authority ?? cluster.authority.authorityFile,
                    client: EtcdFiles.Client(certificate: certificate, key: key)
                )
                _ = try cluster.store(.files(files))
                return "taken"
            } catch {
                return "\(error)"
            }
        }
        #expect(fault(nil, hub.certificateFile, hub.keyFile) == "taken")
        #expect(fault("/none.crt", hub.certificateFile, hub.keyFile).contains("etcdAuthority: /none.crt: no such file"))
        #expect(
            fault(hub.keyFile, hub.certificateFile, hub.keyFile).contains("etcdAuthority: \(hub.keyFile): holds no PEM")
        )
        #expect(fault(nil, "/none.crt", hub.keyFile).contains("etcdCertificate: /none.crt"))
        #expect(
            fault(nil, hub.certificateFile, hub.certificateFile).contains("etcdKey: \(hub.certificateFile): holds no")
        )
        #expect(fault(nil, hub.certificateFile, agent.keyFile).contains("is not the key of \(hub.certificateFile)"))
    }

    @Test("with the hubs' own certificates lets in hubs, and neither agents nor gateways")
    func links() async throws {
        let cluster = try await SecureCluster(hubsOnly: true)
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        func credentials(_ held: HeldCertificate) throws -> LinkCredentials {
            try LinkCredentials(
                files: LinkFiles(
                    certificate: held.certificateFile,
                    key: held.keyFile,
                    authority: cluster.authority.authorityFile
                ),
                logger: logger
            )
        }
        let hub = try credentials(try cluster.issue(.hub, "hub-0"))
        let others = [
            try credentials(try cluster.issue(.agent, "a")), try credentials(try cluster.issue(.gateway, "r")),
        ]
        try await cluster.etcd.run {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for links in [hub] + others { group.addTask { try await links.run() } }
                defer { group.cancelAll() }
                try await eventually("it serves", within: .seconds(60)) {
                    try await cluster.answer(.links(hub)) == "well"
                }
                for links in others {
                    let answer = try await cluster.answer(.links(links))
                    #expect(answer.contains("no member answered"), "\(links.identity): \(answer)")
                }
                #expect(try await cluster.answer(.links(hub)) == "well", "etcd was away meanwhile")
            }
        }
    }

    @Test("with a role on the fleet's own prefix, keeps every law there and refuses everything else")
    func role() async throws {
        let cluster = try await SecureCluster()
        let hub = try cluster.issue(.hub, "hub-0")
        let files = cluster.files(hub)
        try await cluster.etcd.run {
            try await eventually("it serves", within: .seconds(60)) {
                try await cluster.answer(.files(files)) == "well"
            }
            // etcd knows a client by its certificate's common name.
            let (start, end) = (
                Data("/isobar/".utf8).base64EncodedString(), Data("/isobar0".utf8).base64EncodedString()
            )
            for (path, body) in [
                ("user/add", #"{"name":"root","options":{"no_password":true}}"#),
                ("user/grant", #"{"user":"root","role":"root"}"#),
                ("role/add", #"{"name":"isobar"}"#),
                ("role/grant", #"{"name":"isobar","perm":{"permType":2,"key":"\#(start)","range_end":"\#(end)"}}"#),
                ("user/add", #"{"name":"hub hub-0","options":{"no_password":true}}"#),
                ("user/grant", #"{"user":"hub hub-0","role":"isobar"}"#),
                ("auth/enable", "{}"),
            ] {
                let place = path.hasPrefix("auth/") ? path : "auth/\(path)"
                let answer = try await cluster.etcd.ask("/v3/\(place)", body)
                #expect(answer.contains("header"), "\(path): \(answer)")
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (place, law) in StoreLaw.all.enumerated() {
                    let store = try cluster.store(.files(files), prefix: "/isobar/law\(place)/")
                    group.addTask {
                        do {
                            try await law.check(running: store)
                        } catch {
                            Issue.record("\(law): \(error)")
                        }
                    }
                }
                try await group.waitForAll()
            }
            let outside = try await cluster.answer(.files(files), prefix: "/other/")
            #expect(outside.contains("permission denied") && outside.contains("etcdPrefix"), "\(outside)")
        }
    }
}
