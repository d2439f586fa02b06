package import FleetModel

extension Isobar_V1_Plan {
    /// The part of the plan that a gateway needs: its pools with all their clusters, the rows of its region, and of the
    /// rows for the loss of a cluster those that its region's rows could ever ask for.
    ///
    /// Rows of other regions are those regions' own: a request that one of them passes on goes to an endpoint of this
    /// region, which needs no row. Everything else, and what a newer version may have added, stays as it is.
    package func slice(for scope: PlanScope) -> Self {
        var slice = self
        if !scope.pools.isEmpty {
            let names = Set(scope.pools.map(\.description))
            slice.pools.removeAll { !names.contains($0.pool) }
        }
        for index in slice.pools.indices { slice.pools[index].keepRows(of: scope.region.text) }
        return slice
    }
}

extension Isobar_V1_PoolPlan {
    fileprivate mutating func keepRows(of source: String) {
        self.rows = self.rows.filter { $0.source == source }
        var used: Set<String> = []
        for row in self.rows { used.formUnion(row.usedPlaces.compactMap { self.clusters.at($0)?.name }) }
        self.failover = self.failover.compactMap { failover in
            guard used.contains(failover.lost) else { return nil }
            var kept = failover
            kept.rows = kept.rows.filter { $0.source == source }
            return kept.rows.isEmpty ? nil : kept
        }
    }
}

extension Isobar_V1_PlanRow {
    /// The places of the clusters that have a weight.
    fileprivate var usedPlaces: [Int] {
        let places = self.places.isEmpty ? Array(self.weights.indices) : self.places.map(Int.init)
        return zip(places, self.weights).compactMap { $1 > 0 ? $0 : nil }
    }
}

extension Array {
    /// The element at a place that came from outside.
    func at(_ index: Int) -> Element? { self.indices.contains(index) ? self[index] : nil }
}
