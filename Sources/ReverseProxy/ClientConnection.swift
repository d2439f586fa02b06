import DequeModule
import FleetModel
import Glibc
import NIOCore

/// A client's connection of HTTP/1, or its stream on one of HTTP/2: carries out what ``Exchange`` says, for one request
/// after the other.
///
/// Reading is asked for, never automatic, so that neither side can send more than the other takes. A client that ends
/// its side has gone, as for nginx, Envoy and Go: nothing is dearer than an answer that nobody reads.
final class ClientConnection: ChannelInboundHandler, Impatient {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let worker: Worker
    private let wire: ClientWire
    private var context: ChannelHandlerContext?
    private var output: MessageOutput?
    /// The same, when this is a stream.
    private(set) var stream: StreamOutput?
    /// What came on the stream and was not taken yet.
    private var parts: Deque<MessageReader<RequestHead>.Part> = []
    /// What came after the request that is served stays in it: at most one read, as no more is asked for.
    private var input: MessageReader<RequestHead>
    private var address: String?
    private var exchange: Exchange?
    private var proxied: ProxiedRequest?
    private var upstream: UpstreamConnection?
    /// The connection of a second try.
    private var rival: UpstreamConnection?
    private var isReadPending = false
    /// Between the first and the last message of one read: flushing upstream waits for the last.
    private var isInRead = false
    /// The same for the upstream's reads: the next request waits until the connection of this one is back.
    private var isInUpstreamRead = false
    private var isClosing = false
    private var isSettling = false
    /// A stream hands over what it has as soon as it is asked, so a read may be over while it is being asked for.
    private var hasReadInSettling = false
    private var served = 0
    /// When the request that is served began.
    private var begunAt = NIODeadline.uptimeNanoseconds(0)
    /// When the director is asked again.
    private var pausedUntil = NIODeadline.uptimeNanoseconds(0)
    private var pauses = 0
    /// Tells a connection attempt that is still wanted from one that is not.
    private var attempt = 0
    private var waiting = Wait.nothing
    private(set) var deadline: NIODeadline?
    var heldAt: TimerWheel.Tick?

    /// What the deadline is about.
    private enum Wait: Equatable {
        case nothing
        /// The client is to send a request, after so many.
        case head(served: Int)
        /// The client is to send more of a body: every read renews the deadline.
        case body
        /// The director is to be asked again, after so many pauses.
        case pause(Int)
        /// The upstream is to begin its answer.
        case answer(attempt: Int, hasHedged: Bool)
        /// The client is to read what waits for it.
        case reader
        /// The client is to end its side.
        case closing
    }

    init(worker: Worker, wire: ClientWire) {
        self.worker = worker
        self.wire = wire
        self.input = MessageReader(limit: worker.settings.headerLimit)
    }

    var isStream: Bool { self.wire.isStream }

    /// Bytes that wait here for either side, the body kept for another try included.
    var bufferedBytes: Int {
        // A stream has no such option, and holds no more than its watermark.
        let options = self.isStream ? nil : self.context?.channel.syncOptions
        let waiting = try? options?.getOption(.bufferedWritableBytes)
        let upstreams = (self.upstream?.bufferedBytes ?? 0) + (self.rival?.bufferedBytes ?? 0)
        return (waiting ?? 0) + upstreams + (self.exchange?.replayBytes ?? 0)
            + self.input.count
    }

    // MARK: Exchange

