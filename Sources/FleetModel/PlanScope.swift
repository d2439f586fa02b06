/// What of a plan a gateway needs: the pools that it serves, as seen from its region.
///
/// Gateways of one scope are sent the same bytes.
package struct PlanScope: Hashable, Sendable, CustomStringConvertible {
    package let region: RegionName
    /// Sorted, each once; every pool of the plan when empty.
    package let pools: [PoolName]

    package init(region: RegionName, pools: [PoolName] = []) {
        self.region = region
        self.pools = Set(pools).sorted()
    }

    /// As in `us-east: default/llama, default/qwen`.
    package var description: String {
        let pools = self.pools.isEmpty ? "all pools" : self.pools.map(\.description).joined(separator: ", ")
        return "\(self.region): \(pools)"
    }
}
