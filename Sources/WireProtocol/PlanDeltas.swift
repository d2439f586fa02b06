package import Foundation

extension Isobar_V1_PlanDelta {
    /// What turns one slice into the next.
    ///
    /// - Parameters:
    ///   - base: The slice that the receiver holds, and the hash of its body.
    ///   - next: The slice that it is to hold, and the hash of its body.
    package init(from base: (plan: Isobar_V1_Plan, hash: Data), to next: (plan: Isobar_V1_Plan, hash: Data)) {
        self.init()
        self.head = next.plan
        self.head.pools = []
        self.base = base.hash
        self.hash = next.hash
        let before = Dictionary(base.plan.pools.map { ($0.pool, $0) }) { first, _ in first }
        self.pools = next.plan.pools.map { Isobar_V1_PoolDelta(from: before[$0.pool], to: $0) }
    }

    /// The next slice, made from the one held.
    ///
    /// Whether it is the one that the hub means, only the hash of its encoding tells.
    ///
    /// - Throws: ``WireError`` for a change to something that the base has not.
    package func applied(to base: Isobar_V1_Plan) throws(WireError) -> Isobar_V1_Plan {
        let before = Dictionary(base.pools.map { ($0.pool, $0) }) { first, _ in first }
        var next = self.head
        next.pools = []
        for delta in self.pools { next.pools.append(try delta.applied(to: before[delta.pool.pool])) }
        return next
    }
}

extension Isobar_V1_PoolDelta {
    fileprivate init(from base: Isobar_V1_PoolPlan?, to next: Isobar_V1_PoolPlan) {
        self.init()
        self.pool = next
        // Places name what changes, so they must be of the same things in both.
        guard let base, base.hasSamePlaces(as: next) else {
            self.isWhole = true
            return
        }
        (self.clusterPlaces, self.pool.clusters) =
            changes(from: base.clusters, to: next.clusters, shorten: Self.shorten)
        (self.rowPlaces, self.pool.rows) = changes(from: base.rows, to: next.rows, shorten: Self.shorten)
        (self.failoverPlaces, self.pool.failover) = changes(from: base.failover, to: next.failover) { base, next in
            for (index, row) in base.rows.enumerated() where index < next.rows.count {
                Self.shorten(row, &next.rows[index])
            }
        }
    }

    fileprivate func applied(to base: Isobar_V1_PoolPlan?) throws(WireError) -> Isobar_V1_PoolPlan {
        if self.isWhole { return self.pool }
        guard let base else {
            throw WireError(field: "delta.pools.pool", reason: "\(self.pool.pool) is not in the base")
        }
        var next = self.pool
        next.clusters = base.clusters
        next.rows = base.rows
        next.failover = base.failover
        try put(self.pool.clusters, at: self.clusterPlaces, of: &next.clusters, complete: Self.complete)
        try put(self.pool.rows, at: self.rowPlaces, of: &next.rows, complete: Self.complete)
        try put(self.pool.failover, at: self.failoverPlaces, of: &next.failover) { base, next in
            for (index, row) in base.rows.enumerated() where index < next.rows.count {
                Self.complete(row, &next.rows[index])
            }
        }
        return next
    }

    // MARK: What is as in the base is left out

    private static func shorten(_ base: Isobar_V1_PlanCluster, _ next: inout Isobar_V1_PlanCluster) {
        next.name = ""
        if next.region == base.region { next.region = "" }
        if next.frame.cluster == base.frame.cluster { next.frame.cluster = "" }
    }

    private static func complete(_ base: Isobar_V1_PlanCluster, _ next: inout Isobar_V1_PlanCluster) {
        next.name = base.name
        if next.region.isEmpty { next.region = base.region }
        if next.hasFrame, next.frame.cluster.isEmpty { next.frame.cluster = base.frame.cluster }
    }

    private static func shorten(_ base: Isobar_V1_PlanRow, _ next: inout Isobar_V1_PlanRow) {
        if next.source == base.source { next.source = "" }
    }

    private static func complete(_ base: Isobar_V1_PlanRow, _ next: inout Isobar_V1_PlanRow) {
        if next.source.isEmpty { next.source = base.source }
    }
}

extension Isobar_V1_PoolPlan {
    /// Whether the lists of both are of the same clusters, rows and losses in the same order.
    fileprivate func hasSamePlaces(as other: Self) -> Bool {
        func same<Element>(_ one: [Element], _ two: [Element], by isSame: (Element, Element) -> Bool) -> Bool {
            one.count == two.count && zip(one, two).allSatisfy(isSame)
        }
        return same(self.clusters, other.clusters) { $0.name == $1.name }
            && same(self.rows, other.rows) { $0.source == $1.source && $0.band == $1.band }
            && same(self.failover, other.failover) { $0.lost == $1.lost }
    }
}

/// The places at which two lists of one length differ, and what the second has there.
private func changes<Element: Equatable>(
    from base: [Element],
    to next: [Element],
    shorten: (Element, inout Element) -> Void
) -> (places: [UInt32], elements: [Element]) {
    var (places, elements): ([UInt32], [Element]) = ([], [])
    for index in next.indices where next[index] != base[index] {
        var element = next[index]
        shorten(base[index], &element)
        places.append(UInt32(index))
        elements.append(element)
    }
    return (places, elements)
}

private func put<Element>(
    _ elements: [Element],
    at places: [UInt32],
    of list: inout [Element],
    complete: (Element, inout Element) -> Void
) throws(WireError) {
    guard elements.count == places.count else {
        throw WireError(field: "delta.pools", reason: "\(places.count) places for \(elements.count) changes")
    }
    for (element, place) in zip(elements, places) {
        guard let base = list.at(Int(place)) else {
            throw WireError(field: "delta.pools", reason: "place \(place) is not in the base, which has \(list.count)")
        }
        var element = element
        complete(base, &element)
        list[Int(place)] = element
    }
}
