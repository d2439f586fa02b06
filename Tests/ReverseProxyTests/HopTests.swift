import FleetModel
import NIOCore
import Testing

@testable import ReverseProxy

@Suite("Who may say that a gateway has passed a request on")
struct HopTests {
    private static let via = String.get(headers: "via: 1.1 isobar, 1.1 other, 1.1 isobar\r\n")

    private func answer(_ trust: ProxyListener.HopTrust, _ request: String = Self.via) async throws -> String {
        let listener = ProxyListener(EndpointAddress(host: "127.0.0.1", port: 0), trust: trust)
        let heard = Watched("")
        try await ProxyWorld.with([], listener: listener, director: AnsweringDirector()) { world in
            let client = try await world.client()
            client.send(request)
            let text = try await client.receive("\r\n\r\n", times: 1)
            let whole = try await client.state.wait { $0.text.contains("hops") || $0.isClosed }.text
            heard.update { $0 = text + whole }
            client.close()
        }
        return heard.value
    }

    @Test("everybody's word counts where TLS has made sure who they are, and this machine's without TLS; else nobody's")
    func trust() async throws {
        #expect(try await self.answer(.everybody).contains("hops 2."))
        #expect(try await self.answer(.loopback).contains("hops 2."))
        #expect(try await self.answer(.nobody).contains("hops 0."))
    }

    @Test("loopback is this machine and nothing else")
    func loopback() throws {
        let listener = ProxyListener(EndpointAddress(host: "::", port: 0), trust: .loopback)
        for (address, claims) in [
            ("127.0.0.1", ClientWire.Claims.hops), ("127.8.8.8", .hops), ("::1", .hops), ("::ffff:127.0.0.1", .hops),
            ("10.0.0.1", .none), ("192.168.127.1", .none), ("::ffff:10.0.0.1", .none), ("fe80::1", .none),
        ] {
            #expect(listener.claims(of: try SocketAddress(ipAddress: address, port: 1)) == claims, "\(address)")
        }
    }

    @Test("a request that goes round in a circle ends, whether or not its word counts")
    func loop() async throws {
        let hops = Array(repeating: "1.1 isobar", count: 9).joined(separator: ", ")
        let request = String.get(headers: "via: \(hops)\r\n")
        for trust in [ProxyListener.HopTrust.nobody, .everybody] {
            let text = try await self.answer(trust, request)
            #expect(text.contains("508") && text.contains("loop_detected"))
        }
    }
}
