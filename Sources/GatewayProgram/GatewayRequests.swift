import EngineSignals
import FleetModel
import Leadership
import Logging
import Observability
import RequestRouting
import ReverseProxy
import WireTransport

// What the proxy asks the gateway for each request.

extension Gateway: ProxyDirector {
    /// The prompt's beginning and the model's name stand in the body of what is posted to a pool.
    func wantsBody(_ request: ProxiedRequest) -> Bool {
        guard request.method == "POST", self.configuration.pools.contains(where: { $0.contains(request.uri) }) else {
            return false
        }
        return request.header("content-type", mentions: "json") ?? true
    }

    func direct(_ request: ProxiedRequest, failed: [ProxyTarget]) -> ProxyDecision {
        if request.uri == Self.pingPath { return .answer(ProxyAnswer(status: 204)) }
        guard let pool = self.configuration.pools.first(where: { $0.contains(request.uri) }) else {
            return .answer(
                .error(
                    status: 404,
                    code: "no_pool",
                    message: "no pool has this path; known: "
                        + self.configuration.pools.map(\.path).joined(separator: ", ")
                )
            )
        }
        let now = self.clock.now
        let opened = request.asked == 0 ? self.open(request, of: pool, now: now) : nil
        let (verdict, woken) = self.withState { state -> (Verdict, [UInt64]) in
            if let opened {
                opened.trace = TraceContext(given: request[header: TraceContext.header], using: &state.dice)
                state.begin(opened, id: request.id, now: now)
            }
            let verdict = state.decide(request.id, failed: failed.map(\.address), now: now)
            return (verdict, state.takeWoken())
        }
        self.waker.wake(woken)
        switch verdict {
        case .forward(let open, let pick): return self.forward(request, open, pick)
        case .wait(let seconds): return .wait(seconds)
        case .drop(let reason, let retryAfter): return .answer(Self.refusal(reason, of: pool.name, retryAfter))
        }
    }

    /// Gateways of other regions are called over mutual TLS when this one has a certificate, model servers as their pool
    /// says.
    func tls(to target: EndpointAddress) -> TLSInstaller? {
        if let links, let region = self.configuration.region(of: target) {
            let usesHTTP2 = self.configuration.streamingPeers.contains(target)
            return { channel in try links.install(in: channel, to: target, region: region, usesHTTP2: usesHTTP2) }
        }
        guard !self.trusts.isEmpty, let pool = self.withState({ $0.router.pool(of: target) }),
            let trust = self.trusts[pool]
        else { return nil }
        return { channel in try trust.install(in: channel, to: target) }
    }

    /// The TLS of the probe of a peer, which speaks HTTP/1.1 to all of them.
    func probeTLS(to peer: EndpointAddress, in region: RegionName) -> TLSInstaller? {
        guard let links else { return nil }
        return { channel in try links.install(in: channel, to: peer, region: region) }
    }

    func speaksHTTP2(to target: EndpointAddress) -> Bool {
        if self.configuration.region(of: target) != nil { return self.configuration.streamingPeers.contains(target) }
        let pools = self.configuration.pools.filter { $0.endpointProtocol == .http2 }
        guard !pools.isEmpty, let pool = self.withState({ $0.router.pool(of: target) }) else { return false }
        return pools.contains { $0.name == pool }
    }

    // MARK: What a request says

    private func open(_ request: ProxiedRequest, of pool: GatewayConfiguration.Pool, now: Seconds) -> OpenRequest {
        var scan = PromptScan()
        request.forEachPeeked { scan.read($0) }
        let isHop = request.hops > 0
        let session = request[header: Self.sessionHeader].map(TextHash.of)
        let bytes = request[header: "content-length"].flatMap { Int($0) } ?? scan.offset
        // The first gateway has rewritten the model already.
        let rewritten =
            isHop || pool.rewrite.rules.isEmpty
            ? nil
            : scan.model.flatMap { model in
                self.withState { state in
                    pool.rewrite.target(of: model, key: session ?? scan.prefix, using: &state.dice)
                }
            }
        let served = rewritten ?? scan.model
        let isAdapter = pool.model != nil && served != nil && served != pool.model
        let deadline = RequestDeadline { request[header: $0] }
        return OpenRequest(
            request: PickRequest(
                pool: pool.name,
                band: self.band(of: request, pool),
                isHop: isHop,
                cluster: isHop ? request[header: Self.clusterHeader].flatMap { try? ClusterName($0) } : nil,
                promptTokens: bytes / PromptScan.bytesPerToken,
                session: session,
                prefix: scan.prefix,
                adapter: isAdapter ? served.map(TextHash.of) : nil
            ),
            pool: pool,
            tenant: TextHash.of(Self.fairnessHeaders.lazy.compactMap { request[header: $0] }.first ?? Self.defaultFlow),
            deadline: deadline.map { now + $0.seconds },
            deadlineHeader: deadline?.header,
            model: scan.model,
            rewritten: rewritten,
            edit: rewritten.flatMap { model in
                scan.modelBytes.map { BodyEdit(range: $0, replacement: ProxyAnswer.jsonString(model)) }
            },
            streams: scan.stream ?? false
        )
    }

