package import FleetModel

/// What a `RoutingPolicy` says: settings of the solver for one pool, or for all pools of its namespace.
///
/// What it does not say stays as it is without it. Times are in seconds, shares from 0 to 1.
package struct RoutingPolicySpec: Hashable, Sendable {
    /// `nil`: every pool of the namespace.
    package var pool: PoolName?
    /// ε by band: seconds of difference in cost that are worth a factor of e in weight.
    package var smoothing: [Band: Seconds] = [:]
    package var floor: [Band: Double] = [:]
    package var floorBudget: Double?
    package var maxRemoteShare: [Band: Double] = [:]
    package var stepLargest: Double?
    package var stepFraction: Double?
    package var deadBand: Double?
    package var batchCap: Double?
    package var overflowPrice: Seconds?
    package var kvLimit: Double?
    package var unknownRoundTrip: Seconds?
    /// Where requests of a source region may run; a region that is not named may use all.
    package var residency: [RegionName: Set<RegionName>] = [:]
    /// Seconds that a request costs on its way from one region to another, beside the round trip.
    package var egress: [RegionName: [RegionName: Seconds]] = [:]

    /// Reads a spec, with everything that is wrong with it.
    package static func read(_ resource: Resource) -> (spec: RoutingPolicySpec, problems: [ResourceProblem]) {
        var reader = FieldReader(resource.spec, path: "spec")
        var spec = RoutingPolicySpec()
        spec.pool = reader.poolReference(required: false, namespace: resource.key.namespace)
        spec.smoothing = reader.bands("smoothing", in: 0.0001...10)
        spec.floor = reader.bands("floor", in: 0...0.2)
        spec.floorBudget = reader.number("floorBudget", in: 0...0.5)
        spec.maxRemoteShare = reader.bands("maxRemoteShare", in: 0...1)
        reader.mapping("stepLimit") { limit in
            spec.stepLargest = limit.number("largest", in: 0.001...1)
            spec.stepFraction = limit.number("fraction", in: 0.01...1)
        }
        spec.deadBand = reader.number("deadBand", in: 0...0.2)
        spec.batchCap = reader.number("batchCap", in: 0.05...1)
        spec.overflowPrice = reader.number("overflowPrice", in: 0.001...3_600)
        spec.kvLimit = reader.number("kvLimit", in: 0...1)
        spec.unknownRoundTrip = reader.number("unknownRoundTrip", in: 0...10)
        for (source, regions) in spec.regions("residency", &reader) {
            var allowed = FieldReader(.fields([source.text: regions]), path: "spec.residency")
            spec.residency[source] = Set(
                allowed.names(source.text, count: 0...1_024) { (text) throws(InvalidName) in try RegionName(text) }
            )
            reader.take(allowed.problems)
        }
        for (source, targets) in spec.regions("egress", &reader) {
            var row = FieldReader(targets, path: "spec.egress.\(source)")
            guard case .fields(let members) = targets else {
                reader.take(row.problems)
                continue
            }
            for target in members.keys.sorted() {
                let seconds = row.number(target, in: 0...3_600)
                do throws(InvalidName) {
                    spec.egress[source, default: [:]][try RegionName(target)] = seconds
                } catch {
                    row.note(target, error.rule)
                }
            }
            reader.take(row.problems)
        }
        reader.finish()
        return (spec, reader.problems)
    }

    /// The members of a mapping by region, sorted.
    private func regions(_ name: String, _ reader: inout FieldReader) -> [(RegionName, ResourceValue)] {
        var regions: [(RegionName, ResourceValue)] = []
        for (text, value) in reader.members(name, count: 0...1_024).sorted(by: { $0.key < $1.key }) {
            do throws(InvalidName) {
                regions.append((try RegionName(text), value))
            } catch {
                reader.note("\(name).\(text)", error.rule)
            }
        }
        return regions
    }
}

/// What a `Drain` says: a cluster, or all clusters of a region, get no new requests.
package struct DrainSpec: Hashable, Sendable {
    package var cluster: ClusterName?
    package var region: RegionName?
    /// `nil`: every pool.
    package var pool: PoolName?
    /// `draining`, or `down`, which also takes the failover rows away from it.
    package var state = ClusterState.draining
    /// Why, for whoever reads the plan's reasons at night.
    package var reason: String?

    /// Reads a spec, with everything that is wrong with it.
    package static func read(_ resource: Resource) -> (spec: DrainSpec, problems: [ResourceProblem]) {
        var reader = FieldReader(resource.spec, path: "spec")
        var spec = DrainSpec()
        spec.cluster = reader.name("cluster") { (text) throws(InvalidName) in try ClusterName(text) }
        spec.region = reader.name("region") { (text) throws(InvalidName) in try RegionName(text) }
        if reader.has("cluster") == reader.has("region") {
            reader.note("cluster", "must be given, or else region: exactly one of the two")
        }
        spec.pool = reader.name("pool") { (text) throws(InvalidName) in try PoolName(text) }
        let state = reader.choice("state", of: [ClusterState.draining, .down].map(\.rawValue))
        spec.state = state.flatMap(ClusterState.init(rawValue:)) ?? .draining
        spec.reason = reader.text("reason")
        reader.finish()
        return (spec, reader.problems)
    }
}

/// What a `Cluster` says: that there is one of the resource's name, and how far it is to be used.
package struct ClusterSpec: Hashable, Sendable {
    /// An agent that says another one is refused.
    package var region: RegionName?
    /// The part of the learned capacity that plans count on.
    package var capacityScale = 1.0

    /// Reads a spec, with everything that is wrong with it.
    package static func read(_ resource: Resource) -> (spec: ClusterSpec, problems: [ResourceProblem]) {
        var reader = FieldReader(resource.spec, path: "spec")
        var spec = ClusterSpec()
        spec.region = reader.name("region", required: true) { (text) throws(InvalidName) in try RegionName(text) }
        spec.capacityScale = reader.number("capacityScale", in: 0.01...1) ?? 1
        reader.finish()
        return (spec, reader.problems)
    }
}
