import EngineModel
import EngineSignals
import Exposition
import FleetModel

/// One engine and what surrounds it.
struct SimulatedEngine {
    var machine: EngineMachine
    let cluster: Int
    let address: EndpointAddress
    var isUp = true
    /// Whether the queue holds this engine's next event.
    var isAwaited = false
    /// Counts restarts, so that an event of the life before is known as such.
    var life = 0
    /// Prompt tokens that were sent here and have not given their first token: what only a clairvoyant knows.
    var promptBacklog = 0
    /// Requests that were sent here and have not ended.
    var load = 0
    /// What the engines before this one, on the same machine, had counted.
    var prefix = PrefixCount()

    init(profile: EngineProfile, cluster: Int, address: EndpointAddress) {
        self.machine = EngineMachine(profile: profile, reportsEveryToken: false)
        self.cluster = cluster
        self.address = address
    }

    /// The prefix cache's tokens over all lives.
    var prefixEver: PrefixCount {
        let metrics = self.machine.metrics
        return PrefixCount(
            queried: self.prefix.queried + metrics.prefixQueriedTokens,
            hit: self.prefix.hit + metrics.prefixHitTokens
        )
    }

    /// Starts anew, with an empty cache.
    mutating func restart() {
        self.prefix = self.prefixEver
        self.machine = EngineMachine(profile: self.machine.profile, reportsEveryToken: false)
        self.isAwaited = false
        self.life += 1
        self.promptBacklog = 0
        self.load = 0
    }

    /// What its metrics page would say, as vLLM's does.
    var reading: EngineReading {
        let metrics = self.machine.metrics
        var reading = EngineReading(engine: .vllm)
        reading[.running] = Double(metrics.running)
        reading[.waiting] = Double(metrics.waiting)
        reading[.kvUse] = metrics.kvUse
        reading[.blockSize] = Double(self.machine.profile.blockTokens)
        reading[.blocks] = Double(self.machine.profile.kvBlocks)
        reading[.promptTokens] = Double(metrics.promptTokens)
        reading[.cachedPromptTokens] = Double(metrics.cachedPromptTokens)
        reading[.generationTokens] = Double(metrics.generationTokens)
        reading[.finished] = Double(metrics.finished.values.reduce(0, +))
        reading[.ttftSum] = metrics.timeToFirstToken.sum
        reading[.ttftCount] = Double(metrics.timeToFirstToken.count)
        reading[.itlSum] = metrics.interTokenLatency.sum
        reading[.itlCount] = Double(metrics.interTokenLatency.count)
        reading[.prefillSum] = metrics.prefillTime.sum
        reading[.prefillCount] = Double(metrics.prefillTime.count)
        return reading
    }
}

/// Tokens that were looked up in prefix caches, and those that were found.
struct PrefixCount: Hashable, Sendable {
    var queried = 0
    var hit = 0
}

/// One cluster: its engines and its agent.
struct SimulatedCluster {
    /// A significant change is sent at once, but never sooner than this after the last frame.
    static let shortestInterval: Seconds = 0.1
    /// The agent's beat, in seconds.
    static let interval: Seconds = 1
    /// How often the agent reads its engines, in seconds.
    static let scrapePeriod: Seconds = 0.2

    let name: ClusterName
    let region: Int
    let engines: Range<Int>
    var observer: PoolObserver
    /// Whether the agent and the network around it live.
    var isReachable = true
    /// What the agent's capacity is multiplied by.
    var capacityError = 1.0
    /// Whether measured throughput corrects that error.
    var heedsSaturation = true
    var sequence: UInt64 = 0
    var lastSent: [PoolDigest] = []
    var lastSentAt: Seconds = -.infinity

    /// The frame to be sent now, if any: on the beat, or at once on a significant change.
    mutating func frame(region: RegionName, isEarlyAllowed: Bool, now: Seconds) -> DigestFrame? {
        let digest = self.digest(now: now)
        let isDue = now - self.lastSentAt >= Self.interval - 1e-9
        let isEarly =
            isEarlyAllowed && now - self.lastSentAt >= Self.shortestInterval
            && digest.isSignificant(after: self.lastSent.first)
        guard isDue || isEarly else { return nil }
        self.sequence += 1
        self.lastSent = [digest]
        self.lastSentAt = now
        return DigestFrame(
            id: FrameID(cluster: self.name, incarnation: 1, sequence: self.sequence),
            region: region,
            agent: AgentName(unchecked: "agent"),
            interval: Self.interval,
            digests: [digest]
        )
    }

    /// The observer's digest, with the scenario's error.
    ///
    /// The error is one of the model: what was measured at saturation is true, so that 70 % of it go once requests wait
    /// as the estimate itself weighs them.
    private func digest(now: Seconds) -> PoolDigest {
        var digest = self.observer.digest(now: now)
        guard self.capacityError != 1, let capacity = digest.capacity else { return digest }
        let isSaturated =
            self.heedsSaturation
            && digest.waiting ?? 0 >= max(2 * digest.endpointsReady, (digest.running ?? 0) / 10)
        let error = isSaturated ? 1 + 0.3 * (self.capacityError - 1) : self.capacityError
        digest.capacity = capacity * error
        return digest
    }
}
