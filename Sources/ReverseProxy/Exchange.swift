import FleetModel
import NIOCore
import NIOHTTP1

/// One request and its answer, as a value: what arrives goes in by verbs, what is to be done comes out.
///
/// It owns the promise to the director: every `.forward` is closed by exactly one terminal outcome
/// (``close(_:)`` is the only place that makes one, and it takes the open try away).
///
/// Verbs that are called once or twice per request return ``Action``s, to be carried out in order; those called
/// for every chunk return a plain word and allocate nothing.
struct Exchange {
    struct Limits: Hashable {
        var tries: Int
        var targets = Int.max
        var replay: Int
        var discard: Int
        var peek = 0
        var body = Int.max
    }

    enum Action: Equatable {
        /// Ask the director, then call ``Exchange/directed(_:now:)``.
        case direct(failed: [ProxyTarget])
        /// Call ``Exchange/resume()`` after so many seconds, or when the director says so.
        case wait(Seconds)
        /// Connect, then call ``Exchange/connected(reused:now:)``; `fresh` forbids a kept connection.
        case connect(ProxyTarget, fresh: Bool)
        /// Send the client `100 Continue`.
        case sendContinue
        /// Send upstream: the head, what there is of the body, and the end if it has come.
        case send(RequestHead, [ByteBuffer], end: RequestEnd?)
        case report(ProxyOutcome)
        /// The same for a try that lost a race: nobody went away.
        case reportLoser(ProxyOutcome)
        /// Ask the director for a second target, then call ``Exchange/hedged(_:now:)``.
        case hedge(besides: ProxyTarget)
        /// Connect for the second try, then call ``Exchange/rivalConnected(now:)``.
        case connectRival(ProxyTarget)
        /// Send the whole request on the second try's connection.
        case sendRival(RequestHead, [ByteBuffer])
        /// The second try's connection is the upstream's from here on.
        case promoteRival
        case closeRival
        /// Send the client the head of the answer.
        case respond(ResponseHead)
        /// Send the client the end of the answer.
        case endResponse(Fields?)
        /// Send the client a whole answer.
        case answer(ResponseHead, body: String)
        /// The upstream connection is clean: keep it for the next request.
        case releaseUpstream
        /// The upstream connection is not to be used again, or is no longer wanted.
        case closeUpstream
        /// The exchange is over: the next request may be served.
        case next
        /// The exchange is over: close once everything is sent; a client that still sends is heard out for a while.
        case close
        /// Close so that the client sees that the answer is not whole.
        case cut(reset: Bool)
    }

    enum ChunkAction: Hashable {
        case forward, held, dropped
        /// Too much to drop: close.
        case close
        /// More than a request may have.
        case tooLong
    }

    struct RequestEnd: Equatable {
        var trailers: Fields?
    }

    enum Stage: Hashable {
        /// The director wants to see more of the body.
        case peeking
        /// The director is to be asked, or is being asked.
        case choosing
        /// The director is to be asked again later.
        case paused
        /// A connection is being made.
        case connecting
        /// The request is on its way and nothing of an answer has come.
        case waiting
        /// The answer is being passed on.
        case answering
        /// The answer is over; the rest of the request is read and dropped.
        case discarding
        case over
    }

    let request: AdmittedRequest
    let id: UInt64
    private let limits: Limits

    private(set) var stage = Stage.choosing
    /// What of the body is kept for this or another try; `nil` when another try is not possible any more.
    private var replay: [ByteBuffer]? = []
    private var requestEnd: RequestEnd?
    private(set) var requestBytes = 0
    private(set) var responseBytes = 0
    /// The status of the answer that the client gets; 0 before there is one.
    private(set) var status = 0
    private var discarded = 0
    var current: Try?
    /// The head of an answer that is kept back, and the second try beside the current one: seldom there, and kept apart
    /// so that the exchange is small.
    private var heldApart: Apart<ResponseHead>?
    private var raceApart: Apart<Race>?
    var hasHedged = false
    /// Whether the request was given up because its own deadline had passed.
    var missedDeadline = false
    private var failed: [ProxyTarget] = []
    /// Targets that took nothing at first: no work was lost on them, and when a region is gone there are many.
    private var unmet = 0
    private var owesContinue: Bool
    private var keepAlive: Bool
    private var upstreamKeepAlive = false
    private var endsWithConnection = false

