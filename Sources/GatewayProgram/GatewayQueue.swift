import FleetModel
import Leadership
import RequestRouting

// Who goes, who waits and who is turned away.

extension Gateway.State {
    /// How long a request pauses when everything that there is has failed it.
    static let pause: Seconds = 0.25
    static let pausesMax = 2
    /// Requests that one piece of news lets go at most; the next news comes in a tenth of a second.
    static let releasedAtOnce = 256

    /// Decides about a request of which a try may go out.
    mutating func decide(_ id: UInt64, failed: [EndpointAddress], now: Seconds) -> Verdict {
        guard let open = self.open[id] else { return .drop(.noEndpoints, retryAfter: 1) }
        open.request.failed = failed
        switch open.phase {
        case .evicted: return self.drop(open, .evicted)
        case .assigned(let pick):
            open.phase = .sent(pick)
            return .forward(open, pick)
        case .waiting(let until, let since):
            // Timers may be a little early.
            guard now >= until - 0.01 else { return .wait(until - now) }
            self.admission.leave(id)
            self.waited(open, since: since, now: now)
            if self.router.fullness(of: open.request, now: now) == nil { return self.drop(open, .noEndpoints) }
            // Its patience for an endpoint, or for the next try, is over; that for room ends with a refusal.
            return open.waitsForRoom
                ? self.drop(open, .expired) : self.pick(open, now: now) ?? self.drop(open, .noEndpoints)
        case .choosing, .sent: break
        }
        // Another try is no new work, and a request that was let in is not sent away.
        guard failed.isEmpty else {
            guard self.budget.take(underWay: self.open.count, now: now) else { return self.drop(open, .retriesSpent) }
            return self.pick(open, now: now) ?? self.drop(open, .noEndpoints)
        }
        guard let fullness = self.router.fullness(of: open.request, now: now) else {
            // The other gateway knows other places; a client of ours may as well wait for the first endpoint.
            if open.request.isHop { return self.drop(open, .noEndpoints) }
            return self.queue(id, open, isForEndpoint: true, now: now)
        }
        let isFull = fullness >= self.admission.settings.fullness[open.request.band.rank]
        if isFull || self.admission.isQueued(open.request.pool, open.request.band) {
            return self.queue(id, open, isForEndpoint: false, now: now)
        }
        return self.pick(open, now: now) ?? self.drop(open, .noEndpoints)
    }

    private mutating func pick(_ open: OpenRequest, now: Seconds) -> Verdict? {
        do throws(PickRefusal) {
            let pick = try self.router.pick(open.request, now: now, using: &self.dice)
            if pick.need == .last, open.pauses < Self.pausesMax {
                // A moment later it may be there again.
                self.router.finished(pick, .cancelled, now: now)
                open.pauses += 1
                open.phase = .waiting(until: now + Self.pause, since: now)
                open.waitsForRoom = false
                return .wait(Self.pause)
            }
            self.took(pick, open)
            open.phase = .sent(pick)
            return .forward(open, pick)
        } catch {
            self.counts.refused(error)
            return nil
        }
    }

    private mutating func took(_ pick: Pick, _ open: OpenRequest) {
        open.tries += 1
        open.lastPick = pick
        open.plan = self.fence.held
        self.counts.picked(pick)
    }

    private mutating func queue(
        _ id: UInt64,
        _ open: OpenRequest,
        isForEndpoint: Bool,
        now: Seconds
    ) -> Verdict {
        let arrival = Arrival(
            id: id,
            pool: open.request.pool,
            band: open.request.band,
            tenant: open.tenant,
            promptTokens: open.request.promptTokens,
            deadline: open.deadline,
            isForEndpoint: isForEndpoint
        )
        switch self.admission.arrive(arrival, now: now, using: &self.dice) {
        case .drop(let reason): return self.drop(open, reason)
        case .wait(let until, let evicted):
            if let evicted {
                self.open[evicted]?.phase = .evicted
                self.woken.append(evicted)
            }
            open.phase = .waiting(until: until, since: now)
            open.waitsForRoom = !isForEndpoint
            return .wait(until - now)
        }
    }

    /// Turns a request away.
    private mutating func drop(_ open: OpenRequest, _ reason: DropReason) -> Verdict {
        open.phase = .choosing
        open.drop = reason
        self.counts.dropped(reason, open.request)
        let waiting = self.admission.count(open.request.pool, open.request.band)
        // With many before it, later is better; nobody is told to come back all at once.
        return .drop(reason, retryAfter: 1 + min(29, waiting / 64))
    }

    private mutating func waited(_ open: OpenRequest, since: Seconds, now: Seconds) {
        open.waited += now - since
        self.counts.waited(now - since, open.request)
    }

    /// Lets those go for whom there is room now; the proxy is told of ``woken``.
    mutating func release(now: Seconds) {
        guard self.admission.count > 0 else { return }
        for pool in self.admission.waitingPools {
            for _ in 0..<Self.releasedAtOnce {
                let room = [Band.premium, .standard, .batch].map { band in
                    self.admission.count(pool, band) > 0
                        && self.router.fullness(of: PickRequest(pool: pool, band: band), now: now)
                            .map { $0 < self.admission.settings.fullness[band.rank] } ?? false
                }
                guard let id = self.admission.next(pool, now: now, hasRoom: { room[$0.rank] }) else { break }
                guard let open = self.open[id] else { continue }
                if case .waiting(_, let since) = open.phase { self.waited(open, since: since, now: now) }
                open.phase = .choosing
                if let pick = try? self.router.pick(open.request, now: now, using: &self.dice) {
                    self.took(pick, open)
                    open.phase = .assigned(pick)
                }
                self.woken.append(id)
            }
        }
    }
}