    private func begin(_ head: RequestHead) {
        var admitted: AdmittedRequest
        do throws(Refusal) {
            admitted = try HeaderRules.admit(head, client: self.address, viaName: self.worker.settings.viaName)
            // Nobody who goes in circles is helped by going on, whether or not his word counts.
            if admitted.hops > self.worker.settings.maxHops { throw .loop(hops: admitted.hops) }
            if self.wire.claims == .none { admitted.hops = 0 }
            if self.isStream { admitted.keepAlive = false }
        } catch {
            return self.refuse(error, isHead: head.method == "HEAD")
        }
        let settings = self.worker.settings
        if let length = admitted.bodyLength, length > settings.bodyLimit {
            return self.refuse(.bodyTooLarge(limit: settings.bodyLimit))
        }
        var exchange = Exchange(
            admitted,
            id: self.worker.makeRequestID(),
            limits: .init(
                tries: settings.maxTries,
                targets: settings.maxTargets,
                replay: settings.replayLimit,
                discard: settings.discardLimit,
                peek: settings.peekLimit,
                body: settings.bodyLimit
            )
        )
        if self.worker.isDraining { exchange.drain() }
        let proxied = ProxiedRequest(
            id: exchange.id,
            method: head.method,
            uri: admitted.head.uri,
            client: self.address,
            hops: admitted.hops,
            headers: head.headers
        )
        self.proxied = proxied
        self.begunAt = .now()
        let isPeeking = admitted.hasBody && self.worker.director.wantsBody(proxied)
        let actions = exchange.begin(peeking: isPeeking)
        self.exchange = exchange
        self.worker.counters.count {
            $0.requests += 1
            $0.requestsInFlight += 1
        }
        self.perform(actions)
    }

    /// Answers a request that is no exchange, and closes.
    private func refuse(_ refusal: Refusal, isHead: Bool = false) {
        self.worker.counters.count { $0.requestsRefused += 1 }
        let answer = refusal.answer
        var head = ResponseHead(answer, hasBody: true)
        head.headers.set(answer.headers)
        head.headers.add("connection", "close")
        self.answer(head, body: isHead ? "" : answer.body)
        self.closeGently()
    }

    private func perform(_ actions: [Exchange.Action]?) {
        for action in actions ?? [] { self.perform(action) }
        self.settle()
    }

    private func perform(_ action: Exchange.Action) {
        switch action {
        case .direct(let failed): self.direct(failed: failed)
        case .wait(let seconds): self.pause(seconds)
        case .connect(let target, let fresh): self.connect(to: target, fresh: fresh)
        case .sendContinue:
            self.output?.write(ResponseHead(status: 100, reason: "Continue"))
            self.output?.flush()
        case .send(let head, let body, let end):
            self.attempt += 1
            self.upstream?.write(head)
            for bytes in body { self.upstream?.write(body: bytes) }
            if let end { self.upstream?.writeEnd(end.trailers) }
            self.upstream?.read()
        case .report(let outcome): self.report(outcome)
        case .reportLoser(let outcome): self.worker.director.observe(outcome)
        case .hedge(let target): self.hedge(besides: target)
        case .connectRival(let target): self.connectRival(to: target)
        case .sendRival(let head, let body):
            self.rival?.write(head)
            for bytes in body { self.rival?.write(body: bytes) }
            self.rival?.writeEnd(nil)
            self.rival?.flush()
            self.rival?.read()
        case .promoteRival: self.upstream = self.rival.take()
        case .closeRival: self.rival.take()?.close()
        case .respond(let head): self.output?.write(head)
        case .endResponse(let trailers):
            self.output?.writeEnd(trailers)
            self.output?.flush()
        case .answer(let head, let body): self.answer(head, body: body)
        case .releaseUpstream: self.upstream.take()?.release()
        case .closeUpstream:
            self.attempt += 1
            self.upstream.take()?.close()
        case .next: self.endExchange()
        case .close: self.closeGently()
        case .cut(let reset): if reset || self.isStream { self.reset() } else { self.closeGently() }
        }
    }

    private func direct(failed: [ProxyTarget]) {
        guard let proxied else { return }
        if !failed.isEmpty { self.worker.counters.count { $0.retries += 1 } }
        self.proxied?.asked += 1
        let decision = self.worker.director.direct(proxied, failed: failed)
        self.perform(self.exchange?.directed(decision, now: .now()))
    }

    private func pause(_ seconds: Seconds) {
        self.pauses += 1
        self.pausedUntil = .now() + .seconds(max(0, seconds))
        if let id = self.exchange?.id { self.worker.pause(self, request: id) }
    }

    /// The director has news for the request, or its pause is over.
    func resume() {
        guard let id = self.exchange?.id, self.exchange?.stage == .paused else { return }
        self.worker.forget(paused: id)
        self.perform(self.exchange?.resume())
    }

