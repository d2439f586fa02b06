import FleetModel
import NIOCore
import NIOPosix
import Synchronization
import Testing

/// What a raw server saw, for the test to look at.
final class RawServerLog: Sendable {
    private let counts = Mutex((connections: 0, requests: 0))

    var connections: Int { self.counts.withLock { $0.connections } }
    var requests: Int { self.counts.withLock { $0.requests } }

    func connected() { self.counts.withLock { $0.connections += 1 } }
    func asked() { self.counts.withLock { $0.requests += 1 } }
}

/// The answering side of one connection.
struct RawAnswer {
    let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>

    func write(_ text: String) async throws { try await self.write(ByteBuffer(string: text)) }

    func write(_ bytes: ByteBuffer) async throws { try await self.outbound.write(bytes) }

    func page(_ body: String, status: String = "200 OK") async throws {
        try await self.write("HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
    }
}

/// Runs a TCP server on a free port of the loopback while `body` runs.
///
/// For every request head that comes in, `answer` writes what it likes; when it throws, the connection is
/// closed.
func withRawServer(
    _ answer: @escaping @Sendable (RawAnswer) async throws -> Void,
    _ body: (EndpointAddress, RawServerLog) async throws -> Void
) async throws {
    let log = RawServerLog()
    let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .childChannelOption(.autoRead, value: false)
        // Wrapped when it is served: a wrapped channel that nobody serves, since the test is over, ends the process.
        .bind(host: "127.0.0.1", port: 0) { $0.eventLoop.makeSucceededFuture($0) }
    let port = try #require(server.channel.localAddress?.port)
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
            try await server.executeThenClose { connections in
                try await withThrowingDiscardingTaskGroup { group in
                    for try await connection in connections {
                        log.connected()
                        group.addTask { await serve(connection, answer, log) }
                    }
                }
            }
        }
        try await body(EndpointAddress(host: "127.0.0.1", port: port), log)
        group.cancelAll()
    }
}

private func serve(
    _ channel: any Channel,
    _ answer: @Sendable (RawAnswer) async throws -> Void,
    _ log: RawServerLog
) async {
    do {
        let connection = try await channel.eventLoop.submit {
            try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
        }.get()
        try await connection.executeThenClose { inbound, outbound in
            try await channel.setOption(.autoRead, value: true).get()
            var head = ""
            for try await bytes in inbound {
                head += String(buffer: bytes)
                guard head.hasSuffix("\r\n\r\n") else { continue }
                head = ""
                log.asked()
                try await answer(RawAnswer(outbound: outbound))
            }
        }
    } catch {
        // The client hung up, or the test is over: both are what the tests are about.
    }
}
