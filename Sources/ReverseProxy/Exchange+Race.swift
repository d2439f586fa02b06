import FleetModel
import NIOCore

/// A second try of a request whose first has not begun to answer: both run, and whoever gives the first byte is taken.
///
/// The other one is closed at once, which is how a model server learns that it need not go on. Until then the request is
/// executed twice: that is the price of a hedge, and why only a pool's own setting allows it.
struct Race {
    /// The second try.
    var rival: Try
    /// The head of its answer, kept until its first byte.
    var head: ResponseHead?
}

/// A value in memory of its own.
indirect enum Apart<Value> {
    case value(Value)

    var value: Value {
        switch self {
        case .value(let value): value
        }
    }
}

extension Exchange {
    /// When something is to happen if no byte of an answer has come by then, beside the upstream's own time.
    var dueAt: NIODeadline? {
        guard self.stage == .waiting, let current else { return nil }
        let deadline = current.limits.deadline.map { current.start + .seconds($0) }
        guard !self.hasHedged, let hedge = current.limits.hedgeAfter.map({ current.start + .seconds($0) }) else {
            return deadline
        }
        return deadline.map { min($0, hedge) } ?? hedge
    }

    /// The time of a try is up: its client's, its hedge's, or the upstream's.
    mutating func timeUp(now: NIODeadline) -> [Action] {
        guard self.stage == .waiting, let current else { return [] }
        if let deadline = current.limits.deadline, now >= current.start + .seconds(deadline) {
            let report = self.close(now: now) { .cancelled(bytes: 0, duration: $1) }
            self.missedDeadline = true
            let actions = self.abandonRival(now: now) + [.closeUpstream] + (report.map { [.reportLoser($0)] } ?? [])
            return actions + self.answer(Self.tooLate)
        }
        if !self.hasHedged, let hedge = current.limits.hedgeAfter, now >= current.start + .seconds(hedge) {
            self.hasHedged = true
            // What cannot be sent again cannot be sent twice.
            return self.isRequestWhole && self.mayReplay ? [.hedge(besides: current.target)] : []
        }
        return self.abandonRival(now: now) + self.upstreamFailed(.responseTimeout, now: now)
    }

    private static let tooLate = ProxyAnswer.error(
        status: 504,
        code: "deadline_exceeded",
        message: "No answer had begun when the request's own deadline passed."
    )

    /// The answer's first byte is there, or its end: its head goes to the client.
    mutating func releaseHead() -> [Action] {
        guard let head = self.heldHead.take() else { return [] }
        return self.pass(head)
    }

    // MARK: The second try

    /// The director has said where to try besides; anything but a target is a no.
    mutating func hedged(_ decision: ProxyDecision, now: NIODeadline) -> [Action] {
        guard self.stage == .waiting, self.race == nil,
            let rival = Try(decision, number: self.triesSoFar + 2, start: now)
        else { return [] }
        self.race = Race(rival: rival)
        return [.connectRival(rival.target)]
    }

    /// The second try has a connection.
    mutating func rivalConnected(now: NIODeadline) -> [Action] {
        guard let race, self.mayReplay else { return self.abandonRival(now: now) }
        let (head, body) = self.message(of: race.rival)
        return [.sendRival(head, body), .report(self.outcome(of: race.rival, .sent))]
    }

    /// The second try has failed: the first goes on alone.
    mutating func rivalFailed(_ failure: ProxyFailure, now: NIODeadline) -> [Action] {
        guard let race = self.race.take() else { return [] }
        let failed = ProxyOutcome.Event.failed(failure, duration: now - race.rival.start)
        return [.closeRival, .report(self.outcome(of: race.rival, failed))]
    }

    /// The head of the second try's answer; one with an error of the server loses at once.
    mutating func rivalHead(_ head: ResponseHead, now: NIODeadline) -> [Action] {
        guard let race, head.status < 500, head.status != 101 else {
            return self.rivalFailed(.status(head.status), now: now)
        }
        self.race?.head = head
        self.race?.rival.headAfter = now - race.rival.start
        return self.reports(of: race.rival, head)
    }

    /// The second try answers first: it is the only one from here on.
    mutating func rivalWins(now: NIODeadline) -> [Action] {
        guard self.stage == .waiting, let race = self.race.take(), let head = race.head else { return [] }
        let report = self.close(now: now) { .cancelled(bytes: 0, duration: $1) }
        self.take(over: race.rival, head: head)
        return [.closeUpstream] + (report.map { [.reportLoser($0)] } ?? []) + [.promoteRival]
    }

    /// The first try answers, or the request is over: the second is not needed.
    mutating func abandonRival(now: NIODeadline) -> [Action] {
        guard let race = self.race.take() else { return [] }
        let cancelled = ProxyOutcome.Event.cancelled(bytes: 0, duration: now - race.rival.start)
        return [.closeRival, .reportLoser(self.outcome(of: race.rival, cancelled))]
    }
}
