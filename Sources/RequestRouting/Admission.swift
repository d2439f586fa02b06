package import FleetModel

/// Limits of a gateway's queues; times in seconds.
package struct AdmissionSettings: Hashable, Sendable {
    /// Requests that wait in one pool, over all bands.
    package var waitingMax = 2_048
    /// How long a request waits for room, by band: premium, standard, batch.
    package var patience: [Seconds] = [30, 30, 120]
    /// How long a request waits for a first endpoint to appear.
    package var emptyPatience: Seconds = 3
    /// How full a pool may be for each band's requests to go: batch is put off first, premium last.
    package var fullness: [Double] = [1.5, 1, 0.5]
    /// `k` of `p = min(1, k·s⁵)`.
    package var shedFactor = 1.0

    package init() {}
}

/// Why a request is not served; the words are a metric label, and but for one those of llm-d's
/// `x-llm-d-request-dropped-reason`.
package enum DropReason: String, Hashable, Sendable, CaseIterable {
    /// The queue is full, or so near to it that a share of requests is turned away.
    case saturated = "rejected-saturated"
    /// It waited for as long as it may.
    case expired = "rejected-ttl-expired"
    /// It gave way to a request of a higher band.
    case evicted = "evicted-priority"
    /// No endpoint of the pool exists.
    case noEndpoints = "rejected-no-endpoints"
    /// A try failed, and there were too many of them to try again: a word of our own.
    case retriesSpent = "rejected-retry-budget"
}

/// A request that asks to wait.
package struct Arrival: Sendable {
    package var id: UInt64
    package var pool: PoolName
    package var band: Band
    /// Whose request it is.
    package var tenant: UInt64
    /// What serving it costs, in tokens of prompt.
    package var promptTokens: Int
    /// When its client gives up, on the gateway's clock; `nil` when it does not say.
    package var deadline: Seconds?
    /// It waits for an endpoint to appear, rather than for room.
    package var isForEndpoint: Bool

    package init(
        id: UInt64,
        pool: PoolName,
        band: Band,
        tenant: UInt64,
        promptTokens: Int,
        deadline: Seconds? = nil,
        isForEndpoint: Bool = false
    ) {
        self.id = id
        self.pool = pool
        self.band = band
        self.tenant = tenant
        self.promptTokens = promptTokens
        self.deadline = deadline
        self.isForEndpoint = isForEndpoint
    }
}

