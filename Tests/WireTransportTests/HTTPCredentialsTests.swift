import CertificateAuthority
import FleetModel
import Foundation
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import TestKit
import Testing

@testable import WireTransport

/// Waits at one end of a connection for the handshake's end.
private final class HandshakeEnd: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var promise: EventLoopPromise<String?>?

    init(_ promise: EventLoopPromise<String?>) { self.promise = promise }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted(let negotiated) = event as? TLSUserEvent {
            self.promise.take()?.succeed(negotiated)
        }
    }

    // A server that wants a certificate refuses after the client has finished: the first read tells.
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {}

    func errorCaught(context: ChannelHandlerContext, error: any Error) { self.promise.take()?.fail(error) }

    func channelInactive(context: ChannelHandlerContext) { self.promise.take()?.fail(ChannelError.eof) }
}

/// Two ends that shake hands over loopback.
private enum Handshake {
    /// - Returns: What the server saw negotiated.
    static func between(
        server: @escaping @Sendable (any Channel) throws -> Void,
        client: @escaping @Sendable (any Channel) throws -> Void
    ) async throws -> String? {
        let group = MultiThreadedEventLoopGroup.singleton
        let loop = group.next()
        let (served, called) = (loop.makePromise(of: String?.self), loop.makePromise(of: String?.self))
        let listener = try await ServerBootstrap(group: loop)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try server(channel)
                    try channel.pipeline.syncOperations.addHandler(HandshakeEnd(served))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let port = listener.localAddress?.port ?? 0
        let channel = try await ClientBootstrap(group: loop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try client(channel)
                    try channel.pipeline.syncOperations.addHandler(HandshakeEnd(called))
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        defer {
            channel.close(promise: nil)
            listener.close(promise: nil)
        }
        _ = try await called.futureResult.get()
        return try await served.futureResult.get()
    }
}

@Suite("TLS for HTTP", .timeLimit(.minutes(2)))
struct HTTPCredentialsTests {
    private let folder: TemporaryFolder
    private let authority: AuthorityFolder
    private let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    init() throws {
        self.folder = try TemporaryFolder()
        self.authority = AuthorityFolder(path: self.folder.file("pki"))
        _ = try self.authority.create(fleet: try FleetName("acme"), lifetime: 86_400_000, now: Date())
    }

    private func issue(_ role: Role, _ name: String, hosts: [String] = []) throws -> LinkFiles {
        let held = try self.authority.issue(role: role, name: name, hosts: hosts, lifetime: 86_400, now: Date())
        return LinkFiles(
            certificate: held.certificateFile,
            key: held.keyFile,
            authority: self.authority.authorityFile
        )
    }

    private func listener(asksClients: Bool = false, of files: LinkFiles? = nil) throws -> ListenerCredentials {
        let files = try files ?? self.issue(.operator, "web")
        return try ListenerCredentials(
            files: ListenerFiles(
                certificate: files.certificate,
                key: files.key,
                clientAuthority: asksClients ? files.authority : nil
            ),
            logger: self.logger
        )
    }

