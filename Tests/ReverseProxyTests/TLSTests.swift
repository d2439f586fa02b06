import CertificateAuthority
import FleetModel
import Foundation
import NIOCore
import NIOSSL
import Testing

@testable import ReverseProxy

/// A certificate for tests, and contexts of both ends.
private struct TestTLS: Sendable {
    let server: NIOSSLContext
    let client: TLSConfiguration

    init() throws {
        let fleet = try FleetName("test")
        let authority = try Authority.make(fleet: fleet, lifetime: 3_600, now: Date()).authority
        let issued = try authority.issue(
            Identity(fleet: fleet, role: .gateway, name: "front"),
            lifetime: 3_600,
            now: Date()
        )
        var server = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMBytes(Array(issued.certificate.utf8)).map {
                .certificate($0)
            },
            privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(issued.key.utf8), format: .pem))
        )
        server.applicationProtocols = ["h2", "http/1.1"]
        self.server = try NIOSSLContext(configuration: server)
        var client = TLSConfiguration.makeClientConfiguration()
        client.certificateVerification = .none
        self.client = client
    }

    /// TLS of the listener, or of an upstream that a test plays.
    var accept: TLSInstaller {
        let context = self.server
        return { try $0.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context)) }
    }

    func connect(offering protocols: [String]) throws -> TLSInstaller {
        var configuration = self.client
        configuration.applicationProtocols = protocols
        let context = try NIOSSLContext(configuration: configuration)
        return {
            try $0.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: context, serverHostname: nil))
        }
    }

    var listener: ProxyListener {
        ProxyListener(EndpointAddress(host: "127.0.0.1", port: 0), tls: self.accept)
    }
}

@Suite("TLS of the proxy", .timeLimit(.minutes(3)))
struct TLSTests {
    @Test("a client gets HTTP/2 or HTTP/1.1, as it offers by ALPN, and HTTP/1.1 when it offers nothing")
    func negotiation() async throws {
        let tls = try TestTLS()
        try await ProxyWorld.with([], listener: tls.listener, director: AnsweringDirector()) { world in
            let both = try tls.connect(offering: ["h2", "http/1.1"])
            let new = try await StreamPeer.connect(to: world.address, tls: both)
            #expect(try await new.request().whole().body == "hops 0.")
            new.close()
            for protocols in [["http/1.1"], []] {
                let old = try await Peer.connect(to: world.address, tls: try tls.connect(offering: protocols))
                old.send(.get())
                try await old.receive("\r\n\r\nhops 0.")
                old.close()
            }
            #expect(try await world.countersAtRest().handshakes == 3)
        }
    }

    @Test("a large answer passes through TLS whole, and its connection serves the next request")
    func largeAnswer() async throws {
        let tls = try TestTLS()
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address], listener: tls.listener) { world in
            let client = try await Peer.connect(to: world.address, tls: try tls.connect(offering: []))
            client.send(.get())
            let peer = try await upstream.connection(0)
            try await peer.receive("\r\n\r\n")
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: \(8 << 20)\r\n\r\n")
            peer.send(chunk: ByteBuffer(repeating: 0x61, count: 1 << 20), times: 8)
            try await client.state.wait { $0.bytes > 8 << 20 }
            client.send(.get())
            try await peer.serve(request: 2)
            client.close()
        }
        try await upstream.stop()
    }

    @Test("garbage and plain text on a TLS port are closed and counted")
    func garbage() async throws {
        let tls = try TestTLS()
        try await ProxyWorld.with([], listener: tls.listener) { world in
            for text in [String.get(), Frames.preface, "\u{16}\u{03}\u{01}garbage that no record is"] {
                let client = try await world.client()
                client.send(text)
                try await client.receiveClose()
            }
            let counters = try await world.countersAtRest()
            #expect(counters.handshakesFailed == 3 && counters.handshakes == 0 && counters.requests == 0)
        }
    }

    @Test("a handshake that does not come is given up, and their number is bounded")
    func slowHandshakes() async throws {
        let tls = try TestTLS()
        let settings: (inout ProxySettings) -> Void = {
            $0.handshakeTimeout = 0.5
            $0.maxHandshakes = 1
        }
        try await ProxyWorld.with([], listener: tls.listener, settings: settings) { world in
            var clients: [Peer] = []
            // One an event loop is let in.
            for _ in 0..<32 { clients.append(try await world.client()) }
            for client in clients { try await client.receiveClose() }
            let counters = try await world.countersAtRest()
            #expect(counters.connectionsRefused + counters.handshakesFailed == 32)
            #expect(counters.connectionsRefused > 0 && counters.handshakesFailed > 0)
        }
    }

    // MARK: Upstreams

    @Test("an upstream with TLS gets the request encrypted, and its connection is kept")
    func secureUpstream() async throws {
        let tls = try TestTLS()
        let upstream = try await Upstream.start(tls: tls.accept)
        let up = try tls.connect(offering: ["http/1.1"])
        try await ProxyWorld.with([upstream.address], upstreamTLS: { _ in up }) { world in
            let client = try await world.client()
            for number in 1...2 {
                client.send(.get("/\(number)"))
                try await upstream.connection(0).serve(request: number)
                try await client.receive("\r\n\r\nok", times: number)
            }
            #expect(upstream.connections == 1)
            client.close()
        }
        try await upstream.stop()
    }

    @Test("an upstream that is plain text, or that says nothing, fails its try and the next one is asked")
    func noTLS() async throws {
        let tls = try TestTLS()
        let (plain, silent, good) = (try await Upstream.start(), try await Upstream.start(), try await Upstream.start())
        let up = try tls.connect(offering: ["http/1.1"])
        let secure = [plain.address, silent.address]
        try await ProxyWorld.with(
            [plain.address, silent.address, good.address],
            settings: { $0.connectTimeout = 2 },
            upstreamTLS: { secure.contains($0) ? up : nil }
        ) { world in
            let client = try await world.client()
            client.send(.get())
            let peer = try await plain.connection(0)
            try await peer.state.wait { $0.bytes > 0 }
            peer.send("HTTP/1.1 400 Bad Request\r\n\r\n")
            try await good.connection(0).serve()
            try await client.receive("\r\n\r\nok")
            #expect(world.director.record.value.failures == [.handshakeFailed, .connectTimeout])
            client.close()
        }
        for upstream in [plain, silent, good] { try await upstream.stop() }
    }
}
