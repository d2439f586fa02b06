package import FleetModel

/// Small values that tests of several rooms begin with.
package enum Fixtures {
    /// Two regions with a cluster each, `us-east-a` and `europe-west-a`; `us-east` sends a fifth away.
    ///
    /// - Throws: Never for the names used here.
    package static func plan(epoch: UInt64 = 1, generation: UInt64 = 1) throws -> Plan {
        let (east, west) = (try RegionName("us-east"), try RegionName("europe-west"))
        let (near, far) = (try ClusterName("us-east-a"), try ClusterName("europe-west-a"))
        func cluster(_ name: ClusterName, _ region: RegionName) -> PlanCluster {
            PlanCluster(
                name: name,
                region: region,
                state: .active,
                capacity: 5,
                unloadedTTFT: 0.1,
                waiting: 0,
                freeSeats: 8,
                frame: FrameID(cluster: name, incarnation: 1, sequence: generation),
                price: 0.25
            )
        }
        func row(_ source: RegionName, _ weights: ClusterShares) -> PlanRow {
            PlanRow(source: source, band: .standard, weights: weights)
        }
        let pool = PoolPlan(
            pool: try PoolName("default/llama"),
            clusters: [cluster(far, west), cluster(near, east)],
            rows: [row(east, [near: 0.8, far: 0.2]), row(west, [far: 1])],
            failover: [
                FailoverRows(lost: far, rows: [row(east, [near: 1]), row(west, [near: 1])]),
                FailoverRows(lost: near, rows: [row(east, [far: 1]), row(west, [far: 1])]),
            ],
            cost: 0.15,
            gap: 0.001
        )
        return Plan(
            version: PlanVersion(epoch: epoch, generation: generation),
            parent: generation > 1 ? PlanVersion(epoch: epoch, generation: generation - 1) : nil,
            timeToLive: 60,
            pools: [pool]
        )
    }
}
