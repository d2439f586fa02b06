package import FleetModel
import GossipCore

/// Quantiles of times, in seconds.
package struct GossipQuantiles: Hashable, Sendable {
    package var count = 0
    package var p50: Seconds = 0
    package var p99: Seconds = 0
    package var max: Seconds = 0
}

/// What a run of the gossip came to.
package struct GossipOutcome: Hashable, Sendable {
    /// A change until every hub replica has it, of the agents whose links are cut, or of all when none is.
    package var hubLatency = GossipQuantiles()
    /// Changes that were not with every hub replica after five seconds, at the end of the run.
    package var unfinished = 0
    /// A change until the first hub replica has it.
    package var firstHubLatency = GossipQuantiles()
    /// All bytes that agents sent or hubs sent to agents, headers and TCP acknowledgements included; each counts once.
    package var bytesPerAgentPerSecond = 0.0
    package var messagesPerAgentPerSecond = 0.0
    /// What one hub sends to the others.
    package var meshBytesPerHubPerSecond = 0.0
    /// Living agents that a hub replica suspected: hubs count separately.
    package var falseSuspicions = 0
    /// The death of an agent until every hub replica calls it unreachable.
    package var detection = GossipQuantiles()
    /// Deaths that some hub replica did not know by the end.
    package var undetected = 0
    /// The end of the partition until every hub replica has a frame of each agent made after it; `nil` without one.
    package var convergence: Seconds?
    /// Registers that ever went back to an older frame.
    package var oldDigestsWon = 0
    /// The median error of estimated round trips, as a share.
    package var coordinateError: Double?
}

/// Counts what happens in a run.
struct GossipMeasure: Sendable {
    /// Milliseconds, each a bucket.
    private struct Histogram: Sendable {
        private var buckets = [Int](repeating: 0, count: 60_001)
        private var count = 0
        private var most: Seconds = 0

        mutating func add(_ time: Seconds) {
            self.buckets[Swift.min(60_000, Int((time * 1_000).rounded(.up)))] += 1
            self.count += 1
            self.most = Swift.max(self.most, time)
        }

        private func quantile(_ share: Double) -> Seconds {
            let rank = Int((share * Double(self.count)).rounded(.up))
            var seen = 0
            for (bucket, count) in self.buckets.enumerated() {
                seen += count
                if seen >= rank { return Swift.min(self.most, Seconds(bucket) / 1_000) }
            }
            return self.most
        }

        var quantiles: GossipQuantiles {
            guard self.count > 0 else { return GossipQuantiles() }
            return GossipQuantiles(count: self.count, p50: self.quantile(0.5), p99: self.quantile(0.99), max: self.most)
        }
    }

    private struct Change: Sendable {
        var stamp: FrameStamp
        var madeAt: Seconds
        var hubs: UInt16 = 0
    }

    private let world: GossipWorld
    var isMeasured: [Bool]
    private var open: [[Change]]
    private var held: [FrameStamp]
    private var last = Histogram()
    private var first = Histogram()
    private var bytes = 0
    private var meshBytes = 0
    private var messages = 0
    private var falseSuspicions = 0
    private var diedAt: [Int: Seconds] = [:]
    private var knownBy: [Int: UInt16] = [:]
    private var detection = Histogram()
    private var detected = 0
    private var healedAt: Seconds?
    /// By hub and agent: whether a frame made after the partition is still awaited.
    private var awaited: [Bool] = []
    private var awaitedCount = 0
    private var convergedAt: Seconds?
    private var oldDigestsWon = 0
    /// The newest stamp that each agent had when the partition ended.
    private var newest: [FrameStamp]
    private var newestAtHeal: [FrameStamp] = []

    init(world: GossipWorld) {
        self.world = world
        self.isMeasured = Array(repeating: false, count: world.agents)
        self.open = Array(repeating: [], count: world.agents)
        self.held = Array(repeating: .none, count: world.agents * world.hubs)
        self.newest = Array(repeating: .none, count: world.agents)
    }

    private var allHubs: UInt16 { UInt16(truncatingIfNeeded: (1 << self.world.hubs) - 1) }

