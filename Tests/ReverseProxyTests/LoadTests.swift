import FleetModel
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Testing

@testable import ReverseProxy

@Suite(.timeLimit(.minutes(1))) struct LoadTests {
    @Test func `a prompt of a megabyte is carried whole, also to the second target`() async throws {
        let dead = try DeadAddress()
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([dead.address, upstream.address]) { world in
            let client = try await world.client()
            let size = 1 << 20
            client.send(.post(body: String(repeating: "p", count: size - 1) + "!"))
            let model = try await upstream.connection(0)
            let seen = try await model.state.wait { $0.bytes >= size }
            #expect(seen.bytes < size + 1_000)
            model.send(.ok)
            try await client.receive("\r\n\r\nok")
        }
        withExtendedLifetime(dead) {}
        try await upstream.stop()
    }

    @Test func `a client that does not read stops the upstream, and nothing is lost`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await world.client()
            client.send(.get())
            let model = try await upstream.connection(0)
            try await model.receive("\r\n\r\n")
            try await client.setReading(false)
            let chunk = ByteBuffer(repeating: UInt8(ascii: "x"), count: 1 << 20)
            let size = 64 << 20
            model.send("HTTP/1.1 200 OK\r\ncontent-length: \(size)\r\n\r\n")
            model.send(chunk: chunk, times: 64)
            let most = try await world.mostBuffered(while: model)
            #expect(most > 0)
            #expect(most < 1 << 20, "\(most) bytes are buffered")
            #expect(model.state.value.bytesSent < size)
            try await client.setReading(true)
            try await client.state.wait { $0.bytes > size }
        }
        try await upstream.stop()
    }

    @Test func `an upstream that does not read stops the client, and nothing is lost`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await world.client()
            let size = 64 << 20
            client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: \(size)\r\n\r\n")
            let model = try await upstream.connection(0)
            try await model.setReading(false)
            client.send(chunk: ByteBuffer(repeating: UInt8(ascii: "x"), count: 1 << 20), times: 64)
            let most = try await world.mostBuffered(while: client)
            #expect(most < 2 << 20, "\(most) bytes are buffered")
            #expect(client.state.value.bytesSent < size)
            try await model.setReading(true)
            try await model.state.wait { $0.bytes > size }
            model.send(.ok)
            try await client.receive("\r\n\r\nok")
        }
        try await upstream.stop()
    }

    @Test func `a hundred streams run side by side`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            var clients: [Peer] = []
            for number in 0..<100 {
                let client = try await world.client()
                client.send(.get("/\(number)"))
                clients.append(client)
                try await upstream.connection(number).serve(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
                )
            }
            #expect(world.proxy.counters.requestsInFlight == 100)
            for round in 1...3 {
                for number in 0..<100 { try await upstream.connection(number).send("2\r\n\(round)\n\r\n") }
                for client in clients { try await client.receive("\(round)\n") }
            }
            for number in 0..<100 { try await upstream.connection(number).send("0\r\n\r\n") }
            for client in clients { try await client.receive("0\r\n\r\n") }
            try await world.director.record.wait { $0.terminal.count == 100 }
            let counters = try await world.countersAtRest()
            #expect(counters.upstreamIdle == counters.upstreamOpen)
        }
        try await upstream.stop()
    }

    @Test func `a client beyond the limit is turned away`() async throws {
        let loops = Array(MultiThreadedEventLoopGroup.singleton.makeIterator()).count
        try await ProxyWorld.with([], settings: { $0.maxConnections = loops }) { world in
            var clients: [Peer] = []
            while world.proxy.counters.connectionsRefused == 0 {
                let client = try await world.client()
                client.send(.get())
                clients.append(client)
                try await client.state.wait { $0.text.contains("nobody is left") || $0.isClosed }
            }
            #expect(clients.count > 1)
            #expect(world.proxy.counters.connectionsOpen <= loops)
        }
    }

    @Test func `a graceful shutdown lets an answer end and refuses what comes after`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address], settings: { $0.drainTimeout = 30 }) { world in
            let idle = try await world.client()
            let client = try await world.client()
            client.send(.get())
            let model = try await upstream.connection(0)
            try await model.serve("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
            try await client.receive("hello")
            await world.lifecycle.triggerGracefulShutdown()
            try await idle.receiveClose()
            await #expect(throws: (any Error).self) { try await world.client() }
            model.send("5\r\nworld\r\n0\r\n\r\n")
            #expect(try await client.receiveClose().hasSuffix("world\r\n0\r\n\r\n"))
        }
        try await upstream.stop()
    }

    @Test func `a shutdown waits only so long`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await world.client()
            client.send(.get())
            let model = try await upstream.connection(0)
            try await model.serve("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
            try await client.receive("hello")
            await world.lifecycle.triggerGracefulShutdown()
            try await client.receiveClose()
            try await model.receiveClose()
            #expect(try await world.countersAtRest().cancellations == 1)
        }
        try await upstream.stop()
    }

    @Test func `a port that is taken is said so, with what to do`() async throws {
        let upstream = try await Upstream.start()
        let proxy = ProxyServer(
            listeners: [ProxyListener(EndpointAddress(host: "127.0.0.1", port: upstream.address.port))],
            director: ListDirector([]),
            group: MultiThreadedEventLoopGroup.singleton,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        )
        let error = await #expect(throws: ProxyBindError.self) { try await proxy.run() }
        let text = try #require(error).description
        #expect(text.contains("\(upstream.address)"))
        #expect(text.contains("in use"))
        #expect(text.contains("choose another address"))
        try await upstream.stop()
    }
}

extension ProxyWorld {
    /// The most that the proxy held back while a sender went on until it was stopped: until its count of bytes has
    /// not moved for many looks.
    func mostBuffered(while sender: Peer) async throws -> Int {
        var most = 0
        var (sent, looks) = (0, 0)
        while looks < 200 {
            most = max(most, try await self.proxy.bufferedBytes())
            let now = sender.state.value.bytesSent
            looks = now == sent && most > 0 ? looks + 1 : 0
            sent = now
        }
        return most
    }
}
