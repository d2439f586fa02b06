package import FleetModel
import GossipCore
package import Resources
import WeightSolver

/// What would become of a pool's weights if other resources were in force.
///
/// Both futures are computed with digests and demand as they are now, so that what differs is due to the resources.
package struct Forecast: Hashable, Sendable {
    /// One weight that would not be what it is.
    package struct Weight: Hashable, Sendable {
        package var source: RegionName
        package var band: Band
        package var cluster: ClusterName
        /// In force.
        package var now: Double
        /// In the next plan.
        package var next: Double
        /// When nothing moves any more.
        package var settled: Double
    }

    package var pool: PoolName
    package var weights: [Weight]
    /// Seconds a request, when nothing moves any more, without the change and with it.
    package var costBefore: Seconds
    package var costAfter: Seconds
    /// Requests per second that cannot be placed.
    package var overflowBefore: Double
    package var overflowAfter: Double
    /// Plans until nothing moves any more.
    package var ticks: Int

    /// Weights that differ by less are not told.
    package static let smallest = 0.001
    /// What has not settled within this many plans is told as it is then.
    package static let horizon = 60
}

extension HubMind {
    /// Tells what other resources would do to the plan in force; nothing changes here.
    package func forecast(with settings: FleetSettings, inForce plan: Plan?, now: Seconds) -> [Forecast] {
        let before = self.settle(now: now)
        var changed = self
        changed.settings = settings
        let after = changed.settle(now: now)
        let pools = Set(before.pools.keys).union(after.pools.keys).sorted()
        return pools.compactMap { pool -> Forecast? in
            let (old, new) = (before.pools[pool], after.pools[pool])
            let inForce = plan?[pool]?.rows ?? before.first[pool] ?? []
            let demand = self.demand.demand(of: pool)
            let isIdle = demand.values.allSatisfy { $0.values.allSatisfy { $0 <= 0 } }
            // Weights that no request follows are of no interest, except where there are no others.
            let weights = Self.weights(now: inForce, next: after.first[pool] ?? [], old, new).filter {
                isIdle ? $0.band == .standard : demand[$0.source]?[$0.band] ?? 0 > 0
            }
            guard !weights.isEmpty || old?.overflow != new?.overflow else { return nil }
            return Forecast(
                pool: pool,
                weights: weights,
                costBefore: old?.plan.cost ?? 0,
                costAfter: new?.plan.cost ?? 0,
                overflowBefore: old?.overflow ?? 0,
                overflowAfter: new?.overflow ?? 0,
                ticks: after.ticks
            )
        }
    }

    private struct Settled {
        struct Pool {
            var plan: PoolPlan
            var overflow: Double
        }
        /// The rows of the first plan.
        var first: [PoolName: [PlanRow]] = [:]
        var pools: [PoolName: Pool] = [:]
        var ticks = 0
    }

    /// Plans until nothing moves, with the world standing still.
    private func settle(now: Seconds) -> Settled {
        var mind = self
        mind.solvesFailover = false
        var settled = Settled()
        var version = PlanVersion(epoch: 0, generation: 1)
        while settled.ticks < Forecast.horizon {
            guard let next = mind.generation(version: version, parent: nil, now: now) else { break }
            let plans = next.plan.pools
            if settled.ticks == 0 { for pool in plans { settled.first[pool.pool] = pool.rows } }
            let isStill = settled.ticks > 0 && plans.allSatisfy { settled.pools[$0.pool]?.plan.rows == $0.rows }
            for (pool, overflow) in zip(plans, next.overflow) {
                settled.pools[pool.pool] = Settled.Pool(plan: pool, overflow: overflow)
            }
            if isStill { break }
            settled.ticks += 1
            version.generation += 1
        }
        return settled
    }

    private static func weights(
        now: [PlanRow],
        next: [PlanRow],
        _ old: Settled.Pool?,
        _ new: Settled.Pool?
    ) -> [Forecast.Weight] {
        struct Place: Hashable {
            let source: RegionName
            let band: Band
        }
        func table(_ rows: [PlanRow]) -> [Place: ClusterShares] {
            Dictionary(rows.map { (Place(source: $0.source, band: $0.band), $0.weights) }) { $1 }
        }
        let (nowTable, nextTable) = (table(now), table(next))
        let (oldTable, newTable) = (table(old?.plan.rows ?? []), table(new?.plan.rows ?? []))
        var weights: [Forecast.Weight] = []
        let places = Set(oldTable.keys).union(newTable.keys).sorted { ($0.source, $0.band) < ($1.source, $1.band) }
        for place in places {
            let (before, after) = (oldTable[place] ?? [:], newTable[place] ?? [:])
            for cluster in before.clusters(with: after) {
                let (was, becomes) = (before[cluster] ?? 0, after[cluster] ?? 0)
                guard abs(was - becomes) >= Forecast.smallest else { continue }
                weights.append(
                    Forecast.Weight(
                        source: place.source,
                        band: place.band,
                        cluster: cluster,
                        now: nowTable[place]?[cluster] ?? 0,
                        next: nextTable[place]?[cluster] ?? 0,
                        settled: becomes
                    )
                )
            }
        }
        return weights
    }
}
