import FleetModel
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Testing

@testable import ReverseProxy

/// Two proxies in a row, of which the first calls the second over HTTP/2, and a model server behind them that a test
/// plays.
private struct Chain {
    let client: ProxyWorld
    let middle: ProxyServer
    let upstream: Upstream

    static func with(_ body: (Chain) async throws -> Void) async throws {
        let upstream = try await Upstream.start()
        var settings = ProxySettings()
        settings.drainTimeout = 0.05
        settings.connectTimeout = 30
        let bound = Watched<EndpointAddress?>(nil)
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let middle = ProxyServer(
            listeners: [ProxyListener(EndpointAddress(host: "127.0.0.1", port: 0))],
            director: ListDirector([upstream.address]),
            settings: settings,
            group: MultiThreadedEventLoopGroup.singleton,
            logger: logger,
            onListening: { address in bound.update { $0 = address } }
        )
        let lifecycle = ServiceGroup(services: [middle], logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await lifecycle.run() }
            let address = try #require(try await bound.wait { $0 != nil })
            let director = ListDirector([address], streaming: [address])
            try await ProxyWorld.with([], director: director) { world in
                try await body(Chain(client: world, middle: middle, upstream: upstream))
            }
            await lifecycle.triggerGracefulShutdown()
            try await group.waitForAll()
        }
        try await upstream.stop()
        #expect(middle.counters.requestsInFlight == 0 && middle.counters.streamsOpen == 0)
    }
}

@Suite("HTTP/2 to upstreams", .timeLimit(.minutes(3)))
struct HTTP2UpstreamTests {
    @Test("requests of HTTP/1.1 clients go over streams of one connection, with bodies, lengths and trailers")
    func requests() async throws {
        try await Chain.with { chain in
            let client = try await chain.client.client()
            for number in 1...3 {
                client.send(.post(body: "body \(number)"))
                let peer = try await chain.upstream.connection(0)
                let heard = try await peer.receive("body \(number)")
                #expect(heard.contains("content-length: 6\r\n") && heard.contains("via: 1.1 isobar, 1.1 isobar\r\n"))
                peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nsum: 1\r\n\r\n")
                let answer = try await client.receive("0\r\nsum: 1\r\n\r\n", times: number)
                #expect(answer.contains("transfer-encoding: chunked\r\n"))
            }
            #expect(chain.middle.counters.streams == 3 && chain.middle.counters.connectionsOpen == 1)
            client.send("HEAD / HTTP/1.1\r\nhost: test\r\n\r\n")
            let peer = try await chain.upstream.connection(0)
            try await peer.receive("HEAD / HTTP/1.1\r\n")
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n")
            try await client.receive("content-length: 99\r\n")
            client.close()
        }
    }

    @Test("a client that goes away resets its stream, which closes what is behind it, and the connection serves on")
    func cancellation() async throws {
        try await Chain.with { chain in
            let left = try await chain.client.client()
            left.send(.get("/left"))
            let peer = try await chain.upstream.connection(0)
            try await peer.receive("\r\n\r\n")
            left.close()
            try await peer.receiveClose()
            let next = try await chain.client.client()
            next.send(.get("/next"))
            try await chain.upstream.connection(1).serve()
            try await next.receive("\r\n\r\nok")
            next.close()
        }
    }

    @Test("an answer that is cut behind the stream is cut for the client, and one that never began is tried again")
    func cut() async throws {
        try await Chain.with { chain in
            let client = try await chain.client.client()
            client.send(.get())
            let peer = try await chain.upstream.connection(0)
            try await peer.receive("\r\n\r\n")
            peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")
            try await client.receive("half")
            peer.close()
            #expect(try await !client.receiveClose().contains("\r\n0\r\n\r\n"))
        }
    }

    @Test("a client that does not read holds back what is behind the stream, and no other stream")
    func slowReader() async throws {
        try await Chain.with { chain in
            let slow = try await chain.client.client()
            try await slow.setReading(false)
            slow.send(.get("/slow"))
            let peer = try await chain.upstream.connection(0)
            try await peer.receive("\r\n\r\n")
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: \(64 << 20)\r\n\r\n")
            peer.send(chunk: ByteBuffer(repeating: 0x61, count: 1 << 20), times: 64)
            let quick = try await chain.client.client()
            quick.send(.get("/quick"))
            try await chain.upstream.connection(1).serve()
            try await quick.receive("\r\n\r\nok")
            #expect(peer.state.value.bytesSent < 48 << 20)
            slow.close()
            try await peer.receiveClose()
            quick.close()
        }
    }

    @Test("an upstream without HTTP/2 fails the try")
    func noHTTP2() async throws {
        let upstream = try await Upstream.start()
        let director = ListDirector([upstream.address], streaming: [upstream.address])
        try await ProxyWorld.with([], director: director) { world in
            let client = try await world.client()
            client.send(.get())
            let peer = try await upstream.connection(0)
            try await peer.receive("PRI * HTTP/2.0")
            peer.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            peer.close()
            #expect(try await client.receive("no_endpoint").hasPrefix("HTTP/1.1 503 "))
            client.close()
        }
        try await upstream.stop()
    }
}
