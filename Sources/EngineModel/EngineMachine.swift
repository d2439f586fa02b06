import DequeModule
import Exposition
package import FleetModel

/// A model server's engine in virtual time: continuous batching over paged KV memory, scheduled as vLLM does it.
///
/// Each step takes the running requests first (decodes, then the rest of a chunked prefill) and admits waiting
/// ones in order of arrival while tokens, blocks and seats last. When a running request finds no block, the
/// youngest one is preempted and computed again later. A step's tokens appear at its end.
///
/// Two simplifications against vLLM: a request is admitted only when its whole prompt fits, and generated
/// tokens do not enter the prefix cache.
package struct EngineMachine: Sendable {
    package let profile: EngineProfile
    /// Whether every token is an event, as a streaming server needs, or only the first and last of each request.
    package var reportsEveryToken: Bool

    private var recorded = EngineMetrics()
    /// Accepted by the API, not yet seen by the scheduler; ordered by time.
    private var arriving: Deque<EngineJob> = []
    private var waiting: Deque<EngineJob> = []
    /// In the order of admission: the last one is the youngest.
    private var running: [EngineJob] = []
    private var pool: BlockPool
    private var stepEndsAt: Seconds?

    package init(profile: EngineProfile, reportsEveryToken: Bool = true) {
        self.profile = profile
        self.reportsEveryToken = reportsEveryToken
        self.pool = BlockPool(
            blocks: profile.kvBlocks,
            blockTokens: profile.blockTokens,
            unitTokens: profile.prefixUnitTokens
        )
    }

    /// When something happens next if nobody submits anything; `nil` while the engine is idle.
    ///
    /// While a step is in progress a new request does not bring this forward.
    package var nextEventAt: Seconds? { self.stepEndsAt ?? self.arriving.first?.queuedAt }

    /// Requests that were submitted and have neither finished nor been cancelled.
    package var unfinished: Int { self.arriving.count + self.waiting.count + self.running.count }

    /// The gauges of this moment and everything counted so far.
    package var metrics: EngineMetrics {
        var metrics = self.recorded
        metrics.running = self.running.count
        metrics.waiting = self.waiting.count
        metrics.kvUse = Double(self.pool.used) / Double(self.pool.total)
        return metrics
    }

    /// Hands a request to the engine at `now`, which does not go back from call to call.
    ///
    /// - Throws: ``EngineRefusal`` when the request is empty or could never fit.
    package mutating func submit(_ request: EngineRequest, now: Seconds) throws(EngineRefusal) {
        guard request.promptTokens > 0, request.outputTokens > 0 else { throw .empty }
        let tokens = request.promptTokens + request.outputTokens
        guard self.pool.blocks(for: tokens) <= self.pool.total else {
            throw .tooLong(tokens: tokens, kvTokens: self.profile.kvTokens)
        }
        let job = EngineJob(request: request, arrivedAt: now, queuedAt: now + self.profile.apiOverhead)
        self.arriving.append(job)
    }

    /// Drops a request whose client went away; the step in progress takes no less time for it.
    ///
    /// - Returns: whether the request was still in the engine.
    package mutating func cancel(_ id: EngineRequestID) -> Bool {
        if let index = self.running.firstIndex(where: { $0.request.id == id }) {
            self.pool.release(self.running.remove(at: index).blocks)
        } else if let index = self.waiting.firstIndex(where: { $0.request.id == id }) {
            self.waiting.remove(at: index)
        } else if let index = self.arriving.firstIndex(where: { $0.request.id == id }) {
            self.arriving.remove(at: index)
        } else {
            return false
        }
        self.recorded.finished[.abort, default: 0] += 1
        return true
    }

    /// Lives through everything up to and including `now`.
    ///
    /// - Returns: what happened, in order of time.
    package mutating func advance(to now: Seconds) -> [EngineEvent] {
        var events: [EngineEvent] = []
        while let at = self.nextEventAt, at <= now {
            self.enqueueArrivals(until: at)
            if self.stepEndsAt != nil { self.finishStep(at: at, &events) }
            self.startStep(at: at, &events)
        }
        self.enqueueArrivals(until: now)
        return events
    }

    private mutating func enqueueArrivals(until now: Seconds) {
        while let job = self.arriving.first, job.queuedAt <= now {
            self.waiting.append(self.arriving.removeFirst())
        }
    }
}

// MARK: - One step

