import EngineModel
package import FleetModel

/// A mean time to first token that no policy can beat, clairvoyant or not.
///
/// Let request i be served by cluster c.
///
/// - Its time to first token is at least `T_ic`: the round trip from its client's region, the engine's overhead, and
///   its own prefill on an idle engine, with every prompt unit in the cache that any earlier request had.
/// - It takes at least `s_ic` of that engine's time: the arithmetic, attention and per-sequence cost of its own tokens,
///   and its part of each step's fixed cost when `maxSequences` requests share it. Nothing that the engine does for it
///   can be had for less.
/// - Cluster c has `E_c` engines, so that what it serves fits into `E_c·H` seconds, H being the time from the first
///   request sent to the last token of any request.
///
/// So every policy that is done within H costs at least the optimum of an assignment problem, and by weak duality, for
/// any prices π_c ≥ 0,
///
///     Σ_i TTFT_i ≥ Σ_i min_c (T_ic + π_c·s_ic) − Σ_c π_c·E_c·H.
///
/// The prices are found by subgradient ascent; they make the bound tight or loose, never wrong. It knows no queue and
/// no batch: at high load no real engine comes near it.
package struct TimeBound: Sendable {
    /// What the bound needs to know of one request.
    struct Job {
        var times: [Seconds]
        var works: [Seconds]
    }

    private let budgets: [Seconds]
    private var jobs: [Job] = []
    private var seen: Set<UInt64> = []
    private let world: FleetWorld

    init(world: FleetWorld, horizon: Seconds) {
        self.world = world
        self.budgets = world.clusters.map { Double($0.engines) * horizon }
    }

    /// The bound on the mean over the requests that a run with these settings sends in its measured time.
    ///
    /// Requests of the warm-up only fill caches, which is to the bound's disadvantage and keeps it a bound. At most
    /// `sample` requests are looked at: with `s` times as many sent, every s-th counts, and budgets shrink alike, which
    /// makes it a bound on the mean of that sample.
    ///
    /// `horizon` is from the first measured request to the last token of the slowest run compared.
    package static func mean(
        world: FleetWorld,
        requests: [TrafficRequest],
        settings: SimulationSettings,
        horizon: Seconds,
        sample: Int = 40_000
    ) -> Seconds {
        var traffic = FleetTraffic(requests: requests, world: world, settings: settings)
        var pending = settings.events.sorted { $0.at < $1.at }[...]
        let expected = settings.rate * settings.duration
        let stride = max(1, Int((expected / Double(sample)).rounded(.up)))
        var bound = TimeBound(world: world, horizon: horizon / Double(stride))
        let end = settings.warmup + settings.duration
        var counted = 0
        while true {
            let arrival = traffic.next()
            guard arrival.at <= end else { break }
            while let first = pending.first, first.at <= arrival.at {
                if case .burst(let region, let factor, let length) = first.event {
                    traffic.burst(
                        source: world.place(ofRegion: region),
                        factor: factor,
                        until: first.at + length
                    )
                }
                pending = pending.dropFirst()
            }
            let isCounted = arrival.at >= settings.warmup
            bound.add(arrival, isCounted: isCounted && counted.isMultiple(of: stride))
            if isCounted { counted += 1 }
        }
        return bound.best()
    }

    mutating func add(_ arrival: Arrival, isCounted: Bool) {
        let cached = arrival.prefix.prefix { self.seen.contains($0) }.count
        self.seen.formUnion(arrival.prefix)
        guard isCounted else { return }
        var job = Job(times: [], works: [])
        for cluster in self.world.clusters {
            let trip = self.world.roundTrips[arrival.source][self.world.place(ofRegion: cluster.region)]
            let found = min(cached * cluster.profile.prefixUnitTokens, arrival.promptTokens - 1)
            job.times.append(trip + cluster.profile.leastTimeToFirstToken(prompt: arrival.promptTokens, cached: found))
            job.works.append(
                cluster.profile.leastWork(prompt: arrival.promptTokens, cached: found, output: arrival.outputTokens)
            )
        }
        self.jobs.append(job)
    }

    /// The best bound found, as a mean.
    func best(rounds: Int = 200) -> Seconds {
        guard !self.jobs.isEmpty else { return 0 }
        var prices = Array(repeating: 0.0, count: self.budgets.count)
        var best = -Double.infinity
        // Steps are in units of a typical time per work, and shrink.
        let time = self.jobs.reduce(0) { $0 + ($1.times.min() ?? 0) }
        let work = self.jobs.reduce(0) { $0 + ($1.works.min() ?? 0) }
        let unit = work > 0 ? time / work : 1
        for round in 0..<rounds {
            var (value, load) = (0.0, Array(repeating: 0.0, count: prices.count))
            for job in self.jobs {
                var (least, place) = (Double.infinity, 0)
                for c in prices.indices {
                    let cost = job.times[c] + prices[c] * job.works[c]
                    if cost < least { (least, place) = (cost, c) }
                }
                value += least
                load[place] += job.works[place]
            }
            for c in prices.indices { value -= prices[c] * self.budgets[c] }
            best = max(best, value)
            let step = unit / (1 + Double(round) / 10)
            for c in prices.indices {
                prices[c] = max(0, prices[c] + step * (load[c] - self.budgets[c]) / max(self.budgets[c], 1e-9))
            }
        }
        return best / Double(self.jobs.count)
    }
}

extension EngineProfile {
    /// Until the first token on an idle engine, prefilling alone.
    func leastTimeToFirstToken(prompt: Int, cached: Int) -> Seconds {
        var time = self.apiOverhead
        var done = cached
        while done < prompt {
            let chunk = min(self.tokenBudget, prompt - done)
            let pairs = Double(chunk) * (Double(done) + Double(chunk) / 2)
            time +=
                max(self.cost.weights, self.cost.base + self.cost.token * Double(chunk)) + self.cost.overhead
                + self.cost.attentionPair * pairs + self.cost.sequence
            done += chunk
        }
        return time
    }

    /// Engine time that a request takes when `maxSequences` of them share every step.
    func leastWork(prompt: Int, cached: Int, output: Int) -> Seconds {
        let (p, s, d) = (Double(prompt - cached), Double(cached), Double(output - 1))
        let step = (self.cost.base + self.cost.overhead) / Double(self.maxSequences)
        return self.cost.token * (p + d) + self.cost.attentionPair * p * (s + p / 2)
            + (self.cost.sequence + step) * (d + 1)
            + self.cost.contextToken * d * (Double(prompt) + (d + 1) / 2)
    }
}
