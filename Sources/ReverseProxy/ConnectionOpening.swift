import FleetModel
import NIOCore
import NIOTLS

/// A client's connection until it is known what it speaks: TLS decides by ALPN, plain text by its first bytes.
///
/// HTTP/2 without TLS begins with a preface that no HTTP/1 request can (RFC 9113 §3.4). The time for a handshake is
/// limited, and so is the number of those under way; what fails is counted.
final class ConnectionOpening: ChannelInboundHandler, RemovableChannelHandler, Impatient {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    private let worker: Worker
    private let listener: ProxyListener
    private var context: ChannelHandlerContext?
    /// What came of the preface so far.
    private var held: ByteBuffer?
    private var isDone = false
    private(set) var deadline: NIODeadline?
    var heldAt: TimerWheel.Tick?

    init(worker: Worker, listener: ProxyListener) {
        self.worker = worker
        self.listener = listener
    }

    private var isSecure: Bool { self.listener.tls != nil }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        self.worker.add(opening: self, isSecure: self.isSecure)
        let settings = self.worker.settings
        self.deadline = .now() + .seconds(self.isSecure ? settings.handshakeTimeout : settings.clientTimeout)
        self.worker.watch(self)
        if context.channel.isActive { context.read() }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        self.deadline = nil
        self.worker.remove(opening: self, isSecure: self.isSecure)
        if !self.isDone, self.isSecure { self.worker.counters.count { $0.handshakesFailed += 1 } }
    }

    func channelActive(context: ChannelHandlerContext) {
        context.read()
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = self.unwrapInboundIn(data)
        if self.held == nil { self.held = bytes } else { self.held?.writeBuffer(&bytes) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        guard !self.isSecure, !self.isDone, let held, held.readableBytes > 0 else { return context.read() }
        let isLikePreface = zip(held.readableBytesView, Self.preface).allSatisfy(==)
        guard isLikePreface else { return self.become(.one, context) }
        if held.readableBytes >= Self.preface.count { self.become(.two, context) } else { context.read() }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted(let negotiated) = event as? TLSUserEvent, !self.isDone {
            self.worker.counters.count { $0.handshakes += 1 }
            self.become(negotiated == "h2" ? .two : .one, context)
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    private enum Version { case one, two }

    private func become(_ version: Version, _ context: ChannelHandlerContext) {
        self.isDone = true
        let claims = self.listener.claims(of: context.channel.remoteAddress)
        do {
            switch version {
            case .one: try self.worker.serve(context.channel, claims: claims)
            case .two: try self.worker.serveStreams(context.channel, claims: claims)
            }
        } catch {
            return self.closeNow()
        }
        if let held = self.held.take() {
            context.fireChannelRead(self.wrapInboundOut(held))
            context.fireChannelReadComplete()
        }
        context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Behind this handler somebody else hears of it.
        if self.isDone { context.fireErrorCaught(error) } else { self.closeNow() }
    }

    /// The handshake, or the first byte, did not come in time.
    func giveUp() { self.closeNow() }

    func closeNow() { self.context?.close(promise: nil) }
}

@available(*, unavailable)
extension ConnectionOpening: Sendable {}