    /// The beginning of the body is there, if the director waited for it.
    private func peek() {
        guard let beginning = self.exchange?.peeked() else { return }
        self.proxied?.peeked = beginning
        self.perform([.direct(failed: [])])
    }

    private func connect(to target: ProxyTarget, fresh: Bool) {
        if fresh {
            self.worker.counters.count { $0.staleConnections += 1 }
        } else if let upstream = self.worker.takeIdle(for: target.address) {
            return self.attach(upstream, reused: true)
        }
        self.attempt += 1
        let attempt = self.attempt
        self.worker.connect(to: target.address) { result in
            switch result {
            case .success(let upstream):
                // A connection that nobody waits for any more is as good as any for the next request.
                if attempt == self.attempt { self.attach(upstream, reused: false) } else { upstream.release() }
            case .failure(let failure):
                if attempt == self.attempt { self.perform(self.exchange?.upstreamFailed(failure, now: .now())) }
            }
        }
    }

    private func attach(_ upstream: UpstreamConnection, reused: Bool) {
        upstream.client = self
        self.upstream = upstream
        self.perform(self.exchange?.connected(reused: reused, now: .now()))
    }

    private func hedge(besides target: ProxyTarget) {
        guard let proxied else { return }
        self.worker.counters.count { $0.hedges += 1 }
        let decision = self.worker.director.hedge(proxied, besides: target)
        self.perform(self.exchange?.hedged(decision, now: .now()))
    }

    private func connectRival(to target: ProxyTarget) {
        let id = self.exchange?.id
        func attach(_ upstream: UpstreamConnection) {
            guard self.exchange?.id == id, self.exchange?.race?.rival.target == target, self.rival == nil else {
                return upstream.release()
            }
            upstream.client = self
            self.rival = upstream
            self.perform(self.exchange?.rivalConnected(now: .now()))
        }
        if let upstream = self.worker.takeIdle(for: target.address) { return attach(upstream) }
        self.worker.connect(to: target.address) { result in
            switch result {
            case .success(let upstream): attach(upstream)
            case .failure(let failure):
                guard self.exchange?.id == id, self.rival == nil else { return }
                self.perform(self.exchange?.rivalFailed(failure, now: .now()))
            }
        }
    }

    private func report(_ outcome: ProxyOutcome) {
        switch outcome.event {
        case .cut: self.worker.counters.count { $0.cuts += 1 }
        case .cancelled: self.worker.counters.count { $0.cancellations += 1 }
        case .sent, .loadReport, .firstByte, .completed, .failed: break
        }
        self.worker.director.observe(outcome)
    }

    private func endExchange() {
        guard let exchange = self.exchange.take() else { return }
        self.served += 1
        self.worker.forget(paused: exchange.id)
        if let proxied = self.proxied.take() {
            let summary = ProxySummary(
                status: exchange.status == 0 ? nil : exchange.status,
                bytes: exchange.responseBytes,
                requestBytes: exchange.requestBytes,
                duration: .now() - self.begunAt
            )
            self.worker.director.ended(proxied, summary)
        }
        self.worker.counters.count {
            $0.requestsInFlight -= 1
            if exchange.missedDeadline { $0.deadlines += 1 }
        }
        if self.worker.isDraining { self.closeGently() }
    }

    // MARK: Upstream's news

    func upstreamRead(_ part: MessageReader<ResponseHead>.Part, from connection: UpstreamConnection) {
        if connection === self.rival {
            if case .head(let head) = part { return self.perform(self.exchange?.rivalHead(head, now: .now())) }
            self.perform(self.exchange?.rivalWins(now: .now()))
        }
        if self.exchange?.holdsHead ?? false { self.beginAnswer() }
        switch part {
        case .head(let head):
            let status = head.status
            if self.exchange?.mayRetry(status: status) ?? false, let proxied,
                self.worker.director.shouldRetry(proxied, status: status)
            {
                self.perform(self.exchange?.retry(status: status, now: .now()))
            } else {
                self.perform(self.exchange?.responseHead(head, now: .now()))
            }
        case .body(let bytes):
            if self.exchange?.responseBytes == 0, let outcome = self.exchange?.firstByte(now: .now()) {
                self.report(outcome)
            }
            guard self.exchange?.responseBody(bytes.readableBytes) ?? false else { return }
            self.output?.write(body: bytes)
        case .end(let trailers):
            self.perform(self.exchange?.responseEnded(trailers, now: .now()))
        }
    }