    /// The head of an answer that is kept back.
    var heldHead: ResponseHead? {
        get { self.heldApart?.value }
        set { self.heldApart = newValue.map { .value($0) } }
    }

    /// The second try beside the current one.
    var race: Race? {
        get { self.raceApart?.value }
        set { self.raceApart = newValue.map { .value($0) } }
    }

    /// Whether the head of the answer is kept back until the first byte of its body: a model server sends it long before
    /// it has a token, and what the client has seen cannot be taken back.
    var holdsHead: Bool { self.heldApart != nil }

    init(_ request: AdmittedRequest, id: UInt64, limits: Limits) {
        self.request = request
        self.id = id
        self.limits = limits
        self.owesContinue = request.expectsContinue
        self.keepAlive = request.keepAlive
    }

    /// Whether more of the request may be read, by what is held here; whether the upstream's channel takes more is
    /// for the caller to add while ``sendsUpstream``.
    var wantsRequest: Bool {
        guard self.requestEnd == nil else { return false }
        switch self.stage {
        // A long line of requests that wait must not hold a long body each.
        case .peeking, .paused: return !self.hasPeeked
        case .choosing, .connecting: return self.requestBytes < self.limits.replay
        case .waiting, .answering, .discarding: return true
        case .over: return false
        }
    }

    /// Whether what is read of the request goes to the upstream at once.
    var sendsUpstream: Bool { self.stage == .waiting || self.stage == .answering }

    /// Bytes of the body that are kept for this or another try.
    var replayBytes: Int { self.replay?.reduce(0) { $0 + $1.readableBytes } ?? 0 }

    /// Whether the client has sent the whole request.
    var isRequestWhole: Bool { self.requestEnd != nil }

    // MARK: The director

    /// Begins: the director is to be asked, at once or when it can see the beginning of the body.
    mutating func begin(peeking: Bool = false) -> [Action] {
        guard peeking, self.request.hasBody, self.limits.peek > 0 else { return [.direct(failed: [])] }
        self.stage = .peeking
        guard self.owesContinue else { return [] }
        self.owesContinue = false
        return [.sendContinue]
    }

    private var hasPeeked: Bool {
        self.requestEnd != nil || self.requestBytes >= min(self.limits.peek, self.limits.replay)
    }

    /// The beginning of the body, as soon as enough of it is there: then the director is to be asked.
    mutating func peeked() -> [ByteBuffer]? {
        guard self.stage == .peeking, self.hasPeeked, let body = self.replay else { return nil }
        self.stage = .choosing
        var (left, beginning) = (self.limits.peek, [ByteBuffer]())
        for bytes in body where left > 0 {
            let count = min(left, bytes.readableBytes)
            if let slice = bytes.getSlice(at: bytes.readerIndex, length: count) { beginning.append(slice) }
            left -= count
        }
        return beginning
    }

    /// A pause is over: the director is to be asked again.
    mutating func resume() -> [Action] {
        guard self.stage == .paused else { return [] }
        self.stage = .choosing
        return [.direct(failed: self.failed)]
    }

    /// The director has decided.
    mutating func directed(_ decision: ProxyDecision, now: NIODeadline) -> [Action] {
        guard self.stage == .choosing else { return [] }
        switch decision {
        case .answer(let answer): return self.answer(answer)
        case .wait(let seconds):
            self.stage = .paused
            return [.wait(seconds)]
        case .forward(let target, _, _, _, _, _):
            self.current = Try(decision, number: self.failed.count + 1, start: now)
            self.stage = .connecting
            guard self.owesContinue else { return [.connect(target, fresh: false)] }
            self.owesContinue = false
            return [.sendContinue, .connect(target, fresh: false)]
        }
    }

    // MARK: The client

