import FleetModel
import NIOCore
import NIOPosix
import Testing

@testable import ReverseProxy

@Suite(.timeLimit(.minutes(1))) struct FailureTests {
    @Test func `an upstream that dies before its first byte is left for the next`() async throws {
        let (first, second) = (try await Upstream.start(), try await Upstream.start())
        try await ProxyWorld.with([first.address, second.address]) { world in
            let client = try await world.client()
            client.send(.post(body: "prompt"))
            let dying = try await first.connection(0)
            try await dying.receive("prompt")
            dying.close()
            let model = try await second.connection(0)
            try await model.receive("prompt")
            model.send(.ok)
            #expect(try await client.receive("\r\n\r\nok").contains("x-served-by: target-1"))
            #expect(world.director.record.value.failures == [.connectionClosed])
        }
        try await first.stop()
        try await second.stop()
    }

    @Test func `an upstream that dies in its answer leaves the client with a cut it can see`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await world.client()
            client.send(.get())
            let model = try await upstream.connection(0)
            try await model.serve("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
            try await client.receive("hello")
            model.close()
            let answer = try await client.receiveClose()
            #expect(!answer.contains("\r\n0\r\n\r\n"))
            let record = try await world.director.record.wait { !$0.terminal.isEmpty }
            guard case .cut(.connectionClosed, bytes: 5, _) = record.terminal[0] else {
                Issue.record("\(record.terminal)")
                return
            }
            #expect(world.proxy.counters.cuts == 1)
        }
        try await upstream.stop()
    }

    @Test func `a kept connection that turns out closed is no fault of the target's`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await world.client()
            client.send(.get("/1"))
            try await upstream.connection(0).serve()
            try await client.receive("\r\n\r\nok")
            client.send(.get("/2"))
            let stale = try await upstream.connection(0)
            try await stale.receive("GET /2")
            stale.close()
            let fresh = try await upstream.connection(1)
            #expect(try await fresh.receive("\r\n\r\n").hasPrefix("GET /2"))
            fresh.send(.ok)
            try await client.receive("\r\n\r\nok", times: 2)
            let record = try await world.director.record.wait { $0.terminal.count == 2 }
            #expect(record.failures.isEmpty)
            #expect(world.proxy.counters.staleConnections == 1)
        }
        try await upstream.stop()
    }

    @Test func `an answer of 502 is tried elsewhere, and the last one is passed on`() async throws {
        let (first, second) = (try await Upstream.start(), try await Upstream.start())
        try await ProxyWorld.with([first.address, second.address], settings: { $0.maxTries = 2 }) { world in
            let client = try await world.client()
            client.send(.get())
            let busy = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 4\r\n\r\nbusy"
            try await first.connection(0).serve(busy)
            try await second.connection(0).serve(busy)
            let answer = try await client.receive("\r\n\r\nbusy")
            #expect(answer.contains("x-served-by: target-1"))
            #expect(world.director.record.value.failures == [.status(502)])
        }
        try await first.stop()
        try await second.stop()
    }

    @Test func `an upstream that does not take the connection in time is left for the next`() async throws {
        // A full queue of connections that nobody accepts: the kernel drops what comes after.
        let full = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.autoRead, value: false)
            .serverChannelOption(.backlog, value: 1)
            .bind(host: "127.0.0.1", port: 0).get()
        let address = EndpointAddress(host: "127.0.0.1", port: full.localAddress?.port ?? 0)
        let queue = [try await Peer.connect(to: address), try await Peer.connect(to: address)]
        let second = try await Upstream.start()
        try await ProxyWorld.with([address, second.address], settings: { $0.connectTimeout = 0.2 }) { world in
            let client = try await world.client()
            client.send(.get())
            try await second.connection(0).serve()
            try await client.receive("\r\n\r\nok")
            #expect(world.director.record.value.failures == [.connectTimeout])
        }
        for peer in queue { peer.close() }
        try await full.close()
        try await second.stop()
    }

    @Test func `upstreams that say nothing in time are given up one after the other`() async throws {
        let (first, second) = (try await Upstream.start(), try await Upstream.start())
        try await ProxyWorld.with(
            [first.address, second.address],
            settings: {
                $0.responseTimeout = 0.05
                $0.maxTries = 2
            }
        ) { world in
            let client = try await world.client()
            client.send(.get())
            try await first.connection(0).receiveClose()
            try await second.connection(0).receiveClose()
            #expect(try await client.receive("}}").hasPrefix("HTTP/1.1 504 "))
            #expect(world.director.record.value.failures == [.responseTimeout, .responseTimeout])
        }
        try await first.stop()
        try await second.stop()
    }

    @Test func `an upstream that does not speak HTTP is left for the next`() async throws {
        let (strange, second) = (try await Upstream.start(), try await Upstream.start())
        try await ProxyWorld.with([strange.address, second.address]) { world in
            let client = try await world.client()
            client.send(.get())
            try await strange.connection(0).serve("SSH-2.0-OpenSSH_9.9\r\n")
            try await second.connection(0).serve()
            try await client.receive("\r\n\r\nok")
            #expect(world.director.record.value.failures == [.malformedResponse])
        }
        try await strange.stop()
        try await second.stop()
    }

    @Test func `when every target refuses the client learns it, and may ask again`() async throws {
        let dead = try (0..<8).map { _ in try DeadAddress() }
        try await ProxyWorld.with(dead.map(\.address)) { world in
            let client = try await world.client()
            client.send(.post(body: "prompt"))
            let answer = try await client.receive("}}")
            #expect(answer.hasPrefix("HTTP/1.1 502 Bad Gateway\r\n"))
            #expect(answer.contains(#""code":"upstream_unreachable""#))
            client.send(.get())
            try await client.receive("}}", times: 2)
        }
        withExtendedLifetime(dead) {}
    }

    @Test(arguments: [false, true])
    func `a client that goes away cancels its request upstream`(afterFirstByte: Bool) async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await world.client()
            client.send(.post(body: "prompt"))
            let model = try await upstream.connection(0)
            try await model.receive("prompt")
            if afterFirstByte {
                model.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
                try await client.receive("hello")
            }
            client.close()
            try await model.receiveClose()
            let record = try await world.director.record.wait { !$0.terminal.isEmpty }
            guard case .cancelled(bytes: afterFirstByte ? 5 : 0, _) = record.terminal[0] else {
                Issue.record("\(record.terminal)")
                return
            }
        }
        try await upstream.stop()
    }

    @Test func `a client that only ends its side has gone as well`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await world.client()
            client.send(.get())
            let model = try await upstream.connection(0)
            try await model.receive("\r\n\r\n")
            client.endOutput()
            try await model.receiveClose()
        }
        try await upstream.stop()
    }

    @Test func `a client that leaves at once leaves nothing in flight`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await world.client()
            client.send(.get("/1"))
            client.close()
            try await world.director.record.wait { $0.forwards == $0.terminal.count }
            let next = try await world.client()
            next.send(.get("/2"))
            try await world.director.record.wait { $0.outcomes.contains { $0.event == .sent } }
        }
        try await upstream.stop()
    }

    @Test func `a client that stops in the middle of its body is answered and let go`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address], settings: { $0.clientTimeout = 2 }) { world in
            let client = try await world.client()
            client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nhalf")
            let model = try await upstream.connection(0)
            try await model.receiveClose()
            #expect(try await client.receiveClose().hasPrefix("HTTP/1.1 408 "))
        }
        try await upstream.stop()
    }

    @Test func `a client that says nothing is let go`() async throws {
        try await ProxyWorld.with([], settings: { $0.clientTimeout = 2 }) { world in
            let client = try await world.client()
            #expect(try await client.receiveClose() == "")
        }
    }
}
