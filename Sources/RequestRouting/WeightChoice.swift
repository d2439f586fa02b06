import FleetModel

/// Draws from weights by cluster; iterates by name, so that a seed gives the same draw anywhere.
func draw(
    _ weights: [ClusterName: Double],
    using dice: inout some RandomNumberGenerator
) -> ClusterName? {
    let sorted = weights.filter { $0.value > 0 }.sorted { $0.key < $1.key }
    let total = sorted.reduce(0) { $0 + $1.value }
    guard total > 0, total.isFinite else { return nil }
    var rest = Double.random(in: 0..<total, using: &dice)
    for (cluster, weight) in sorted {
        if rest < weight { return cluster }
        rest -= weight
    }
    return sorted.last?.key
}

/// Weights without the lost clusters: their share goes to the others in proportion.
func without(_ lost: Set<ClusterName>, _ weights: [ClusterName: Double]) -> [ClusterName: Double] {
    let left = weights.filter { !lost.contains($0.key) && $0.value > 0 }
    let total = left.values.reduce(0, +)
    return total > 0 ? left.mapValues { $0 / total } : [:]
}

/// What a gateway does with a plan that nobody has confirmed for longer than its time to live.
///
/// The local share stays. The remote share decays, over one more time to live, from the plan's split
/// to one by distance, `1/roundTrip²`: near clusters first and never all to the nearest, since the
/// hub's knowledge of capacity is what went stale.
func decayed(
    _ weights: [ClusterName: Double],
    overdue: Seconds,
    timeToLive: Seconds,
    isLocal: (ClusterName) -> Bool,
    roundTrip: (ClusterName) -> Seconds
) -> [ClusterName: Double] {
    let remote = weights.filter { !isLocal($0.key) && $0.value > 0 }
    let share = remote.values.reduce(0, +)
    guard share > 0 else { return weights }
    let kept = decay(overdue, over: max(timeToLive, 1))
    let nearness = remote.mapValues { _ in 0.0 }.map { cluster, _ in
        (cluster, 1 / (max(roundTrip(cluster), 0.001) * max(roundTrip(cluster), 0.001)))
    }
    let total = nearness.reduce(0) { $0 + $1.1 }
    var result = weights
    for (cluster, near) in nearness {
        result[cluster] = kept * (weights[cluster] ?? 0) + (1 - kept) * share * near / total
    }
    return result
}