    /// A piece of the request's body has arrived.
    mutating func requestBody(_ bytes: ByteBuffer) -> ChunkAction {
        switch self.stage {
        case .peeking, .choosing, .paused, .connecting:
            self.requestBytes += bytes.readableBytes
            guard self.requestBytes <= self.limits.body else { return .tooLong }
            self.replay?.append(bytes)
            return .held
        case .waiting, .answering:
            self.requestBytes += bytes.readableBytes
            guard self.requestBytes <= self.limits.body else { return .tooLong }
            if self.requestBytes > self.limits.replay { self.replay = nil }
            self.replay?.append(bytes)
            return .forward
        case .discarding:
            self.discarded += bytes.readableBytes
            guard self.discarded > self.limits.discard else { return .dropped }
            self.stage = .over
            return .close
        case .over: return .dropped
        }
    }

    /// The request is whole.
    ///
    /// - Returns: `.forward` to pass the end on at once; `.close` never.
    mutating func requestEnded(_ trailers: Fields?) -> ChunkAction {
        self.requestEnd = RequestEnd(trailers: trailers)
        switch self.stage {
        case .peeking, .choosing, .paused, .connecting: return .held
        case .waiting, .answering: return .forward
        case .discarding:
            self.stage = .over
            return .dropped
        case .over: return .dropped
        }
    }

    /// The client closed its side, or its connection died.
    mutating func clientGone(now: NIODeadline) -> [Action] {
        let rest = self.abandonRival(now: now)
        let report = self.close(now: now) { .cancelled(bytes: $0.responseBytes, duration: $1) }
        self.stage = .over
        return rest + (report.map { [.closeUpstream, .report($0)] } ?? [])
    }

    /// The client's request turned out to be malformed, or its body did not come in time.
    mutating func requestFailed(_ refusal: Refusal, now: NIODeadline) -> [Action] {
        let stage = self.stage
        var actions = self.clientGone(now: now)
        self.keepAlive = false
        switch stage {
        case .peeking, .choosing, .paused, .connecting, .waiting: actions += self.answer(refusal.answer)
        case .answering: actions.append(.cut(reset: self.endsWithConnection))
        case .discarding: actions.append(.close)
        case .over: break
        }
        return actions
    }

    /// The server shuts down: the connection is not kept after this exchange.
    mutating func drain() { self.keepAlive = false }

    // MARK: The upstream

    /// A connection for the request is there.
    mutating func connected(reused: Bool, now: NIODeadline) -> [Action] {
        guard self.stage == .connecting, let current else { return [] }
        self.stage = .waiting
        self.current?.isReused = reused
        let (head, body) = self.message(of: current)
        if self.requestBytes > self.limits.replay { self.replay = nil }
        return [.send(head, body, end: self.requestEnd), .report(self.outcome(of: current, .sent))]
    }

    /// What goes upstream for a try: the head, and what there is of the body.
    func message(of current: Try) -> (head: RequestHead, body: [ByteBuffer]) {
        var head = self.request.head
        if let uri = current.uri { head.uri = uri }
        head.headers.set(current.requestHeaders)
        var body = self.replay ?? []
        if let edit = current.edit, edit.range.upperBound <= self.requestBytes {
            body = edit.applied(to: body)
            if let length = head.headers.first(.contentLength).flatMap({ Int($0) }) {
                head.headers.set("content-length", String(length + edit.growth))
            }
        }
        return (head, body)
    }

    /// The connection could not be made, died, or gave no answer in time.
    mutating func upstreamFailed(_ failure: ProxyFailure, now: NIODeadline) -> [Action] {
        switch self.stage {
        case .waiting where self.holdsHead && self.race?.head == nil:
            // The upstream had begun its answer, as far as anybody knows: it is not asked again.
            let pass = self.releaseHead()
            return self.abandonRival(now: now) + pass + self.upstreamFailed(failure, now: now)
        case .connecting, .waiting:
            if let current, current.isReused, current.mayRefresh, failure == .connectionClosed, self.replay != nil,
                !self.holdsHead, self.raceApart == nil
            {
                self.current?.isReused = false
                self.current?.mayRefresh = false
                self.stage = .connecting
                return [.closeUpstream, .connect(current.target, fresh: true)]
            }
            return self.tryNext(after: failure, now: now)
        case .answering:
            let report = self.close(now: now) { .cut(failure, bytes: $0.responseBytes, duration: $1) }
            self.stage = .over
            return [.closeUpstream] + (report.map { [.report($0)] } ?? []) + [.cut(reset: self.endsWithConnection)]
        case .peeking, .choosing, .paused, .discarding, .over: return []
        }
    }

