package import FleetModel

/// Every resource that is in force, and what they say together.
package struct ResourceSet: Hashable, Sendable {
    private var resources: [ResourceKey: Resource] = [:]

    /// More resources than this are refused.
    package static let most = 4_096

    package init(_ resources: [Resource] = []) {
        for resource in resources { self.resources[resource.key] = resource }
    }

    package subscript(key: ResourceKey) -> Resource? {
        get { self.resources[key] }
        set { self.resources[key] = newValue }
    }

    package var count: Int { self.resources.count }

    /// All of them, or those of a kind, sorted by key.
    package func all(_ kind: ResourceKind? = nil) -> [Resource] {
        self.resources.values.filter { kind == nil || $0.key.kind == kind }.sorted { $0.key < $1.key }
    }

    /// What cannot stand beside each other: the resource to refuse, and why.
    package var conflicts: [(key: ResourceKey, problem: ResourceProblem)] {
        var conflicts: [(ResourceKey, ResourceProblem)] = []
        var policies: [PolicyTarget: ResourceKey] = [:]
        for policy in self.all(.policy) {
            let pool = RoutingPolicySpec.read(policy).spec.pool
            let target = PolicyTarget(namespace: policy.key.namespace, pool: pool)
            if let first = policies[target] {
                let what = pool.map { "pool \($0)" } ?? "all pools of namespace \(target.namespace)"
                let reason = "\(first) is already the policy of \(what); change that one"
                conflicts.append((policy.key, ResourceProblem(path: "spec.poolRef", reason: reason)))
            } else {
                policies[target] = policy.key
            }
        }
        if self.count > Self.most, let last = self.all().last {
            let reason = "there would be \(self.count) resources, and the hub holds at most \(Self.most); delete some"
            conflicts.append((last.key, ResourceProblem(path: "", reason: reason)))
        }
        return conflicts
    }

    private struct PolicyTarget: Hashable {
        let namespace: String
        let pool: PoolName?
    }
}

/// What the resources in force mean for the planning of a fleet.
package struct FleetSettings: Hashable, Sendable {
    /// A drain in force, with its name.
    package struct NamedDrain: Hashable, Sendable {
        package let key: ResourceKey
        package let spec: DrainSpec
    }

    private struct NamedPolicy: Hashable, Sendable {
        let key: ResourceKey
        let spec: RoutingPolicySpec
    }

    /// The pools that a resource declares.
    package private(set) var pools: Set<PoolName> = []
    /// By pool, the band of each objective.
    package private(set) var objectives: [PoolName: [String: Band]] = [:]
    package private(set) var clusters: [ClusterName: ClusterSpec] = [:]
    package private(set) var drains: [NamedDrain] = []
    private var policies: [NamedPolicy] = []

    package init(_ resources: ResourceSet = ResourceSet()) {
        for resource in resources.all() {
            switch resource.key.kind {
            case .pool:
                self.pools.insert(PoolName(namespace: resource.key.namespace, name: resource.key.name))
            case .objective:
                let spec = ObjectiveSpec.read(resource).spec
                if let pool = spec.pool { self.objectives[pool, default: [:]][resource.key.name] = spec.band }
            case .policy:
                self.policies.append(NamedPolicy(key: resource.key, spec: RoutingPolicySpec.read(resource).spec))
            case .drain:
                self.drains.append(NamedDrain(key: resource.key, spec: DrainSpec.read(resource).spec))
            case .cluster:
                let name = ClusterName(unchecked: resource.key.name)
                self.clusters[name] = ClusterSpec.read(resource).spec
            }
        }
    }

    /// The policies of a pool, the wider one first: what the later one says counts.
    package func policies(of pool: PoolName) -> [(key: ResourceKey, spec: RoutingPolicySpec)] {
        let wide = self.policies.filter { $0.spec.pool == nil && $0.key.namespace == pool.namespace }
        return (wide + self.policies.filter { $0.spec.pool == pool }).map { ($0.key, $0.spec) }
    }

    /// The drain that counts for a pool in a cluster: the stronger one of several.
    package func drain(of cluster: ClusterName, in region: RegionName, pool: PoolName) -> NamedDrain? {
        let drains = self.drains.filter { drain in
            (drain.spec.cluster == cluster || drain.spec.region == region)
                && (drain.spec.pool == nil || drain.spec.pool == pool)
        }
        return drains.first { $0.spec.state == .down } ?? drains.first
    }
}