/// Who waits at a gateway when its pools are full: a queue for each band, fair between tenants, never without a bound.
///
/// A request waits until there is room for its band, higher bands first. Near to the bound or to what patience allows, a
/// share `p = min(1, k·s⁵)` of standard and batch requests is turned away at the door, `s` being the fuller of the
/// queue's length over its bound and the longest wait over the band's patience: early and few, rather than late and
/// all. A full queue gives up its youngest request of a lower band for one of a higher.
///
/// Source: the fifth power is that of llm-d's probabilistic admitter.
package struct Admission: Sendable {
    package enum Verdict: Equatable, Sendable {
        /// Wait until then at most; `evicted` is to be told that its place is gone.
        case wait(until: Seconds, evicted: UInt64?)
        case drop(DropReason)
    }

    private struct Pool: Sendable {
        var bands = [FairQueue(), FairQueue(), FairQueue()]
        var count: Int { self.bands.reduce(0) { $0 + $1.count } }
    }

    private struct Waiting: Sendable {
        let pool: PoolName
        let band: Band
        let tenant: UInt64
    }

    package let settings: AdmissionSettings
    private var pools: [PoolName: Pool] = [:]
    private var waiting: [UInt64: Waiting] = [:]

    package init(settings: AdmissionSettings = AdmissionSettings()) { self.settings = settings }

    /// Requests that wait.
    package var count: Int { self.waiting.count }

    package func count(_ pool: PoolName, _ band: Band) -> Int { self.pools[pool]?.bands[band.rank].count ?? 0 }

    /// Pools in which somebody waits, sorted.
    package var waitingPools: [PoolName] {
        self.pools.filter { $0.value.count > 0 }.keys.sorted()
    }

    /// Whether somebody waits whose turn is before that of a new request of a band.
    package func isQueued(_ pool: PoolName, _ band: Band) -> Bool {
        guard let bands = self.pools[pool]?.bands else { return false }
        return bands[...band.rank].contains { $0.count > 0 }
    }

    /// Decides whether a request may wait.
    package mutating func arrive(
        _ arrival: Arrival,
        now: Seconds,
        using dice: inout some RandomNumberGenerator
    ) -> Verdict {
        let rank = arrival.band.rank
        var pool = self.pools[arrival.pool] ?? Pool()
        let patience = arrival.isForEndpoint ? self.settings.emptyPatience : self.settings.patience[rank]
        let deadline = min(now + patience, arrival.deadline ?? .infinity)
        guard deadline > now else { return .drop(.expired) }
        var evicted: UInt64?
        if pool.count >= self.settings.waitingMax {
            let lower = pool.bands.indices.last { $0 > rank && pool.bands[$0].count > 0 }
            guard let lower, let victim = pool.bands[lower].youngest,
                pool.bands[lower].remove(victim.entry.id, tenant: victim.tenant)
            else { return .drop(arrival.isForEndpoint ? .noEndpoints : .saturated) }
            self.waiting[victim.entry.id] = nil
            evicted = victim.entry.id
        } else if arrival.band != .premium, !arrival.isForEndpoint {
            let pressure = self.pressure(pool, rank, now: now)
            let shed = min(1, self.settings.shedFactor * pressure * pressure * pressure * pressure * pressure)
            if shed > 0, Double.random(in: 0..<1, using: &dice) < shed { return .drop(.saturated) }
        }
        pool.bands[rank].add(
            FairQueue.Entry(
                id: arrival.id,
                cost: Double(max(1, arrival.promptTokens)),
                arrivedAt: now,
                deadline: deadline
            ),
            tenant: arrival.tenant
        )
        self.pools[arrival.pool] = pool
        self.waiting[arrival.id] = Waiting(pool: arrival.pool, band: arrival.band, tenant: arrival.tenant)
        return .wait(until: deadline, evicted: evicted)
    }

    /// How near a band's queue is to its end, from 0 to 1 and beyond.
    private func pressure(_ pool: Pool, _ rank: Int, now: Seconds) -> Double {
        let ahead = pool.bands[...rank].reduce(0) { $0 + $1.count }
        let oldest = pool.bands[rank].oldestArrival.map { now - $0 } ?? 0
        return max(Double(ahead) / Double(self.settings.waitingMax), oldest / self.settings.patience[rank])
    }

    /// Takes out the pool's next request for which there is room; who has waited too long is passed over, as its own
    /// timer sends it away.
    ///
    /// - Parameters:
    ///   - pool: The pool.
    ///   - now: The gateway's clock.
    ///   - hasRoom: Whether a band's requests may go.
    /// - Returns: The request's id, which waits no longer; `nil` when nobody may go.
    package mutating func next(_ pool: PoolName, now: Seconds, hasRoom: (Band) -> Bool) -> UInt64? {
        for band in [Band.premium, .standard, .batch] where self.count(pool, band) > 0 && hasRoom(band) {
            while let entry = self.pools[pool]?.bands[band.rank].next() {
                self.waiting[entry.id] = nil
                if entry.deadline > now { return entry.id }
            }
        }
        return nil
    }

    /// Takes a request out that has waited too long, or whose client has gone.
    ///
    /// - Returns: Whether it was waiting.
    @discardableResult
    package mutating func leave(_ id: UInt64) -> Bool {
        guard let place = self.waiting.removeValue(forKey: id) else { return false }
        return self.pools[place.pool]?.bands[place.band.rank].remove(id, tenant: place.tenant) ?? false
    }
}