    private func client(
        _ change: (inout TLSConfiguration) throws -> Void = { _ in }
    ) throws -> @Sendable (any Channel) throws -> Void {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.certificateVerification = .noHostnameVerification
        configuration.trustRoots = .file(self.authority.authorityFile)
        configuration.applicationProtocols = ["h2", "http/1.1"]
        try change(&configuration)
        let context = try NIOSSLContext(configuration: configuration)
        return {
            try $0.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: context, serverHostname: nil))
        }
    }

    @Test("clients shake hands over TLS 1.2 and 1.3, and not over what is older or without forward secrecy")
    func versions() async throws {
        let listener = try self.listener()
        let server: @Sendable (any Channel) throws -> Void = { try listener.install(in: $0) }
        for version in [TLSVersion.tlsv12, .tlsv13] {
            let negotiated = try await Handshake.between(
                server: server,
                client: try self.client {
                    $0.minimumTLSVersion = version
                    $0.maximumTLSVersion = version
                }
            )
            #expect(negotiated == "h2")
        }
        let old = try self.client {
            $0.minimumTLSVersion = .tlsv1
            $0.maximumTLSVersion = .tlsv11
        }
        await #expect(throws: (any Error).self) { try await Handshake.between(server: server, client: old) }
        let weak = try self.client {
            $0.maximumTLSVersion = .tlsv12
            $0.cipherSuites = "ECDHE+AES128+SHA1:RSA+AESGCM"
        }
        await #expect(throws: (any Error).self) { try await Handshake.between(server: server, client: weak) }
    }

    @Test("with an authority for clients, who shows no certificate of it does not get in")
    func clientCertificates() async throws {
        let listener = try self.listener(asksClients: true)
        let server: @Sendable (any Channel) throws -> Void = { try listener.install(in: $0) }
        let files = try self.issue(.operator, "someone")
        let known = try self.client {
            $0.certificateChain = try NIOSSLCertificate.fromPEMFile(files.certificate).map { .certificate($0) }
            $0.privateKey = .privateKey(try NIOSSLPrivateKey(file: files.key, format: .pem))
        }
        #expect(try await Handshake.between(server: server, client: known) == "h2")
        let unknown = try self.client()
        await #expect(throws: (any Error).self) { try await Handshake.between(server: server, client: unknown) }
    }

    @Test("a certificate that was replaced serves the next handshake, and a broken one changes nothing")
    func rotation() async throws {
        let files = try self.issue(.operator, "web")
        let listener = try ListenerCredentials(
            files: ListenerFiles(certificate: files.certificate, key: files.key),
            logger: self.logger
        )
        let before = listener.expiresIn
        let held = try #require(try self.authority.certificates().first { $0.identity.name == "web" })
        _ = try self.authority.rotate(held, lifetime: 2 * 86_400, now: Date())
        listener.look()
        #expect(listener.expiresIn > before + 80_000)
        let after = listener.expiresIn
        try Data("nonsense".utf8).write(to: URL(fileURLWithPath: files.certificate))
        listener.look()
        #expect(abs(listener.expiresIn - after) < 60)
        let server: @Sendable (any Channel) throws -> Void = { try listener.install(in: $0) }
        #expect(try await Handshake.between(server: server, client: try self.client()) == "h2")
    }

    @Test("files that cannot be used are a fault that names the file and the fix")
    func faults() throws {
        let (web, other) = (try self.issue(.operator, "web"), try self.issue(.operator, "other"))
        func fault(_ files: ListenerFiles) -> String {
            do throws(LinkFilesFault) {
                _ = try ListenerCredentials(files: files, logger: self.logger)
                return ""
            } catch {
                return "\(error)"
            }
        }
        #expect(fault(ListenerFiles(certificate: "/none.crt", key: web.key)).contains("/none.crt: no such file"))
        #expect(fault(ListenerFiles(certificate: web.certificate, key: other.key)).contains("is not the key of"))
        #expect(fault(ListenerFiles(certificate: web.key, key: web.key)).contains("holds no"))
    }

    // MARK: Between gateways

    @Test("between gateways only the gateway of the right region gets through, at either end")
    func peers() async throws {
        let us = try LinkCredentials(files: try self.issue(.gateway, "us-east"), logger: self.logger)
        let europe = try LinkCredentials(files: try self.issue(.gateway, "europe-west"), logger: self.logger)
        let agent = try LinkCredentials(files: try self.issue(.agent, "us-east-a"), logger: self.logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for credentials in [us, europe, agent] { group.addTask { try await credentials.run() } }
            defer { group.cancelAll() }
            let address = EndpointAddress(host: "127.0.0.1", port: 1)
            let region = try RegionName("europe-west")
            let server: @Sendable (any Channel) throws -> Void = { try europe.installForPeer(in: $0) }
            func call(
                _ credentials: LinkCredentials,
                _ region: RegionName
            ) -> @Sendable (any Channel) throws -> Void {
                { try credentials.install(in: $0, to: address, region: region) }
            }
            #expect(try await Handshake.between(server: server, client: call(us, region)) == "http/1.1")
            // An agent is of the fleet, and no gateway.
            await #expect(throws: (any Error).self) {
                try await Handshake.between(server: server, client: call(agent, region))
            }
            #expect(europe.counts[.wrongRole] == 1)
            // The gateway of another region answers.
            let elsewhere = try RegionName("asia-south")
            await #expect(throws: (any Error).self) {
                try await Handshake.between(server: server, client: call(us, elsewhere))
            }
            #expect(us.counts[.wrongName] == 1)
            // A client with no certificate at all.
            let nobody = try self.client()
            await #expect(throws: (any Error).self) { try await Handshake.between(server: server, client: nobody) }
        }
    }

    // MARK: Model servers

    @Test("a model server is checked against the authority and the name that its pool gives")
    func upstreams() async throws {
        let listener = try self.listener()
        let server: @Sendable (any Channel) throws -> Void = { try listener.install(in: $0) }
        let address = EndpointAddress(host: "127.0.0.1", port: 1)
        // The certificate has an identity of the fleet and no host's name: nobody's name fits.
        let strict = try UpstreamTrust(
            authority: self.authority.authorityFile,
            serverName: "engine.internal",
            logger: self.logger
        )
        await #expect(throws: (any Error).self) {
            try await Handshake.between(server: server, client: { try strict.install(in: $0, to: address) })
        }
        #expect(throws: LinkFilesFault.self) {
            try UpstreamTrust(authority: "/none.crt", serverName: nil, logger: self.logger)
        }

        func engine(_ host: String) throws -> @Sendable (any Channel) throws -> Void {
            let named = try self.listener(of: try self.issue(.hub, "engine-\(host.first ?? "0")", hosts: [host]))
            return { try named.install(in: $0) }
        }
        let byName = try engine("engine.internal")
        #expect(
            try await Handshake.between(server: byName, client: { try strict.install(in: $0, to: address) })
                == "http/1.1"
        )
        // Without a name in the pool's settings the host or the address that was called is what must fit.
        let plain = try UpstreamTrust(authority: self.authority.authorityFile, serverName: nil, logger: self.logger)
        let byAddress = try engine("127.0.0.1")
        for (server, host, fits) in [
            (byName, "engine.internal", true), (byName, "other.internal", false), (byName, "127.0.0.1", false),
            (byAddress, "127.0.0.1", true),
        ] {
            let called = EndpointAddress(host: host, port: 8000)
            let negotiated = try? await Handshake.between(
                server: server,
                client: { try plain.install(in: $0, to: called) }
            )
            #expect((negotiated == "http/1.1") == fits, "\(host)")
        }
    }
}
