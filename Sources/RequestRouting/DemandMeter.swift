package import FleetModel

/// Requests per second by pool and band, as a gateway's clients send them.
///
/// Each arrival weighs `e^(−age/τ)/τ`, so the sum is the rate over the last τ seconds or so; the
/// start, when fewer than τ seconds were seen, is corrected for. Premium takes the greater of a fast
/// and a slow reading: it answers a burst at once and forgets it slowly.
package struct DemandMeter: Sendable {
    /// Decays an exponentially weighted count to any later time.
    private struct Reading: Sendable {
        let span: Seconds
        var weight = 0.0
        var at: Seconds

        mutating func add(now: Seconds) {
            self.weight = self.weight * decay(now - self.at, over: self.span) + 1
            self.at = now
        }

        func rate(now: Seconds, since start: Seconds) -> Double {
            let seen = 1 - decay(now - start, over: self.span)
            guard seen > 0 else { return 0 }
            return self.weight * decay(now - self.at, over: self.span) / (self.span * seen)
        }
    }

    private struct Key: Hashable, Comparable {
        let pool: PoolName
        let band: Band

        static func < (lhs: Self, rhs: Self) -> Bool { (lhs.pool, lhs.band) < (rhs.pool, rhs.band) }
    }

    private let start: Seconds
    private var readings: [Key: [Reading]] = [:]

    package init(start: Seconds) { self.start = start }

    /// Counts one request from a client; a request from another gateway is that gateway's demand.
    package mutating func arrived(pool: PoolName, band: Band, now: Seconds) {
        let key = Key(pool: pool, band: band)
        guard let place = self.readings.index(forKey: key) else {
            let spans: [Seconds] = band == .premium ? [1, 10] : [5]
            self.readings[key] = spans.map { Reading(span: $0, at: now) }
            return self.arrived(pool: pool, band: band, now: now)
        }
        // In place: a copy would cost an allocation for every request.
        for index in self.readings.values[place].indices { self.readings.values[place][index].add(now: now) }
    }

    /// The rates, sorted by pool and band.
    package func rates(now: Seconds) -> [BandDemand] {
        self.readings.sorted { $0.key < $1.key }.map { key, readings in
            BandDemand(
                pool: key.pool,
                band: key.band,
                rate: readings.map { $0.rate(now: now, since: self.start) }.max() ?? 0
            )
        }
    }
}
