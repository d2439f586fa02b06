import EngineModel
import EngineSignals
package import FleetModel

/// One cluster at one moment of a run.
package struct ClusterView: Sendable {
    package var name: ClusterName
    package var state: ClusterState
    /// Endpoints that live, and all of them.
    package var up: Int
    package var engines: Int
    package var running: Int
    package var waiting: Int
    /// Requests per second: as its agent says, and in truth.
    package var believedCapacity: Double?
    package var trueCapacity: Double
}

extension FleetSimulation {
    /// Every cluster as it truly stands.
    package var clusterViews: [ClusterView] {
        self.clusters.enumerated().map { place, cluster in
            let metrics = cluster.engines.map { self.engines[$0].machine.metrics }
            let digest = cluster.observer.digest(now: self.now)
            return ClusterView(
                name: cluster.name,
                state: digest.state,
                up: cluster.engines.count { self.engines[$0].isUp },
                engines: cluster.engines.count,
                running: metrics.reduce(0) { $0 + $1.running },
                waiting: metrics.reduce(0) { $0 + $1.waiting },
                believedCapacity: digest.capacity.map { $0 * cluster.capacityError },
                trueCapacity: self.trueCapacity[place] * Double(cluster.engines.count)
            )
        }
    }

    /// The shares by which a region's requests of a band are drawn now, by cluster; `nil` without weights.
    package func weights(from region: RegionName, band: Band) -> ClusterShares? {
        if let plan = self.lastPlan { return plan[self.pool]?.weights(from: region, band: band) }
        guard let row = self.gateways.first?.view.weights, !row.isEmpty else { return nil }
        let weights = row[self.world.place(ofRegion: region)]
        let total = weights.reduce(0, +)
        guard total > 0 else { return nil }
        var shares = ClusterShares(minimumCapacity: weights.count)
        for (cluster, weight) in zip(self.clusters, weights) { shares[cluster.name] = weight / total }
        return shares
    }
}