    /// Whether an answer with this status could be dropped in favour of another try.
    func mayRetry(status: Int) -> Bool {
        (status == 502 || status == 503) && self.stage == .waiting && self.replay != nil
            && (self.mayTryNext(after: .status(status)) || self.race?.head != nil)
    }

    /// Whether another target may be tried, after one more failure of the current one.
    private func mayTryNext(after failure: ProxyFailure? = nil) -> Bool {
        let count = self.failed.count + (failure == nil ? 0 : 1)
        let unmet = self.unmet + (failure.map(self.isUnmet) ?? false ? 1 : 0)
        return count - unmet < self.limits.tries && count < self.limits.targets
    }

    private func isUnmet(_ failure: ProxyFailure) -> Bool {
        guard let current, failure.tookNothing else { return false }
        return !self.failed.contains(current.target)
    }

    /// Whether what was sent so far could be sent again.
    var mayReplay: Bool { self.replay != nil }

    /// Tries that have failed.
    var triesSoFar: Int { self.failed.count }

    /// The upstream answered with a status that is to be tried elsewhere.
    mutating func retry(status: Int, now: NIODeadline) -> [Action] {
        self.tryNext(after: .status(status), now: now)
    }

    /// The answer has begun.
    mutating func responseHead(_ head: ResponseHead, now: NIODeadline) -> [Action] {
        guard self.stage == .waiting, let current else { return [] }
        // Nobody asked for another protocol: `Upgrade` is not passed on.
        guard head.status != 101 else { return self.upstreamFailed(.malformedResponse, now: now) }
        self.current?.headAfter = now - current.start
        let reports = self.reports(of: current, head)
        guard !current.limits.holdsHead else {
            self.heldHead = head
            return reports
        }
        return self.pass(head) + reports
    }

    /// What the head of a try's answer says to the director.
    func reports(of one: Try, _ head: ResponseHead) -> [Action] {
        guard let load = head.headers.first(.loadReport) else { return [] }
        return [.report(self.outcome(of: one, .loadReport(load)))]
    }

    /// The answer goes to the client from here on.
    mutating func pass(_ head: ResponseHead) -> [Action] {
        guard let current else { return [] }
        self.stage = .answering
        self.replay = nil
        self.status = head.status
        self.upstreamKeepAlive = head.isKeepAlive
        let response = HeaderRules.respond(
            head,
            to: self.request,
            adding: current.responseHeaders,
            keepAlive: self.keepAlive
        )
        self.endsWithConnection = response.endsWithConnection
        if response.endsWithConnection { self.keepAlive = false }
        return [.respond(response.head)]
    }

    /// Another try is the current one, and its answer has this head.
    mutating func take(over rival: Try, head: ResponseHead?) {
        if let current { self.failed.append(current.target) }
        self.current = rival
        self.heldHead = head
    }

    /// A piece of the answer's body has arrived.
    ///
    /// - Returns: Whether it goes to the client.
    mutating func responseBody(_ count: Int) -> Bool {
        guard self.stage == .answering else { return false }
        self.responseBytes += count
        return true
    }

    /// What to report of the first piece of the answer's body; `nil` for those that follow.
    mutating func firstByte(now: NIODeadline) -> ProxyOutcome? {
        guard self.stage == .answering, self.responseBytes == 0, let current else { return nil }
        let after: Seconds = now - current.start
        return self.outcome(
            of: current,
            .firstByte(status: self.status, head: current.headAfter ?? after, after: after)
        )
    }

    /// The answer is whole.
    mutating func responseEnded(_ trailers: Fields?, now: NIODeadline) -> [Action] {
        guard self.stage == .answering else { return [] }
        let isClean = self.requestEnd != nil && self.upstreamKeepAlive
        let report = self.close(now: now) {
            .completed(status: $0.status, bytes: $0.responseBytes, duration: $1)
        }
        return [.endResponse(trailers), isClean ? .releaseUpstream : .closeUpstream]
            + (report.map { [.report($0)] } ?? []) + self.finish()
    }

    // MARK: Endings