    /// The first byte of an answer whose head was kept back, or its end.
    private func beginAnswer() {
        self.perform(self.exchange?.abandonRival(now: .now()))
        self.perform(self.exchange?.releaseHead())
    }

    func upstreamReadBegan() { self.isInUpstreamRead = true }

    func upstreamReadComplete() {
        self.isInUpstreamRead = false
        self.output?.flush()
        if self.context?.channel.isWritable ?? false { self.upstream?.read() }
        self.rival?.read()
        self.settle()
    }

    func upstreamWritabilityChanged() { self.readOn() }

    func upstreamFailed(_ failure: ProxyFailure, of connection: UpstreamConnection) {
        guard connection !== self.rival else {
            self.rival = nil
            return self.perform(self.exchange?.rivalFailed(failure, now: .now()))
        }
        self.upstream = nil
        self.perform(self.exchange?.upstreamFailed(failure, now: .now()))
    }

    // MARK: Writing, reading, waiting

    private func answer(_ head: ResponseHead, body: String) {
        self.output?.write(head)
        self.output?.write(body: body)
        self.output?.writeEnd(nil)
        self.output?.flush()
    }

    /// After every event: serves what was pipelined, sends what was written, and asks for what is wanted next.
    ///
    /// Serving and sending may come back here; the loop outside goes on with it, so the stack stays flat.
    private func settle() {
        guard !self.isSettling, !self.isInRead, !self.isInUpstreamRead else { return }
        self.isSettling = true
        defer { self.isSettling = false }
        repeat {
            self.hasReadInSettling = false
            repeat {
                self.takeParts()
                self.upstream?.flush()
            } while self.upstream?.needsFlush ?? false
            self.readOn()
        } while self.hasReadInSettling
        self.rearm()
    }

    private var isFreeForMore: Bool { !(self.exchange?.isRequestWhole ?? false) }

    /// Whether the client is to be read.
    ///
    /// One read is left open behind a whole request: it brings the news of a close,
    /// and closing it for every request would cost two system calls.
    private var wantsRead: Bool {
        if self.isClosing { return true }
        // Asked of the exchange where it stands: a copy would count a dozen references up and down.
        guard let isWhole = self.exchange?.isRequestWhole else { return true }
        if isWhole { return self.input.isEmpty }
        guard self.exchange?.wantsRequest ?? false else { return false }
        return !(self.exchange?.sendsUpstream ?? false) || self.upstream?.isWritable ?? false
    }

    private func readOn() {
        guard !self.isReadPending, let context, self.wantsRead else { return }
        self.isReadPending = true
        context.read()
    }

    private func rearm() {
        let wait = self.wait
        guard wait != self.waiting || wait == .body else { return }
        self.waiting = wait
        let settings = self.worker.settings
        switch wait {
        case .nothing: return self.deadline = nil
        case .pause: self.deadline = self.pausedUntil
        case .answer:
            let limit = NIODeadline.now() + .seconds(settings.responseTimeout)
            self.deadline = self.exchange?.dueAt.map { min($0, limit) } ?? limit
        case .head, .body, .reader, .closing: self.deadline = .now() + .seconds(settings.clientTimeout)
        }
        self.worker.watch(self)
    }

    private var wait: Wait {
        if self.isClosing { return .closing }
        guard let stage = self.exchange?.stage else { return .head(served: self.served) }
        if stage == .paused { return .pause(self.pauses) }
        if self.isReadPending, self.isFreeForMore { return .body }
        if stage == .waiting {
            return .answer(attempt: self.attempt, hasHedged: self.exchange?.hasHedged ?? false)
        }
        return self.context?.channel.isWritable ?? false ? .nothing : .reader
    }