    /// The band of the objective that the request names, or else of its pool's own.
    private func band(of request: ProxiedRequest, _ pool: GatewayConfiguration.Pool) -> Band {
        let name = Self.objectiveHeaders.lazy.compactMap { request[header: $0] }.first ?? pool.objective
        guard let name else { return .standard }
        if let objective = self.configuration.objectives.first(where: { $0.name == name && $0.serves(pool.name) }) {
            return Band(priority: objective.priority)
        }
        return self.withState { $0.router.band(of: name, in: pool.name) }
    }

    // MARK: What is said to others

    private func forward(_ request: ProxiedRequest, _ open: OpenRequest, _ pick: Pick) -> ProxyDecision {
        var up: [ProxyHeader] = []
        if pick.isRemote { up.append(ProxyHeader(Self.clusterHeader, pick.cluster.text)) }
        if let model = open.model, !open.request.isHop { up.append(ProxyHeader(Self.modelHeader, model)) }
        if let deadline = open.deadline, let header = open.deadlineHeader {
            up.append(ProxyHeader(header.rawValue, header.text(of: deadline - self.clock.now)))
        }
        if let trace = open.trace, !trace.isGiven { up.append(ProxyHeader(TraceContext.header, trace.text)) }
        var down: [ProxyHeader] = []
        if request[header: Self.explainHeader] == "1" {
            // A peer says itself which of its clusters took the request.
            if !pick.isRemote {
                down.append(ProxyHeader(Self.clusterHeader, pick.cluster.text))
                down.append(ProxyHeader("x-isobar-endpoint", pick.target.description))
            }
            if !open.request.isHop {
                down.append(ProxyHeader("x-isobar-reason", pick.reason.rawValue))
                if let version = open.plan { down.append(ProxyHeader("x-isobar-plan", version.description)) }
            }
        }
        let left = open.deadline.map { max(0, $0 - self.clock.now) }
        let mayHedge = open.pool.hedge != nil && open.tries == 1 && !open.request.isHop
        let limits = TryLimits(
            deadline: left,
            hedgeAfter: mayHedge ? self.withState { $0.hedges[open.request.pool]?.delay } : nil
        )
        return .forward(
            ProxyTarget(address: pick.target),
            // A peer finds the pool by the path, as this gateway did; a model server does not know it.
            uri: pick.isRemote ? nil : open.pool.inside(request.uri),
            requestHeaders: up,
            responseHeaders: down,
            edit: open.edit,
            limits: limits
        )
    }

    /// A second try beside the first: at another target that is sound, and only while there are few of them.
    func hedge(_ request: ProxiedRequest, besides target: ProxyTarget) -> ProxyDecision {
        let now = self.clock.now
        let chosen = self.withState { state -> Verdict? in
            guard let open = state.open[request.id], open.rival == nil,
                state.hedges[open.request.pool]?.take() ?? false
            else { return nil }
            open.request.failed.append(target.address)
            defer { open.request.failed.removeLast() }
            guard let pick = try? state.router.pick(open.request, now: now, using: &state.dice) else { return nil }
            guard pick.need == .sound else {
                state.router.finished(pick, .cancelled, now: now)
                return nil
            }
            open.rival = pick
            open.hedgedTo = pick.target
            open.tries += 1
            state.counts.picked(pick)
            state.counts.hedges += 1
            return .forward(open, pick)
        }
        guard case .forward(let open, let pick) = chosen else { return .wait(0) }
        return self.forward(request, open, pick)
    }

    private static func refusal(_ reason: DropReason, of pool: PoolName, _ retryAfter: Int) -> ProxyAnswer {
        let headers = [
            ProxyHeader("retry-after", String(retryAfter)), ProxyHeader(self.droppedHeader, reason.rawValue),
        ]
        let status = reason == .noEndpoints || reason == .retriesSpent ? 503 : 429
        let message =
            switch reason {
            case .noEndpoints:
                "no endpoint of pool \(pool) can take a request; see the gateway's /v1/status"
            case .saturated: "pool \(pool) is full; try again in \(retryAfter) s"
            case .expired: "pool \(pool) had no room in time; try again in \(retryAfter) s"
            case .retriesSpent:
                "a try failed in pool \(pool), and too many requests are tried again already; try again in \(retryAfter) s"
            case .evicted: "pool \(pool) is full and requests of a higher priority came; try again in \(retryAfter) s"
            }
        return .error(status: status, code: reason.rawValue, message: message, headers: headers)
    }

