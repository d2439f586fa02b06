import FleetModel
import NIOCore

/// A connection to a model server: lent to one exchange at a time, kept between them.
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

    init(address: EndpointAddress, worker: Worker) {
        self.address = address
        self.worker = worker
        self.input = MessageReader(limit: worker.settings.headerLimit)
    }

    var isActive: Bool { self.context?.channel.isActive ?? false }
    var isWritable: Bool { self.context?.channel.isWritable ?? false }

    var bufferedBytes: Int {
        ((try? self.context?.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0) + self.input.count
    }
    var needsFlush: Bool { self.output?.needsFlush ?? false }

    func write(_ head: RequestHead) {
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
        self.output = MessageOutput(context)
        self.worker.counters.count { $0.upstreamOpen += 1 }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        self.output = nil
        self.worker.counters.count { $0.upstreamOpen -= 1 }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // Whoever speaks unasked is not to be trusted with the next request.
        guard let client, !self.isReleased else { return self.close() }
        if self.reader == nil {
            self.reader = client
            client.upstreamReadBegan()
        }
        self.input.take(self.unwrapInboundIn(data))
        do throws(WireError) {
            while let client = self.client, !self.isReleased, let part = try self.input.next() {
                client.upstreamRead(part, from: self)
            }
        } catch {
            self.fail(.malformedResponse)
            return self.close()
        }
        if self.isReleased, !self.input.isEmpty { self.close() }
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
        if self.client == nil { self.read() }
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