extension EngineMachine {
    private mutating func startStep(at now: Seconds, _ events: inout [EngineEvent]) {
        var load = StepLoad()
        var budget = self.profile.tokenBudget
        let preemptions = self.recorded.preemptions
        var index = 0
        while index < self.running.count, budget > 0 {
            guard self.makeRoom(for: index, at: now, &events) else { break }
            self.schedule(index, &budget, &load)
            index += 1
        }
        if self.recorded.preemptions == preemptions {
            while budget > 0, self.running.count < self.profile.maxSequences, self.admitNext(at: now) {
                self.schedule(self.running.count - 1, &budget, &load)
            }
        }
        self.stepEndsAt = load.sequences > 0 ? now + self.profile.cost.time(of: load) : nil
    }

    private mutating func schedule(_ index: Int, _ budget: inout Int, _ load: inout StepLoad) {
        let (computed, tokens) = (self.running[index].computed, min(self.running[index].remaining, budget))
        if self.running[index].isDecoding {
            load.addDecode(context: self.running[index].length)
        } else {
            load.addPrefill(tokens: tokens, after: computed)
        }
        self.running[index].scheduled = tokens
        budget -= tokens
    }

    /// Sees to a block for the next token of a running request, preempting the youngest ones.
    ///
    /// - Returns: `false` when the request itself had to go.
    private mutating func makeRoom(for index: Int, at now: Seconds, _ events: inout [EngineEvent]) -> Bool {
        while self.running[index].length > self.running[index].blocks.tokens,
            !self.pool.grow(&self.running[index].blocks)
        {
            var youngest = self.running.removeLast()
            self.pool.release(youngest.blocks)
            youngest.blocks = BlockHold()
            youngest.computed = 0
            youngest.preemptions += 1
            self.recorded.preemptions += 1
            events.append(
                EngineEvent(
                    request: youngest.request.id,
                    at: now,
                    kind: .preempted,
                    admittedAt: youngest.scheduledAt ?? now
                )
            )
            self.waiting.prepend(youngest)
            if index == self.running.count { return false }
        }
        return true
    }

    private mutating func admitNext(at now: Seconds) -> Bool {
        guard let next = self.waiting.first,
            let (blocks, cached) = self.pool.admit(
                tokens: next.length,
                promptTokens: next.request.promptTokens,
                prefix: next.request.prefix
            )
        else { return false }
        var job = self.waiting.removeFirst()
        job.blocks = blocks
        job.computed = cached
        if job.scheduledAt == nil {
            job.scheduledAt = now
            job.cached = cached
            self.recorded.prefixQueriedTokens += job.request.promptTokens
            self.recorded.prefixHitTokens += cached
        }
        self.running.append(job)
        return true
    }

    private mutating func finishStep(at now: Seconds, _ events: inout [EngineEvent]) {
        var kept = 0
        var gaps = RepeatedValue()
        let (prompted, generated) = (self.recorded.promptTokens, self.recorded.generationTokens)
        for index in self.running.indices {
            if self.finishToken(of: index, at: now, &gaps, &events) {
                self.pool.release(self.running[index].blocks)
                self.recorded.recordFinish(of: self.running[index])
            } else {
                if kept != index { self.running.swapAt(kept, index) }
                kept += 1
            }
        }
        self.running.removeLast(self.running.count - kept)
        gaps.flush(into: &self.recorded.interTokenLatency)
        let tokens = self.recorded.promptTokens - prompted + self.recorded.generationTokens - generated
        self.recorded.iterationTokens.observe(Double(tokens))
    }

    /// Books what the step computed for one running request.
    ///
    /// - Returns: whether that was its last token.
    private mutating func finishToken(
        of index: Int,
        at now: Seconds,
        _ gaps: inout RepeatedValue,
        _ events: inout [EngineEvent]
    ) -> Bool {
        let scheduled = self.running[index].scheduled
        guard scheduled > 0 else { return false }
        self.running[index].scheduled = 0
        self.running[index].computed += scheduled
        guard self.running[index].remaining == 0 else { return false }

        self.running[index].generated += 1
        self.recorded.generationTokens += 1
        let number = self.running[index].generated
        let request = self.running[index].request
        if number == 1 {
            self.running[index].firstTokenAt = now
            self.recorded.recordFirstToken(of: self.running[index])
        } else {
            gaps.add(now - self.running[index].lastTokenAt, into: &self.recorded.interTokenLatency)
        }
        self.running[index].lastTokenAt = now
        let isLast = number == request.outputTokens
        if self.reportsEveryToken || number == 1 || isLast {
            let kind = EngineEvent.Kind.token(number: number, finish: isLast ? request.finish : nil)
            let admittedAt = self.running[index].scheduledAt ?? now
            events.append(EngineEvent(request: request.id, at: now, kind: kind, admittedAt: admittedAt))
        }
        return isLast
    }
}