    // MARK: What became of it

    func observe(_ outcome: ProxyOutcome) {
        // The choice was counted when it was made.
        if case .sent = outcome.event { return }
        let now = self.clock.now
        if case .loadReport(let content) = outcome.event {
            let load = LoadReport(content)?.load
            return self.withState { $0.reported(load, in: outcome, now: now) }
        }
        let woken = self.withState { state in
            state.observed(outcome, now: now)
            return state.takeWoken()
        }
        self.waker.wake(woken)
        if case .failed(let failure, _) = outcome.event {
            self.logger.info(
                "try failed",
                metadata: ["target": "\(outcome.target)", "reason": "\(failure)", "try": "\(outcome.number)"]
            )
        }
    }

    func ended(_ request: ProxiedRequest, _ summary: ProxySummary) {
        let now = self.clock.now
        let (open, woken) = self.withState { ($0.end(request.id, summary, now: now), $0.takeWoken()) }
        self.waker.wake(woken)
        guard let open, let accessLog else { return }
        accessLog.add(AccessRecord(request, open, summary))
    }
}

extension Gateway.State {
    mutating func begin(_ open: OpenRequest, id: UInt64, now: Seconds) {
        open.begunAt = now
        self.open[id] = open
        self.budget.arrived()
        if open.pool.hedge != nil { self.hedges[open.request.pool]?.arrived() }
        if !open.request.isHop { self.meter.arrived(pool: open.request.pool, band: open.request.band, now: now) }
        if open.rewritten != nil { self.counts.rewrites += 1 }
    }

    mutating func observed(_ outcome: ProxyOutcome, now: Seconds) {
        guard let open = self.open[outcome.request], case .sent(let first) = open.phase else { return }
        let isRival = open.rival?.target == outcome.target.address
        let pick = isRival ? open.rival ?? first : first
        self.counts.observed(outcome.event, of: pick)
        if case .firstByte(_, _, let after) = outcome.event {
            self.router.began(pick)
            open.timeToFirstByte = now - open.begunAt
            open.lastPick = pick
            if open.hedgedTo == outcome.target.address { self.counts.hedgesWon += 1 }
            if open.pool.hedge != nil { self.hedges[open.request.pool]?.began(after: after) }
            self.counts.firstByte(open)
        }
        if outcome.event.isTerminal {
            self.router.finished(pick, PickOutcome(outcome.event, of: pick), now: now)
            // Of two tries the other one goes on.
            if !isRival { open.phase = open.rival.map { .sent($0) } ?? .choosing }
            open.rival = nil
            self.release(now: now)
        }
    }

    /// The server of a request says how loaded it is; `nil` for words that say nothing.
    mutating func reported(_ load: ReportedLoad?, in outcome: ProxyOutcome, now: Seconds) {
        self.counts.loadReports[load == nil ? .unread : .used, default: 0] += 1
        guard let load, let open = self.open[outcome.request] else { return }
        for pick in [open.openPick, open.rival].compactMap(\.self) where pick.target == outcome.target.address {
            self.router.reported(load, by: pick, now: now)
        }
    }

    /// Forgets a request that is over.
    mutating func end(_ id: UInt64, _ summary: ProxySummary, now: Seconds) -> OpenRequest? {
        guard let open = self.open.removeValue(forKey: id) else { return nil }
        self.admission.leave(id)
        for pick in [open.openPick, open.rival].compactMap(\.self) { self.router.finished(pick, .cancelled, now: now) }
        self.counts.ended(open, summary)
        return open
    }

    mutating func takeWoken() -> [UInt64] {
        if self.woken.isEmpty { return [] }
        defer { self.woken = [] }
        return self.woken
    }
}

extension PickOutcome {
    init(_ event: ProxyOutcome.Event, of pick: Pick) {
        self =
            switch event {
            // What another gateway passes on is its endpoints' business: it judges them itself.
            case .completed(let status, _, _): status >= 500 && !pick.isRemote ? .errored : .answered
            case .failed(.status, _): pick.isRemote ? .answered : .errored
            case .failed, .cut: .failed
            case .sent, .loadReport, .firstByte, .cancelled: .cancelled
            }
    }
}
