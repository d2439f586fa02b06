import FleetModel
import NIOCore
import NIOHTTP1

/// A connection to a model server: lent to one exchange at a time, kept between them.
final class UpstreamConnection: ChannelInboundHandler, Impatient {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    let address: EndpointAddress
    /// The client whose exchange this connection serves; `nil` while it is kept.
    var client: ClientConnection?
    var deadline: NIODeadline?
    var heldAt: TimerWheel.Tick?
    private let worker: Worker
    private var context: ChannelHandlerContext?
    private var isReadPending = false
    private var needsFlush = false

    init(address: EndpointAddress, worker: Worker) {
        self.address = address
        self.worker = worker
    }

    var isActive: Bool { self.context?.channel.isActive ?? false }
    var isWritable: Bool { self.context?.channel.isWritable ?? false }

    var bufferedBytes: Int {
        (try? self.context?.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
    }

    func write(_ part: HTTPClientRequestPart) {
        guard let context else { return }
        context.write(self.wrapOutboundOut(part), promise: nil)
        self.needsFlush = true
    }

    func flush() {
        guard self.needsFlush else { return }
        self.needsFlush = false
        self.context?.flush()
    }

    /// Asks for more of the answer, or while the connection is kept for the news that it was closed.
    func read() {
        guard !self.isReadPending, let context else { return }
        self.isReadPending = true
        context.read()
    }

    /// Gives the connection back after a clean exchange.
    func release() {
        self.client = nil
        guard self.isActive else { return }
        self.worker.keep(self)
        self.read()
    }

    /// Closes at once; the client, if any, hears nothing more of it.
    func close() {
        self.client = nil
        self.context?.close(promise: nil)
    }

    /// Kept long enough.
    func giveUp() { self.close() }

    // MARK: ChannelInboundHandler

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        self.worker.counters.count { $0.upstreamOpen += 1 }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        self.worker.counters.count { $0.upstreamOpen -= 1 }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // Whoever speaks unasked is not to be trusted with the next request.
        guard let client else { return self.close() }
        client.upstreamRead(self.unwrapInboundIn(data))
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.isReadPending = false
        if let client { client.upstreamReadComplete() } else { self.read() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.client?.upstreamWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.worker.forget(self)
        self.fail(.connectionClosed)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case HTTPParserError.invalidEOFState: self.fail(.connectionClosed)
        case is HTTPParserError, is NIOHTTPDecoderError: self.fail(.malformedResponse)
        default: self.fail(.connectionClosed)
        }
        context.close(promise: nil)
    }

    private func fail(_ failure: ProxyFailure) {
        self.client.take()?.upstreamFailed(failure)
    }
}

@available(*, unavailable)
extension UpstreamConnection: Sendable {}
