import FleetModel
import NIOCore
import NIOHPACK
import NIOHTTP2
import ServiceLifecycle
import Testing

@testable import ReverseProxy

@Suite("HTTP/2 of clients", .timeLimit(.minutes(3)))
struct HTTP2Tests {
    @Test("requests of one connection run side by side, each on an upstream connection of its own")
    func sideBySide() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await StreamPeer.connect(to: world.address)
            let first = try await client.request("GET", "/first")
            let slow = try await upstream.connection(0)
            try await slow.receive("GET /first HTTP/1.1\r\n")
            let second = try await client.request("POST", "/second", headers: [("content-length", "4")], ends: false)
            second.send("ping", ends: true)
            let quick = try await upstream.connection(1)
            let heard = try await quick.receive("\r\n\r\nping")
            #expect(heard.contains("content-length: 4\r\n") && heard.contains("host: test\r\n"))
            #expect(heard.contains("via: 1.1 isobar\r\n") && heard.contains("x-forwarded-for: 127.0.0.1\r\n"))
            quick.send(.ok)
            let answer = try await second.whole()
            #expect(answer.status == "200" && answer.body == "ok")
            #expect(answer.heads[0].first(name: "x-served-by") == "target-0")
            #expect(!first.state.value.isWhole)
            slow.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
            let late = try await first.whole()
            #expect(late.body == "hello" && late.reset == nil)
            #expect(!late.heads[0].contains(name: "transfer-encoding") && !late.heads[0].contains(name: "connection"))
            client.close()
        }
        try await upstream.stop()
    }

    @Test("HTTP/1.1 and HTTP/2 share a port: the first bytes tell")
    func onePort() async throws {
        try await ProxyWorld.with([], director: AnsweringDirector()) { world in
            let old = try await world.client()
            // A piece at a time, and the first one could begin a preface.
            for piece in String.post(body: "hi") { old.send(String(piece)) }
            try await old.receive("hops 0.")
            let client = try await StreamPeer.connect(to: world.address)
            #expect(try await client.request().whole().body == "hops 0.")
            let counters = try await world.countersAtRest()
            #expect(counters.streams == 1 && counters.connectionsOpen == 2)
            client.close()
            old.close()
        }
    }

    @Test("requests one after the other on one connection use the upstream connection that is kept")
    func keptUpstream() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await StreamPeer.connect(to: world.address)
            for number in 1...5 {
                let call = try await client.request("POST", "/", headers: [("content-length", "6")], ends: false)
                call.send("body \(number)", ends: true)
                let peer = try await upstream.connection(0)
                try await peer.receive("body \(number)")
                peer.send(.ok)
                #expect(try await call.whole().body == "ok")
            }
            #expect(upstream.connections == 1)
            client.close()
        }
        try await upstream.stop()
    }

    @Test("a body without a length goes upstream in chunks, whatever the method, and is never taken for a request")
    func unframedBody() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await StreamPeer.connect(to: world.address)
            let call = try await client.request("GET", "/", ends: false)
            call.send("GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n", ends: true)
            let peer = try await upstream.connection(0)
            let heard = try await peer.receive("0\r\n\r\n")
            #expect(heard.contains("transfer-encoding: chunked\r\n"))
            #expect(heard.contains("\r\n\r\n23\r\nGET /smuggled"))
            peer.send(.ok)
            #expect(try await call.whole().status == "200")
            client.close()
        }
        try await upstream.stop()
    }

    @Test("trailers pass both ways, as gRPC needs them; those that frame a message do not")
    func trailers() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await StreamPeer.connect(to: world.address)
            let call = try await client.request("POST", "/", headers: [("te", "trailers")], ends: false)
            call.send("x")
            call.end(trailers: [("checksum", "7"), ("content-length", "99")])
            let peer = try await upstream.connection(0)
            let heard = try await peer.receive("0\r\nchecksum: 7\r\n\r\n")
            #expect(!heard.contains("99"))
            peer.send(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\ny\r\n0\r\ngrpc-status: 0\r\n\r\n"
            )
            let answer = try await call.whole()
            #expect(answer.body == "y" && answer.trailers?.first(name: "grpc-status") == "0")
            client.close()
        }
        try await upstream.stop()
    }

    @Test("a stream that its client resets closes the upstream at once, and its neighbours go on")
    func cancellation() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await StreamPeer.connect(to: world.address)
            let left = try await client.request("GET", "/left")
            try await upstream.connection(0).receive("\r\n\r\n")
            let kept = try await client.request("GET", "/kept")
            try await upstream.connection(1).receive("\r\n\r\n")
            left.reset()
            try await upstream.connection(0).receiveClose()
            try await upstream.connection(1).send(.ok)
            #expect(try await kept.whole().body == "ok")
            #expect(try await world.countersAtRest().cancellations == 1)
            client.close()
        }
        try await upstream.stop()
    }

    @Test("an upstream that dies in the middle of its answer resets the stream, and nothing else")
    func cut() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await StreamPeer.connect(to: world.address)
            let call = try await client.request()
            let peer = try await upstream.connection(0)
            try await peer.receive("\r\n\r\n")
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
            try await call.state.wait { $0.body == "half" }
            peer.close()
            let end = try await call.closed()
            #expect(end.reset == .internalError && !end.isWhole)
            let next = try await client.request()
            try await upstream.connection(1).serve()
            #expect(try await next.whole().body == "ok")
            client.close()
        }
        try await upstream.stop()
    }

    @Test("an answer before the end of the request is whole, and the rest of the request is not asked for")
    func earlyAnswer() async throws {
        try await ProxyWorld.with([]) { world in
            let client = try await StreamPeer.connect(to: world.address)
            let call = try await client.request("POST", "/", ends: false)
            let end = try await call.closed()
            #expect(end.isWhole && end.status == "503")
            #expect(end.reset == nil || end.reset == .noError)
            client.close()
        }
    }

    @Test("a slow reader of one stream holds back its upstream and no other stream")
    func slowReader() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await StreamPeer.connect(to: world.address)
            let slow = try await client.request("GET", "/slow", reads: false)
            let peer = try await upstream.connection(0)
            try await peer.receive("\r\n\r\n")
            let chunk = ByteBuffer(repeating: 0x61, count: 1 << 20)
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: \(64 << 20)\r\n\r\n")
            peer.send(chunk: chunk, times: 64)
            // The kernel's buffers take some megabytes; the rest stays with the upstream.
            let quick = try await client.request("GET", "/quick")
            try await upstream.connection(1).serve()
            #expect(try await quick.whole().body == "ok")
            #expect(try await world.proxy.bufferedBytes() < 2 << 20)
            #expect(peer.state.value.bytesSent < 48 << 20)
            slow.reset()
            try await peer.receiveClose()
            client.close()
        }
        try await upstream.stop()
    }

    @Test("a client that sends faster than the upstream reads is held back by its window")
    func slowUpstream() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await StreamPeer.connect(to: world.address)
            let call = try await client.request("POST", "/", headers: [("content-length", "\(64 << 20)")], ends: false)
            let peer = try await upstream.connection(0)
            try await peer.setReading(false)
            let sent = Watched(0)
            let chunk = ByteBuffer(repeating: 0x61, count: 1 << 20)
            for _ in 0..<64 {
                let data = HTTP2Frame.FramePayload.data(.init(data: .byteBuffer(chunk)))
                call.channel.writeAndFlush(data).whenSuccess { sent.update { $0 += 1 } }
            }
            let quick = try await client.request("GET", "/quick")
            try await upstream.connection(1).serve()
            #expect(try await quick.whole().body == "ok")
            #expect(sent.value < 48)
            #expect(try await world.proxy.bufferedBytes() < 8 << 20)
            try await peer.setReading(true)
            try await sent.wait { $0 == 64 }
            peer.send(.ok)
            #expect(try await call.whole().status == "200")
            client.close()
        }
        try await upstream.stop()
    }

    @Test("at a shutdown the client is told by GOAWAY, and what is in flight is finished")
    func drain() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address], settings: { $0.drainTimeout = 60 }) { world in
            let client = try await StreamPeer.connect(to: world.address)
            let call = try await client.request()
            let peer = try await upstream.connection(0)
            try await peer.receive("\r\n\r\n")
            await world.lifecycle.triggerGracefulShutdown()
            try await client.state.wait { $0.goAway == .noError }
            peer.send(.ok)
            #expect(try await call.whole().body == "ok")
            try await client.state.wait { $0.isClosed }
        }
        try await upstream.stop()
    }

    @Test(
        "what could split the message that goes upstream is refused",
        arguments: [
            [("x-a", "b\r\nx-evil: 1")], [("x-a", "b\0")], [("x a", "b")], [(":path", "/ HTTP/1.1")], [(":path", "*x")],
            [(":method", "GET /evil HTTP/1.1")], [("host", "other")],
        ]
    )
    func splitting(_ headers: [(String, String)]) throws {
        var block = HPACKHeaders([(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "test")])
        for (name, value) in headers {
            block.replaceOrAdd(name: name, value: value)
        }
        #expect(throws: Refusal.self) { try StreamReader.head(block, isWhole: true) }
    }

    @Test("cookies that came apart go upstream as one, and a POST without a body says so")
    func headShape() throws {
        let block = HPACKHeaders([
            (":method", "POST"), (":path", "/a?b"), (":scheme", "http"), (":authority", "test"), ("cookie", "a=1"),
            ("cookie", "b=2"),
        ])
        let head = try StreamReader.head(block, isWhole: true)
        #expect(head.uri == "/a?b" && head.headers.first(name: "cookie") == "a=1; b=2")
        #expect(head.headers.first(.contentLength) == "0" && head.headers.first(.host) == "test")
    }

    @Test("a connection without a stream is closed after a while, with or without its first request, or half a preface")
    func idle() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address], settings: { $0.clientTimeout = 0.5 }) { world in
            let silent = try await StreamPeer.connect(to: world.address)
            let half = try await Peer.connect(to: world.address)
            half.send("PRI * HT")
            let served = try await StreamPeer.connect(to: world.address)
            let call = try await served.request()
            try await upstream.connection(0).serve()
            #expect(try await call.whole().body == "ok")
            try await half.receiveClose()
            for peer in [silent, served] {
                let end = try await peer.state.wait { $0.isClosed }
                #expect(end.goAway == .noError)
            }
        }
        try await upstream.stop()
    }

    // MARK: Floods

    @Test("a client that measures bandwidth by PING, as gRPC for Go does, keeps its connection")
    func manyPings() async throws {
        let upstream = try await Upstream.start()
        try await ProxyWorld.with([upstream.address]) { world in
            let client = try await StreamPeer.connect(to: world.address)
            for count in 0..<1_000 { client.send(.ping(HTTP2PingData(withInteger: UInt64(count)), ack: false)) }
            let call = try await client.request()
            try await upstream.connection(0).serve()
            #expect(try await call.whole().body == "ok")
            client.close()
        }
        try await upstream.stop()
    }

    @Test("a flood of PING, of resets or of header blocks without an end closes the connection and is counted")
    func floods() async throws {
        let upstream = try await Upstream.start()
        let settings: (inout ProxySettings) -> Void = {
            $0.http2.maxControlFrames = 50
            $0.http2.maxResets = 50
        }
        try await ProxyWorld.with([upstream.address], settings: settings) { world in
            let pings = try await StreamPeer.connect(to: world.address)
            for count in 0..<100 { pings.send(.ping(HTTP2PingData(withInteger: UInt64(count)), ack: false)) }
            try await pings.state.wait { $0.isClosed }

            let resets = try await StreamPeer.connect(to: world.address)
            for _ in 0..<100 where resets.channel.isActive {
                let call = try? await resets.request("POST", "/", ends: false)
                call?.reset()
            }
            try await resets.state.wait { $0.isClosed }

            let endless = try await Peer.connect(to: world.address)
            endless.send(Frames.preface)
            endless.send(bytes: Frames.headers(stream: 1, isWhole: false))
            for _ in 0..<200 { endless.send(bytes: Frames.continuation(stream: 1)) }
            try await endless.receiveClose()

            let counters = try await world.countersAtRest()
            #expect(counters.http2Faults == 3)
            #expect(counters.streamsOpen == 0)
        }
        try await upstream.stop()
    }
}

/// Frames as raw bytes (RFC 9113 §4.1), for what no client library would send.
enum Frames {
    static let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    private static func frame(type: UInt8, flags: UInt8, stream: UInt32, _ payload: [UInt8]) -> ByteBuffer {
        var bytes = ByteBuffer()
        bytes.writeInteger(UInt32(payload.count) << 8 | UInt32(type))
        bytes.writeInteger(flags)
        bytes.writeInteger(stream)
        bytes.writeBytes(payload)
        return bytes
    }

    static let settings = Self.frame(type: 4, flags: 0, stream: 0, [])

    /// `:method: GET`, `:scheme: http`, `:path: /` of the static table.
    static func headers(stream: UInt32, isWhole: Bool) -> ByteBuffer {
        var bytes = Self.settings
        bytes.writeImmutableBuffer(Self.frame(type: 1, flags: isWhole ? 5 : 1, stream: stream, [0x82, 0x86, 0x84]))
        return bytes
    }

    static func continuation(stream: UInt32) -> ByteBuffer {
        Self.frame(type: 9, flags: 0, stream: stream, [0x00, 0x01, 0x61, 0x01, 0x62])
    }
}
