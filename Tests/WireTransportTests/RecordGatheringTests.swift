import NIOCore
import NIOEmbedded
import Testing

@testable import WireTransport

@Suite("Buffers that share a record")
struct RecordGatheringTests {
    private let channel = EmbeddedChannel(handler: RecordGathering())

    private func sent() throws -> [Int] {
        var lengths: [Int] = []
        while let bytes = try self.channel.readOutbound(as: ByteBuffer.self) { lengths.append(bytes.readableBytes) }
        return lengths
    }

    @Test("what is flushed together goes out together, in order, in pieces of a record at the most")
    func gathers() throws {
        var (all, parts) = (ByteBuffer(), [ByteBuffer]())
        for (number, length) in [9, 3_000, 9, 12_000, 9, 3_000, 20_000, 9].enumerated() {
            let part = ByteBuffer(repeating: UInt8(number), count: length)
            all.writeImmutableBuffer(part)
            self.channel.write(part, promise: nil)
        }
        #expect(try self.channel.readOutbound(as: ByteBuffer.self) == nil)
        self.channel.flush()
        while let part = try self.channel.readOutbound(as: ByteBuffer.self) { parts.append(part) }
        #expect(parts.map(\.readableBytes) == [15_027, 3_000, 20_000, 9])
        #expect(parts.reduce(into: ByteBuffer()) { $0.writeImmutableBuffer($1) } == all)
    }

    @Test("each write hears that it went out, also one of nothing")
    func promises() throws {
        let heard = (0..<3).map { _ in self.channel.eventLoop.makePromise(of: Void.self) }
        var done: [Int] = []
        for (number, promise) in heard.enumerated() {
            promise.futureResult.assumeIsolated().whenSuccess { done.append(number) }
        }
        self.channel.write(ByteBuffer(string: "a"), promise: heard[0])
        self.channel.write(ByteBuffer(string: "b"), promise: heard[1])
        #expect(done.isEmpty)
        self.channel.flush()
        #expect(done == [0, 1])
        #expect(try self.sent() == [2])
        self.channel.write(ByteBuffer(), promise: heard[2])
        self.channel.flush()
        #expect(done == [0, 1, 2])
    }

    @Test("a close comes after what was written before it")
    func closes() throws {
        let log = Log()
        let channel = EmbeddedChannel(handlers: [log, RecordGathering()])
        channel.write(ByteBuffer(string: "a"), promise: nil)
        channel.write(ByteBuffer(string: "bc"), promise: nil)
        channel.close(promise: nil)
        #expect(log.lines == ["write 3", "close"])
    }

    /// What reaches TLS.
    private final class Log: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer

        var lines: [String] = []

        func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
            self.lines.append("write \(self.unwrapOutboundIn(data).readableBytes)")
            context.write(data, promise: promise)
        }

        func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
            self.lines.append("close")
            context.close(mode: mode, promise: promise)
        }
    }
}
