import DequeModule
import FleetModel
import NIOCore

/// A connection to a model server: lent to one exchange at a time, kept between them.
///
/// Or a stream of one: lent to one exchange, and over with it.
final class UpstreamConnection: ChannelInboundHandler, Impatient {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let address: EndpointAddress
    /// The client whose exchange this connection serves; `nil` while it is kept.
    var client: ClientConnection?
    var deadline: NIODeadline?
    var heldAt: TimerWheel.Tick?
    private let worker: Worker
    private var context: ChannelHandlerContext?
    private var output: MessageOutput?
    private var input: MessageReader<ResponseHead>
    /// The client that the read under way is for, until the read is over.
    private var reader: ClientConnection?
    /// Clean so far, and to be kept when the read that is under way brings nothing more.
    private var isReleased = false
    private var isReadPending = false
    /// Whose stream this is; `nil` for a connection of HTTP/1.
    private let session: UpstreamSession?
    private var hasSent = false
    /// What came on the stream and was not taken yet.
    private var parts: Deque<MessageReader<ResponseHead>.Part> = []

    init(address: EndpointAddress, worker: Worker, session: UpstreamSession? = nil) {
        self.session = session
        self.address = address
        self.worker = worker
        self.input = MessageReader(limit: worker.settings.headerLimit)
    }

    var isActive: Bool { self.context?.channel.isActive ?? false }
    var isWritable: Bool { self.context?.channel.isWritable ?? false }

    var bufferedBytes: Int {
        // A stream holds no more than its window.
        if self.session != nil { return 0 }
        return ((try? self.context?.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0) + self.input.count
    }
    var needsFlush: Bool { self.output?.needsFlush ?? false }

    func write(_ head: RequestHead) {
        self.hasSent = true
        self.input.isAnswerToHead = head.method == "HEAD"
        self.output?.write(head)
    }

    func write(body bytes: ByteBuffer) { self.output?.write(body: bytes) }

    func writeEnd(_ trailers: Fields?) { self.output?.writeEnd(trailers) }

    func flush() { self.output?.flush() }

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
        // A stream ends by itself, if it has begun.
        guard self.session == nil else { return self.hasSent ? self.client = nil : self.close() }
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
        if let session { return self.output = RequestOutput(context, scheme: session.scheme) }
        self.output = MessageOutput(context)
        self.worker.counters.count { $0.upstreamOpen += 1 }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        self.output = nil
        if let session { return session.ended() }
        self.worker.counters.count { $0.upstreamOpen -= 1 }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // Whoever speaks unasked is not to be trusted with the next request.
        guard let client, !self.isReleased else { return self.close() }
        if self.reader == nil {
            self.reader = client
            client.upstreamReadBegan()
        }
        if self.session == nil { self.input.take(self.unwrapInboundIn(data)) }
        do throws(MessageError) {
            while let client = self.client, !self.isReleased, let part = try self.next() {
                client.upstreamRead(part, from: self)
            }
        } catch {
            self.fail(.malformedResponse)
            return self.close()
        }
        if self.isReleased, !self.input.isEmpty { self.close() }
    }

    /// What has come on the stream is taken with the read that brought it.
    func arrive(_ part: MessageReader<ResponseHead>.Part) { self.parts.append(part) }

    private func next() throws(MessageError) -> MessageReader<ResponseHead>.Part? {
        self.session == nil ? try self.input.next() : self.parts.popFirst()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.isReadPending = false
        let reader = self.reader.take()
        if self.isReleased {
            self.isReleased = false
            self.release()
        }
        // A read may bring nothing whole, such as half a head: the next one is for the client to ask for all the same.
        (reader ?? self.client)?.upstreamReadComplete()
        if self.client == nil, self.session == nil { self.read() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.client?.upstreamWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.worker.forget(self)
        // The end of the connection may be the end of the answer.
        if let client, let end = try? self.input.finish() { client.upstreamRead(end, from: self) }
        self.fail(.connectionClosed)
        self.reader.take()?.upstreamReadComplete()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.fail(.connectionClosed)
        context.close(promise: nil)
    }

    private func fail(_ failure: ProxyFailure) {
        guard let client = self.client.take(), !self.isReleased else { return }
        client.upstreamFailed(failure, of: self)
    }
}

@available(*, unavailable)
extension UpstreamConnection: Sendable {}
