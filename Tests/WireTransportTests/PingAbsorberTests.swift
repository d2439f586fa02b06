import FleetModel
import NIOCore
import NIOEmbedded
import NIOPosix
import Synchronization
import TestKit
import Testing

@testable import WireTransport

@Suite("PINGs of peers in Go")
struct PingAbsorberTests {
    private static func frame(type: UInt8, flags: UInt8 = 0, _ payload: [UInt8]) -> [UInt8] {
        [0, 0, UInt8(payload.count), type, flags, 0, 0, 0, 0] + payload
    }

    private static let ping = Self.frame(type: 6, [1, 2, 3, 4, 5, 6, 7, 8])
    private static let answer = Self.frame(type: 6, flags: 1, [1, 2, 3, 4, 5, 6, 7, 8])
    /// SETTINGS, DATA that looks like a PING inside, an empty DATA, and the answer to a PING of ours.
    private static let others = [
        Self.frame(type: 4, [0, 3, 0, 0, 0, 100]), Self.frame(type: 0, Self.ping), Self.frame(type: 0, []), Self.answer,
    ]

    @Test("are answered and hidden, however the bytes are cut; all else passes to the letter")
    func absorbed() throws {
        let stream = Self.ping + Self.others[0] + Self.others[1] + Self.ping + Self.others[2] + Self.others[3]
        for cut in 1...stream.count {
            let channel = EmbeddedChannel(handler: PingAbsorber())
            var passed: [UInt8] = []
            var answers: [UInt8] = []
            for start in stride(from: 0, to: stream.count, by: cut) {
                try channel.writeInbound(ByteBuffer(bytes: stream[start..<min(start + cut, stream.count)]))
                while let part = try channel.readInbound(as: ByteBuffer.self) { passed += part.readableBytesView }
                while let part = try channel.readOutbound(as: ByteBuffer.self) { answers += part.readableBytesView }
            }
            #expect(passed == Self.others.flatMap(\.self), "cut at \(cut)")
            #expect(answers == Self.answer + Self.answer, "cut at \(cut)")
        }
    }

    @Test("do not cost a client its connection to a server of ours", .timeLimit(.minutes(1)))
    func server() async throws {
        let bound = Mutex<EndpointAddress?>(nil)
        let server = try WireServer(
            listen: EndpointAddress(host: "127.0.0.1", port: 0),
            services: [],
            onListening: { address in bound.withLock { $0 = address } }
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            defer { group.cancelAll() }
            let address = try await eventually("it listens") { bound.withLock { $0 } }
            let client = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connect(host: address.host, port: address.port) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                    }
                }
            // More than swift-nio-http2 takes in 30 s.
            let pings = 300
            try await client.executeThenClose { inbound, outbound in
                let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + Self.frame(type: 4, [])
                try await outbound.write(ByteBuffer(bytes: preface))
                for _ in 0..<pings { try await outbound.write(ByteBuffer(bytes: Self.ping)) }
                var heard: [UInt8] = []
                for try await part in inbound {
                    heard += part.readableBytesView
                    // Its own SETTINGS and what it says of the client's come before them.
                    if heard.suffix(Self.answer.count) == Self.answer[...], heard.count >= pings * Self.answer.count {
                        break
                    }
                }
                #expect(heard.count >= pings * Self.answer.count, "the connection was dropped")
            }
        }
    }

    @Test("are left to the HTTP/2 handler when there are far too many")
    func flood() throws {
        var now = NIODeadline.uptimeNanoseconds(1)
        let channel = EmbeddedChannel(handler: PingAbsorber { now })
        let many = [[UInt8]](repeating: Self.ping, count: PingAbsorber.pingsMax + 3).flatMap(\.self)
        try channel.writeInbound(ByteBuffer(bytes: many))
        #expect(try channel.readInbound(as: ByteBuffer.self)?.readableBytes == 3 * Self.ping.count)
        now = now + PingAbsorber.window + .nanoseconds(1)
        try channel.writeInbound(ByteBuffer(bytes: Self.ping))
        #expect(try channel.readInbound(as: ByteBuffer.self) == nil)
    }
}