    private mutating func tryNext(after failure: ProxyFailure, now: NIODeadline) -> [Action] {
        guard let current else { return [] }
        if self.isUnmet(failure) { self.unmet += 1 }
        let report = self.close(now: now) { .failed(failure, duration: $1) }
        self.failed.append(current.target)
        self.heldHead = nil
        if let race, race.head != nil {
            // The second try is already as far as the first was.
            self.race = nil
            self.take(over: race.rival, head: race.head)
            return [.closeUpstream] + (report.map { [.report($0)] } ?? []) + [.promoteRival]
        }
        let rest = self.abandonRival(now: now)
        self.stage = .choosing
        let actions = rest + [.closeUpstream] + (report.map { [.report($0)] } ?? [])
        if self.replay != nil, self.mayTryNext() { return actions + [.direct(failed: self.failed)] }
        return actions + self.answer(self.unreachable(failure))
    }

    private func unreachable(_ failure: ProxyFailure) -> ProxyAnswer {
        let isLate = failure == .responseTimeout
        let tries = self.failed.count
        return .error(
            status: isLate ? 504 : 502,
            code: isLate ? "upstream_timeout" : "upstream_unreachable",
            message: "No model server answered (\(tries) tried, the last: \(failure)). Try again."
        )
    }

    /// Answers the client from here.
    mutating func answer(_ answer: ProxyAnswer) -> [Action] {
        // Without `100 Continue` the client may or may not send its body: what follows cannot be told apart.
        if self.owesContinue, self.requestEnd == nil { self.keepAlive = false }
        self.status = answer.status
        let hasBody = answer.status != 204 && answer.status != 304
        let head = ResponseHead(answer, hasBody: hasBody)
        let response = HeaderRules.respond(
            head,
            to: self.request,
            adding: answer.headers,
            keepAlive: self.keepAlive
        )
        let body = hasBody && self.request.head.method != "HEAD" ? answer.body : ""
        self.responseBytes += body.utf8.count
        return [.answer(response.head, body: body)] + self.finish()
    }

    private mutating func finish() -> [Action] {
        self.replay = nil
        if !self.keepAlive {
            self.stage = .over
            return [.close]
        }
        self.stage = self.requestEnd == nil ? .discarding : .over
        return self.stage == .over ? [.next] : []
    }

    /// Takes the open try away and makes its only terminal outcome.
    mutating func close(
        now: NIODeadline,
        _ event: (Exchange, Seconds) -> ProxyOutcome.Event
    ) -> ProxyOutcome? {
        guard let current = self.current.take() else { return nil }
        return self.outcome(of: current, event(self, now - current.start))
    }

    func outcome(of current: Try, _ event: ProxyOutcome.Event) -> ProxyOutcome {
        ProxyOutcome(request: self.id, number: current.number, target: current.target, event: event)
    }
}

/// One try of a request, as the director wants it.
struct Try {
    let target: ProxyTarget
    let number: Int
    let start: NIODeadline
    let uri: String?
    let requestHeaders: [ProxyHeader]
    let responseHeaders: [ProxyHeader]
    let edit: BodyEdit?
    let limits: TryLimits
    var isReused = false
    var mayRefresh = true
    /// When the head of its answer came, in seconds from its start.
    var headAfter: Seconds?

    /// - Returns: `nil` for a decision to try nothing.
    init?(_ decision: ProxyDecision, number: Int, start: NIODeadline) {
        guard
            case .forward(let target, let uri, let requestHeaders, let responseHeaders, let edit, let limits) = decision
        else { return nil }
        self.target = target
        self.number = number
        self.start = start
        self.uri = uri
        self.requestHeaders = requestHeaders
        self.responseHeaders = responseHeaders
        self.edit = edit
        self.limits = limits
    }
}

extension ResponseHead {
    /// The head of an answer of our own, without the director's headers and what speaks of the connection.
    init(_ answer: ProxyAnswer, hasBody: Bool) {
        self.init(status: answer.status, reason: HTTPResponseStatus(statusCode: answer.status).reasonPhrase)
        if hasBody { self.headers.add("content-length", String(answer.body.utf8.count)) }
    }
}

/// Seconds between two readings of the same clock.
func - (later: NIODeadline, earlier: NIODeadline) -> Seconds {
    Seconds((later - earlier).nanoseconds) / 1e9
}
