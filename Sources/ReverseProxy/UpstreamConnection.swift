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
    /// The client that the read under way is for, until the read is over.
    private var reader: ClientConnection?
    /// Clean so far, and to be kept when the read that is under way brings nothing more.
    private var isReleased = false
    private var isReadPending = false
    private(set) var needsFlush = false

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
    ///
    /// Not before the end of a read: what follows an answer in it would be taken for the answer to the next request.
    func release() {
        guard self.reader == nil else { return self.isReleased = true }
        self.client = nil
        guard self.isActive else { return }
        self.worker.keep(self)
        self.read()
    }

    /// Closes at once; the client, if any, hears nothing more of it.
    func close() {
        self.client = nil
        self.isReleased = false
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
        guard let client, !self.isReleased else { return self.close() }
        if self.reader == nil {
            self.reader = client
            client.upstreamReadBegan()
        }
        client.upstreamRead(self.unwrapInboundIn(data))
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.isReadPending = false
        let reader = self.reader.take()
        if self.isReleased {
            self.isReleased = false
            self.release()
        }
        reader?.upstreamReadComplete()
        if self.client == nil { self.read() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.client?.upstreamWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.worker.forget(self)
        self.fail(.connectionClosed)
        self.reader.take()?.upstreamReadComplete()
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
        guard let client = self.client.take(), !self.isReleased else { return }
        client.upstreamFailed(failure)
    }
}

@available(*, unavailable)
extension UpstreamConnection: Sendable {}
