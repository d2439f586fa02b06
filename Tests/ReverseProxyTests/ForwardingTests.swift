import FleetModel
import Testing

@testable import ReverseProxy

@Suite(.timeLimit(.minutes(1))) struct ForwardingTests {
    @Test func `a request reaches the upstream and its answer comes back`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await world.client()
            client.send(.post(headers: "te: trailers\r\nconnection: te\r\n", body: #"{"model":"llama"}"#))
            let model = try await upstream.connection(0)
            let request = try await model.receive(#"{"model":"llama"}"#)
            #expect(request.hasPrefix("POST /v1/chat/completions HTTP/1.1\r\n"))
            #expect(request.contains("via: 1.1 isobar\r\n"))
            #expect(request.contains("x-forwarded-for: 127.0.0.1\r\n"))
            #expect(!request.contains("te: trailers"))
            #expect(!request.contains("connection:"))

            model.send("HTTP/1.1 200 OK\r\nconnection: x-private\r\nx-private: 1\r\ncontent-length: 2\r\n\r\nok")
            let answer = try await client.receive("\r\n\r\nok")
            #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(answer.contains("x-served-by: target-0\r\n"))
            #expect(!answer.contains("x-private"))
            let record = try await world.director.record.wait { $0.terminal.count == 1 }
            guard case .completed(status: 200, bytes: 2, _) = record.terminal[0] else {
                Issue.record("\(record.terminal)")
                return
            }
        }
        try await upstream.stop()
    }

    @Test func `events of a stream are passed on as they arrive`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await world.client()
            client.send(.get())
            let model = try await upstream.connection(0)
            try await model.serve(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            for event in 1...5 {
                model.send("9\r\ndata: \(event)\n\n\r\n")
                try await client.receive("data: \(event)\n\n")
            }
            model.send("0\r\n\r\n")
            try await client.receive("\r\n0\r\n\r\n")
        }
        try await upstream.stop()
    }

    @Test func `a kept connection carries the next request`() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await world.client()
            for number in 1...3 {
                client.send(.get("/\(number)"))
                try await upstream.connection(0).serve(request: number)
                try await client.receive("\r\n\r\nok", times: number)
            }
            try await world.director.record.wait { $0.terminal.count == 3 }
            #expect(upstream.connections == 1)
            #expect(try await world.countersAtRest().upstreamIdle == 1)
        }
        try await upstream.stop()
    }

    @Test func `a target that refuses is left for the next`() async throws {
        let dead = try DeadAddress()
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([dead.address, upstream.address]) { world in
            let client = try await world.client()
            client.send(.post(body: "hello"))
            let model = try await upstream.connection(0)
            try await model.receive("hello")
            model.send(.ok)
            #expect(try await client.receive("\r\n\r\nok").contains("x-served-by: target-1"))
            #expect(world.director.record.value.failures == [.connectionRefused])
            #expect(world.proxy.counters.retries == 1)
        }
        withExtendedLifetime(dead) {}
        try await upstream.stop()
    }
}
