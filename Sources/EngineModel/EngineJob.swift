import Exposition
import FleetModel

/// One request inside the engine.
struct EngineJob: Sendable {
    let request: EngineRequest
    let arrivedAt: Seconds
    /// When the scheduler sees it.
    let queuedAt: Seconds
    var scheduledAt: Seconds?
    var firstTokenAt: Seconds = 0
    var lastTokenAt: Seconds = 0

    /// Tokens whose KV is in memory.
    var computed = 0
    var generated = 0
    /// Tokens that the step in progress computes.
    var scheduled = 0
    /// Prompt tokens found in the prefix cache when it was first admitted.
    var cached = 0
    var preemptions = 0
    var blocks = BlockHold()

    /// Tokens that exist so far; when all of them are computed, the next one comes out.
    var length: Int { self.request.promptTokens + self.generated }
    var remaining: Int { self.length - self.computed }
    /// Whether a step for it computes only its newest token.
    var isDecoding: Bool { self.generated > 0 && self.remaining == 1 }
}

extension EngineMetrics {
    mutating func recordFirstToken(of job: EngineJob) {
        self.promptTokens += job.request.promptTokens
        self.cachedPromptTokens += job.cached
        self.timeToFirstToken.observe(job.firstTokenAt - job.arrivedAt)
    }

    mutating func recordFinish(of job: EngineJob) {
        let scheduledAt = job.scheduledAt ?? job.queuedAt
        let decodeTime = job.lastTokenAt - job.firstTokenAt
        self.finished[job.request.finish, default: 0] += 1
        self.endToEnd.observe(job.lastTokenAt - job.arrivedAt)
        self.queueTime.observe(scheduledAt - job.queuedAt)
        self.inferenceTime.observe(job.lastTokenAt - scheduledAt)
        self.prefillTime.observe(job.firstTokenAt - scheduledAt)
        self.decodeTime.observe(decodeTime)
        self.timePerOutputToken.observe(job.generated > 1 ? decodeTime / Double(job.generated - 1) : 0)
        self.requestPromptTokens.observe(Double(job.request.promptTokens))
        self.requestGenerationTokens.observe(Double(job.generated))
        self.requestComputedTokens.observe(Double(job.request.promptTokens - job.cached))
        self.requestPreemptions.observe(Double(job.preemptions))
    }
}
