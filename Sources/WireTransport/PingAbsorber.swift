package import NIOCore
import NIOHTTP2

/// Answers the peer's PING frames before the HTTP/2 handler counts them.
///
/// grpc-go, and so etcd, sends a PING with nearly every DATA frame that it gets, to measure bandwidth. swift-nio-http2
/// takes more than 200 of them in 30 s for an attack and drops the connection, and gRPC Swift has no setting for that:
/// a client of etcd would lose its watches after about 200 calls, and a server its clients in Go. This handler stands between the socket (or TLS) and
/// the HTTP/2 handler, answers PINGs itself, and passes everything else on to the letter. A peer that sends more than
/// ``pingsMax`` in ``window`` is left to the HTTP/2 handler's own limit.
///
/// Source of the frame's layout: RFC 9113, sections 4.1 and 6.7.
package final class PingAbsorber: ChannelInboundHandler {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    static let pingsMax = 100_000
    static let window = TimeAmount.seconds(10)

    private static let headerBytes = 9
    private static let pingBytes = 17
    private static let pingType: UInt8 = 6
    private static let acknowledged: UInt8 = 1

    /// What came and is not yet understood: less than a frame's header, or less than a PING.
    private var held = ByteBuffer()
    /// Bytes of the present frame that are still to be passed on.
    private var passing: Int
    private var windowStart = NIODeadline.uptimeNanoseconds(0)
    private var pings = 0
    private let now: () -> NIODeadline

    /// What a client says before its first frame (RFC 9113, section 3.4).
    private static let prefaceBytes = 24

    init(ofServer isServer: Bool = false, now: @escaping () -> NIODeadline = { .now() }) {
        self.passing = isServer ? Self.prefaceBytes : 0
        self.now = now
    }

    /// Puts a handler in its place; on the channel's event loop, when its HTTP/2 handler is there.
    ///
    /// - Parameters:
    ///   - channel: The connection.
    ///   - isServer: Whether the other end is the client, which begins with a preface.
    /// - Throws: When there is no HTTP/2 handler.
    package static func install(in channel: any Channel, ofServer isServer: Bool = false) throws {
        let http2 = try channel.pipeline.syncOperations.handler(type: NIOHTTP2Handler.self)
        try channel.pipeline.syncOperations.addHandler(PingAbsorber(ofServer: isServer), position: .before(http2))
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var read = self.unwrapInboundIn(data)
        self.held.writeBuffer(&read)
        var onward = context.channel.allocator.buffer(capacity: self.held.readableBytes)
        var answers = context.channel.allocator.buffer(capacity: 0)
        while self.takeSome(&onward, &answers) {}
        self.held.discardReadBytes()
        if answers.readableBytes > 0 { context.writeAndFlush(self.wrapOutboundOut(answers), promise: nil) }
        if onward.readableBytes > 0 { context.fireChannelRead(self.wrapInboundOut(onward)) }
    }

    /// - Returns: Whether there may be more to take.
    private func takeSome(_ onward: inout ByteBuffer, _ answers: inout ByteBuffer) -> Bool {
        if self.passing > 0, var part = self.held.readSlice(length: min(self.passing, self.held.readableBytes)) {
            self.passing -= part.readableBytes
            onward.writeBuffer(&part)
            return self.passing == 0
        }
        let start = self.held.readerIndex
        guard self.held.readableBytes >= Self.headerBytes,
            let lengthAndType = self.held.getInteger(at: start, as: UInt32.self),
            let flags = self.held.getInteger(at: start + 4, as: UInt8.self)
        else { return false }
        let length = Int(lengthAndType >> 8)
        let isPing =
            UInt8(truncatingIfNeeded: lengthAndType) == Self.pingType && length == 8 && flags & Self.acknowledged == 0
        guard isPing else {
            self.passing = Self.headerBytes + length
            return true
        }
        guard self.held.readableBytes >= Self.pingBytes,
            let payload = self.held.getInteger(at: start + Self.headerBytes, as: UInt64.self)
        else { return false }
        guard self.isWithinLimit() else {
            self.passing = Self.pingBytes
            return true
        }
        self.held.moveReaderIndex(forwardBy: Self.pingBytes)
        answers.writeInteger(lengthAndType)
        answers.writeInteger(Self.acknowledged)
        answers.writeInteger(UInt32(0))
        answers.writeInteger(payload)
        return true
    }

    private func isWithinLimit() -> Bool {
        let now = self.now()
        if now - self.windowStart > Self.window {
            self.windowStart = now
            self.pings = 0
        }
        self.pings += 1
        return self.pings <= Self.pingsMax
    }
}