    /// Latency, traffic and suspicions count after the warm-up and the partition.
    private func counts(_ now: Seconds) -> Bool { now >= self.world.warmup + self.world.partition }

    mutating func published(_ agent: Int, _ stamp: FrameStamp, now: Seconds) {
        self.newest[agent] = stamp
        guard self.isMeasured[agent], self.counts(now) else { return }
        self.open[agent].append(Change(stamp: stamp, madeAt: now))
    }

    mutating func learned(_ agent: Int, _ stamp: FrameStamp, hub: Int, now: Seconds) {
        let place = agent * self.world.hubs + hub
        if stamp <= self.held[place] { self.oldDigestsWon += 1 }
        self.held[place] = stamp
        if self.healedAt != nil, self.awaitedCount > 0, self.awaited[place], stamp > self.newestAtHeal[agent] {
            self.awaited[place] = false
            self.awaitedCount -= 1
            if self.awaitedCount == 0 { self.convergedAt = now }
        }
        guard !self.open[agent].isEmpty else { return }
        for index in self.open[agent].indices where self.open[agent][index].stamp <= stamp {
            if self.open[agent][index].hubs == 0 { self.first.add(now - self.open[agent][index].madeAt) }
            self.open[agent][index].hubs |= 1 << UInt16(hub)
            if self.open[agent][index].hubs == self.allHubs { self.last.add(now - self.open[agent][index].madeAt) }
        }
        let allHubs = self.allHubs
        self.open[agent].removeAll { $0.hubs == allHubs }
    }

    mutating func sent(_ bytes: Int, isMesh: Bool, now: Seconds) {
        guard self.counts(now) else { return }
        if isMesh {
            self.meshBytes += bytes
        } else {
            self.bytes += bytes
            self.messages += 1
        }
    }

    mutating func changed(_ change: LivenessChange, agent: Int, isAlive: Bool, hub: Int, now: Seconds) {
        if isAlive, change.to == .suspect, self.counts(now - 5) { self.falseSuspicions += 1 }
        guard !isAlive, change.to == .unreachable, let diedAt = self.diedAt[agent] else { return }
        let known = (self.knownBy[agent] ?? 0) | 1 << UInt16(hub)
        self.knownBy[agent] = known
        guard known == self.allHubs else { return }
        self.detection.add(now - diedAt)
        self.detected += 1
    }

    mutating func died(_ agent: Int, now: Seconds) {
        self.diedAt[agent] = now
        // Its last change may have died with it.
        self.open[agent] = []
        for place in agent * self.world.hubs..<(agent + 1) * self.world.hubs where self.awaitedCount > 0 {
            guard self.awaited[place] else { continue }
            self.awaited[place] = false
            self.awaitedCount -= 1
            if self.awaitedCount == 0 { self.convergedAt = now }
        }
    }

    mutating func healed(alive: [Bool], now: Seconds) {
        self.healedAt = now
        self.newestAtHeal = self.newest
        self.awaited = (0..<self.world.agents * self.world.hubs).map { alive[$0 / self.world.hubs] }
        self.awaitedCount = self.awaited.count { $0 }
    }

    func outcome(now: Seconds) -> GossipOutcome {
        var outcome = GossipOutcome()
        let time = max(1e-9, now - self.world.warmup - self.world.partition)
        outcome.hubLatency = self.last.quantiles
        outcome.unfinished = self.open.reduce(0) { $0 + $1.count { now - $0.madeAt > 5 } }
        outcome.firstHubLatency = self.first.quantiles
        outcome.bytesPerAgentPerSecond = Double(self.bytes) / time / Double(self.world.agents)
        outcome.messagesPerAgentPerSecond = Double(self.messages) / time / Double(self.world.agents)
        outcome.meshBytesPerHubPerSecond = Double(self.meshBytes) / time / Double(self.world.hubs)
        outcome.falseSuspicions = self.falseSuspicions
        outcome.detection = self.detection.quantiles
        outcome.undetected = self.diedAt.count - self.detected
        outcome.convergence = self.healedAt.flatMap { healed in self.convergedAt.map { $0 - healed } }
        outcome.oldDigestsWon = self.oldDigestsWon
        return outcome
    }
}
