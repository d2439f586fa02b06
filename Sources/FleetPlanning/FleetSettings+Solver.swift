import FleetModel
import Resources
import WeightSolver

extension SolverPolicy {
    /// The same policy with what a resource says in place of its own.
    func with(_ spec: RoutingPolicySpec) -> SolverPolicy {
        var policy = self
        for (band, value) in spec.smoothing { policy.epsilon[band] = value }
        for (band, value) in spec.floor { policy.floor[band] = value }
        for (band, value) in spec.maxRemoteShare { policy.maxRemoteShare[band] = value }
        if let value = spec.floorBudget { policy.floorBudget = value }
        if spec.stepLargest != nil || spec.stepFraction != nil {
            var limit = policy.stepLimit ?? StepLimit()
            if let value = spec.stepLargest { limit.largest = value }
            if let value = spec.stepFraction { limit.fraction = value }
            policy.stepLimit = limit
        }
        if let value = spec.deadBand { policy.deadBand = value }
        if let value = spec.batchCap { policy.batchCap = value }
        if let value = spec.overflowPrice { policy.overflowPrice = value }
        if let value = spec.kvLimit { policy.kvLimit = value }
        if let value = spec.unknownRoundTrip { policy.unknownRoundTrip = value }
        return policy
    }
}

extension FleetSettings {
    /// Where the requests of a pool may run, by source region.
    func residency(of pool: PoolName) -> [RegionName: Set<RegionName>] {
        self.policies(of: pool).reduce(into: [:]) { $0.merge($1.spec.residency) { $1 } }
    }

    /// What requests of a pool cost on their way, in seconds: a solver whose egress price is 1 takes them as they are.
    func egress(of pool: PoolName) -> [RegionName: [RegionName: Seconds]] {
        self.policies(of: pool).reduce(into: [:]) { $0.merge($1.spec.egress) { $0.merging($1) { $1 } } }
    }

    /// The resources that a pool's problem depends on, in words.
    func because(of pool: PoolName, clusters: [SolverCluster]) -> [String] {
        var words = self.policies(of: pool).map { "\($0.key)" }
        for cluster in clusters {
            if let drain = self.drain(of: cluster.name, in: cluster.region, pool: pool) {
                let reason = drain.spec.reason.map { ": \($0)" } ?? ""
                words.append("\(drain.key) takes \(cluster.name) out\(reason)")
            }
            if let scale = self.clusters[cluster.name]?.capacityScale, scale < 1 {
                let percent = (scale * 100).rounded()
                words.append("Cluster \(cluster.name) counts at \(Int(percent)) % of its capacity")
            }
        }
        return words
    }
}
