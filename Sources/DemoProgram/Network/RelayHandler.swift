import FleetModel
import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#else
import Darwin
#endif

/// One end of a relayed connection: what its channel reads goes into the line, and comes out at the other end's channel.
///
/// Both ends live on one event loop. The end reads only while fewer than `limit` bytes are on their way from it, so a
/// slow receiver slows the sender through TCP itself.
final class RelayHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    enum Parcel {
        case bytes(ByteBuffer)
        /// The sender closed its direction.
        case end
        /// The sender is gone, without a proper end.
        case reset
    }

    /// Bytes on the way from one end: more than one bandwidth-delay product of what a demo sends.
    static let limit = 1 << 20

    private var line: DelayLine<Parcel>
    private var context: ChannelHandlerContext?
    private var peer: RelayHandler?
    private var timer: Scheduled<Void>?
    private var isReading = false
    /// Written to this end's channel and not yet taken by the kernel.
    private var unwritten = 0
    /// No more will be written to this end's channel.
    private var isFinishing = false
    /// No more will be read from this end's channel.
    private var hasEnded = false

    init(oneWay: Seconds, openAt: Seconds) {
        self.line = DelayLine(oneWay: oneWay, openAt: openAt)
    }

    /// Connects two ends whose channels are open; from here on bytes flow.
    static func join(_ one: RelayHandler, _ other: RelayHandler) {
        one.peer = other
        other.peer = one
        one.schedule()
        other.schedule()
        one.readMore()
        other.readMore()
    }

    /// Closes this end's channel with a reset at `time`: nobody answered at the other end.
    func refuse(at time: Seconds) {
        guard let context else { return }
        let channel = context.channel
        context.eventLoop.assumeIsolated().scheduleTask(deadline: .at(time)) { Self.reset(channel) }
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        self.readMore()
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = self.unwrapInboundIn(data)
        self.push(.bytes(bytes), size: bytes.readableBytes)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.isReading = false
        self.readMore()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent { self.end(.end) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.end(.reset)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        // NIO closes a channel whose both directions have ended, without a word of the second end.
        self.end(.end)
        // What is still on its way to this end has nowhere to go, and no more is read for it.
        self.peer?.peer = nil
        context.fireChannelInactive()
    }

    private func end(_ parcel: Parcel) {
        guard !self.hasEnded else { return }
        self.hasEnded = true
        self.push(parcel, size: 0)
    }

    private func push(_ parcel: Parcel, size: Int) {
        self.line.push(parcel, size: size, now: .now)
        self.schedule()
    }

    /// Wakes when the next parcel arrives at the other end.
    private func schedule() {
        guard self.timer == nil, let peer, let due = self.line.nextDue, let loop = peer.context?.eventLoop else {
            return
        }
        self.timer = loop.assumeIsolated().scheduleTask(deadline: .at(due)) {
            self.timer = nil
            self.deliver(to: peer)
        }
    }

    private func deliver(to peer: RelayHandler) {
        for parcel in self.line.pop(now: .now) { peer.receive(parcel) }
        peer.context?.flush()
        self.schedule()
        self.readMore()
    }

    private func receive(_ parcel: Parcel) {
        guard let context else { return }
        switch parcel {
        case .bytes(let bytes):
            let size = bytes.readableBytes
            self.unwritten += size
            context.write(NIOAny(bytes)).assumeIsolated().whenComplete { result in
                self.unwritten -= size
                if case .failure = result { self.end(.reset) }
                self.peer?.readMore()
                self.finishWhenWritten()
            }
        case .end:
            self.isFinishing = true
            self.finishWhenWritten()
        case .reset:
            Self.reset(context.channel)
        }
    }

    /// Closes the output once the kernel has every byte: an earlier close would drop them.
    private func finishWhenWritten() {
        guard self.isFinishing, self.unwritten == 0, let context else { return }
        context.close(mode: .output, promise: nil)
    }

    /// Asks for more bytes when there is room for them.
    ///
    /// NIO forgets a read that is asked for before the channel is active, and the two ends become so in any order.
    private func readMore() {
        guard let peer, let context, context.channel.isActive, !self.isReading, !self.hasEnded,
            self.line.size + peer.unwritten < Self.limit
        else { return }
        self.isReading = true
        context.read()
    }

    /// Closes with a TCP reset instead of an end of stream.
    private static func reset(_ channel: any Channel) {
        _ = (channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0))
        channel.close(promise: nil)
    }
}

extension Seconds {
    /// This moment on the event loops' clock.
    static var now: Seconds { Seconds(NIODeadline.now().uptimeNanoseconds) / 1e9 }
}

extension NIODeadline {
    /// A moment of the event loops' clock, given in seconds.
    static func at(_ time: Seconds) -> NIODeadline { .uptimeNanoseconds(UInt64((time * 1e9).rounded(.up))) }
}
