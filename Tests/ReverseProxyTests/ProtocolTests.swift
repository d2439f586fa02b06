import FleetModel
import NIOCore
import Testing

@testable import ReverseProxy

@Suite(.timeLimit(.minutes(1))) struct ProtocolTests {
    @Test func `an answer that comes before the body is read is passed on, and the connection stays`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await world.client()
            let size = 400_000
            client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: \(size)\r\n\r\n")
            client.send(String(repeating: "x", count: size / 2))
            let model = try await upstream.connection(0)
            try await model.receive("\r\n\r\nx")
            model.send("HTTP/1.1 413 Payload Too Large\r\ncontent-length: 3\r\n\r\nbig")
            try await client.receive("\r\n\r\nbig")
            try await model.receiveClose()
            client.send(String(repeating: "x", count: size / 2) + .get("/next"))
            try await upstream.connection(1).serve()
            try await client.receive("\r\n\r\nok")
        }
        try await upstream.stop()
    }

    @Test func `a body that nobody wants is read only so far`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([], settings: { $0.discardLimit = 100_000 }) { world in
            let client = try await world.client()
            client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 50000000\r\n\r\n")
            try await client.receive("nobody is left")
            client.send(String(repeating: "x", count: 400_000))
            try await client.receiveClose()
        }
        try await upstream.stop()
    }

    @Test func `pipelined requests are served one at a time and in order`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await world.client()
            client.send((1...3).map { .get("/\($0)") }.joined())
            let model = try await upstream.connection(0)
            for number in 1...3 {
                let seen = try await model.receive("\r\n\r\n", times: number)
                #expect(seen.ranges(of: "GET /").count == number)
                model.send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n\(number)")
                try await client.receive("\r\n\r\n\(number)")
            }
            #expect(upstream.connections == 1)
        }
        try await upstream.stop()
    }

    @Test func `an answer that comes byte by byte arrives`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await world.client()
            client.send(.get())
            let model = try await upstream.connection(0)
            try await model.receive("\r\n\r\n")
            for byte in String.ok.utf8 {
                try await model.channel.writeAndFlush(ByteBuffer(bytes: [byte])).get()
                // Twice around every event loop: the byte was read alone.
                for _ in 0..<2 { _ = try await world.countersAtRest() }
            }
            try await client.receive("\r\n\r\nok")
        }
        try await upstream.stop()
    }

    @Test func `an answer whose head is too long is no answer`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await world.client()
            client.send(.get())
            try await upstream.connection(0)
                .serve("HTTP/1.1 200 OK\r\nlong: " + String(repeating: "x", count: 1_000_000) + "\r\n\r\n")
            try await client.receive("nobody is left")
            #expect(world.director.record.value.failures == [.malformedResponse])
        }
        try await upstream.stop()
    }

    @Test func `an answer that nobody asked for does not reach the next request`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await world.client()
            client.send(.get("/1") + .get("/2"))
            let liar = try await upstream.connection(0)
            try await liar.serve(.ok + "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
            try await client.receive("\r\n\r\nok")
            let model = try await upstream.connection(1)
            try await model.receive("GET /2")
            model.send(.ok)
            #expect(try await !client.receive("\r\n\r\nok", times: 2).contains("poison"))
        }
        try await upstream.stop()
    }

    @Test func `thousands of pipelined requests that are answered here keep their order and the stack flat`()
        async throws
    {
        try await ProxyWorld.with([]) { world in
            let client = try await world.client()
            let count = 3_000
            client.send(String(repeating: .get(), count: count - 1) + .get(headers: "connection: close\r\n"))
            try await client.receiveClose()
            #expect(world.proxy.counters.requests == count)
        }
    }

    @Test func `a request that is broken behind a good one is refused after the good one's answer`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await world.client()
            client.send(.get("/good") + "nonsense\r\n\r\n")
            try await upstream.connection(0).serve()
            let answers = try await client.receiveClose()
            let (good, bad) = (answers.firstRange(of: "\r\n\r\nok"), answers.firstRange(of: "HTTP/1.1 400 "))
            #expect(try #require(good).upperBound <= #require(bad).lowerBound)
        }
        try await upstream.stop()
    }

    @Test func `a client that waits to continue sends its body when a target is chosen`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await world.client()
            client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 6\r\nexpect: 100-continue\r\n\r\n")
            try await client.receive("HTTP/1.1 100 Continue\r\n\r\n")
            client.send("prompt")
            let model = try await upstream.connection(0)
            #expect(try await !model.receive("prompt").contains("expect"))
            model.send(.ok)
            try await client.receive("\r\n\r\nok")
        }
        try await upstream.stop()
    }

    @Test func `an answer without a length to a client of HTTP 1.0 ends with the connection`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await world.client()
            client.send("GET / HTTP/1.0\r\n\r\n")
            let model = try await upstream.connection(0)
            try await model.serve("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
            let answer = try await client.receiveClose()
            #expect(answer.hasPrefix("HTTP/1.0 200 OK\r\n"))
            #expect(answer.hasSuffix("\r\n\r\nhello"))
        }
        try await upstream.stop()
    }

    @Test func `an answer that ends with the upstream's connection becomes chunks`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await world.client()
            client.send(.get())
            let model = try await upstream.connection(0)
            try await model.serve("HTTP/1.0 200 OK\r\n\r\nhello")
            try await client.receive("5\r\nhello\r\n")
            model.close()
            try await client.receive("\r\n0\r\n\r\n")
            client.send(.get())
            try await upstream.connection(1).serve()
            try await client.receive("\r\n\r\nok")
        }
        try await upstream.stop()
    }

    @Test func `answers without a body leave the connections in step`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await world.client()
            let model = try await upstream.connectionAfter { client.send("HEAD / HTTP/1.1\r\nhost: test\r\n\r\n") }
            try await model.serve("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", request: 1)
            try await client.receive("\r\n\r\n", times: 1)
            client.send(.get("/2"))
            try await model.serve("HTTP/1.1 204 No Content\r\n\r\n", request: 2)
            try await client.receive("\r\n\r\n", times: 2)
            client.send(.get("/3"))
            try await model.serve("HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", request: 3)
            try await client.receive("\r\n\r\n", times: 3)
            client.send(.get("/4"))
            try await model.serve(request: 4)
            let answers = try await client.receive("\r\n\r\nok")
            #expect(answers.ranges(of: "\r\n\r\n").count == 4)
            #expect(upstream.connections == 1)
        }
        try await upstream.stop()
    }

    @Test func `a body that turns out too long is refused, also when a target has a part of it`() async throws {
        let upstream = try await Upstream.start()
        let size = 100_000
        try await ProxyWorld.with([upstream.address], settings: { $0.bodyLimit = size }) { world in
            let client = try await world.client()
            client.send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
            try await upstream.connection(0).receive("abc")
            client.send(String(size, radix: 16) + "\r\n" + String(repeating: "x", count: size) + "\r\n")
            let answer = try await client.receiveClose()
            #expect(answer.hasPrefix("HTTP/1.1 413 "), "\(answer)")
            try await upstream.connection(0).receiveClose()
        }
        try await upstream.stop()
    }

    enum Nuisance: String, CaseIterable {
        case lengthAndChunks = "POST / HTTP/1.1\nhost: t\ncontent-length: 3\ntransfer-encoding: chunked\n\n0\n\n"
        case twoLengths = "POST / HTTP/1.1\nhost: t\ncontent-length: 3\ncontent-length: 4\n\nabcd"
        case noHost = "GET / HTTP/1.1\n\n"
        case version = "GET / HTTP/2.0\nhost: t\n\n"
        case nonsense = "nonsense\n\n"
        case connect = "CONNECT test:443 HTTP/1.1\nhost: test\n\n"
        case upgrade = "GET / HTTP/1.1\nhost: t\nupgrade: websocket\nconnection: upgrade\n\n"
        case headers = "GET / HTTP/1.1\nhost: t\nbig: BIG\n\n"
        case body = "POST / HTTP/1.1\nhost: t\ncontent-length: 99999999999\n\nx"

        var bytes: String {
            self.rawValue.replacing("\n", with: "\r\n").replacing("BIG", with: String(repeating: "x", count: 70_000))
        }

        var status: Int {
            switch self {
            case .connect, .upgrade: 501
            case .headers: 431
            case .body: 413
            default: 400
            }
        }
    }

    @Test(arguments: Nuisance.allCases)
    func `what cannot be proxied is refused, and the connection closed`(nuisance: Nuisance) async throws {
        try await ProxyWorld.with([]) { world in
            let client = try await world.client()
            client.send(nuisance.bytes)
            let answer = try await client.receiveClose()
            #expect(answer.hasPrefix("HTTP/1.1 \(nuisance.status) "), "\(answer)")
            #expect(answer.ranges(of: "HTTP/1.1").count == 1)
            #expect(world.proxy.counters.requestsRefused == 1)
        }
    }
}

extension Upstream {
    /// The first connection, made by what the body does.
    func connectionAfter(_ body: () -> Void) async throws -> Peer {
        body()
        return try await self.connection(0)
    }
}