    func giveUp() {
        switch self.waiting {
        case .nothing: break
        case .head, .reader, .closing: self.closeNow()
        case .pause: self.resume()
        case .answer: self.perform(self.exchange?.timeUp(now: .now()))
        case .body:
            let refusal = Refusal(
                status: 408,
                code: "request_timeout",
                message: "The request's body did not arrive in time."
            )
            self.perform(self.exchange?.requestFailed(refusal, now: .now()))
        }
    }

    // MARK: Closing

    /// Sends what is written, then ends our side and reads on until the client ends its own: closing while it still
    /// sends would reset the connection and could take the answer with it.
    private func closeGently() {
        self.endExchange()
        guard !self.isClosing, let context else { return }
        self.isClosing = true
        self.output?.flush()
        if let stream { stream.finish() } else { context.close(mode: .output, promise: nil) }
        self.settle()
    }

    /// Resets the connection: what ends an answer that has no other end than the connection's.
    private func reset() {
        if let stream { return stream.abort() }
        let options = self.context?.channel as? any SocketOptionProvider
        _ = options?.setSoLinger(linger(l_onoff: 1, l_linger: 0))
        self.closeNow()
    }

    /// Closes, whatever is under way.
    func closeNow() { self.context?.close(promise: nil) }

    /// The server shuts down.
    func drain() {
        if self.exchange == nil { self.closeGently() } else { self.exchange?.drain() }
    }

    // MARK: ChannelInboundHandler

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if self.isStream { self.stream = StreamOutput(context) }
        self.output = self.stream ?? MessageOutput(context)
        self.worker.add(self)
        if context.channel.isActive { self.opened(context) }
    }

    func channelActive(context: ChannelHandlerContext) { self.opened(context) }

    private func opened(_ context: ChannelHandlerContext) {
        self.address = context.channel.remoteAddress?.ipAddress
        self.settle()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        self.output = nil
        self.stream = nil
        self.deadline = nil
        self.worker.remove(self)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.isInRead = true
        // What comes after the last answer is only read to be dropped.
        guard !self.isClosing else { return }
        if !self.isStream { self.input.take(self.unwrapInboundIn(data)) }
        self.takeParts()
    }

    /// What has come on the stream is taken with the read that brought it.
    func arrive(_ part: MessageReader<RequestHead>.Part) { self.parts.append(part) }

    /// The stream brought what is no request.
    func arrive(_ refusal: Refusal) {
        if !self.isClosing { self.fail(refusal) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.isInRead = false
        self.isReadPending = false
        self.hasReadInSettling = self.isSettling
        self.settle()
    }

    /// Takes what has come of the request, and of the next one once the exchange of this one is over.
    private func takeParts() {
        do throws(MessageError) {
            while !self.isClosing, self.isFreeForMore, let part = try self.next() { self.take(part) }
        } catch {
            self.fail(Refusal(error))
        }
    }

    private func next() throws(MessageError) -> MessageReader<RequestHead>.Part? {
        self.isStream ? self.parts.popFirst() : try self.input.next()
    }

    /// The request turned out to be one that is not served.
    private func fail(_ refusal: Refusal) {
        guard self.exchange != nil else { return self.refuse(refusal) }
        self.worker.counters.count { $0.requestsRefused += 1 }
        self.perform(self.exchange?.requestFailed(refusal, now: .now()))
    }

    private func take(_ part: MessageReader<RequestHead>.Part) {
        switch part {
        case .head(let head): self.begin(head)
        case .body(let bytes):
            switch self.exchange?.requestBody(bytes) {
            case .forward: self.upstream?.write(body: bytes)
            case .close: self.closeGently()
            case .tooLong: self.fail(.bodyTooLarge(limit: self.worker.settings.bodyLimit))
            case .held: self.peek()
            case .dropped, nil: break
            }
        case .end(let trailers):
            if self.exchange?.requestEnded(trailers) == .forward { self.upstream?.writeEnd(trailers) }
            self.peek()
            if self.exchange?.stage == .over { self.endExchange() }
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { self.upstream?.read() }
        self.rearm()
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.perform(self.exchange?.clientGone(now: .now()))
        self.endExchange()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { self.closeNow() }
}

@available(*, unavailable)
extension ClientConnection: Sendable {}
