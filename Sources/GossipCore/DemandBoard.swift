package import FleetModel

/// The newest report of every gateway, and what they say together.
///
/// Demand of a region is the sum over its gateways; a round trip is the least that any of its
/// gateways measured, since the others only add their own waiting to it.
package struct DemandBoard: Sendable {
    private struct Entry: Sendable {
        var report: DemandReport
        var receivedAt: Seconds
    }

    /// A silent gateway's demand counts for this long: its clients have moved on by then, in seconds.
    package static let reportLifetime: Seconds = 5

    /// More gateways than this are refused.
    package static let gatewaysMax = 16_384

    private var entries: [GatewayName: Entry] = [:]
    /// How many reporting gateways stand in a region, and how many name it as unreachable: kept as reports come, since
    /// thousands of gateways report twice a second and each report may be the one that changes the answer.
    private var gatewaysIn: [RegionName: Int] = [:]
    private var namedBy: [RegionName: Int] = [:]
    /// Outlives the reports: distance does not change because a gateway is gone.
    private var roundTrips: [RegionName: [RegionName: Seconds]] = [:]

    package init() {}

    /// Takes a gateway's newest report.
    ///
    /// - Returns: `false` when the board is full and the report was dropped.
    package mutating func receive(_ report: DemandReport, now: Seconds) -> Bool {
        guard self.entries[report.gateway] != nil || self.entries.count < Self.gatewaysMax else { return false }
        self.tally(self.entries[report.gateway]?.report, by: -1)
        self.tally(report, by: 1)
        self.entries[report.gateway] = Entry(report: report, receivedAt: now)
        for (region, seconds) in report.roundTrips {
            self.roundTrips[report.region, default: [:]][region] = seconds
        }
        return true
    }

    /// A gateway's stream has ended: what it reported is no demand any more, and its region has one voice less.
    package mutating func forget(_ gateway: GatewayName) {
        self.tally(self.entries.removeValue(forKey: gateway)?.report, by: -1)
    }

    /// Drops the reports that are older than ``reportLifetime``.
    package mutating func forgetSilent(now: Seconds) {
        for (gateway, entry) in self.entries where now - entry.receivedAt > Self.reportLifetime { self.forget(gateway) }
    }

    private mutating func tally(_ report: DemandReport?, by step: Int) {
        guard let report else { return }
        func add(_ region: RegionName, to counts: inout [RegionName: Int]) {
            let count = (counts[region] ?? 0) + step
            counts[region] = count == 0 ? nil : count
        }
        add(report.region, to: &self.gatewaysIn)
        for region in report.unreachable { add(region, to: &self.namedBy) }
    }

    /// Requests per second of a pool, by source region and band.
    package func demand(of pool: PoolName) -> [RegionName: [Band: Double]] {
        var total: [RegionName: [Band: Double]] = [:]
        for entry in self.entries.values {
            if total[entry.report.region] == nil { total[entry.report.region] = [:] }
            for demand in entry.report.demand where demand.pool == pool {
                total[entry.report.region, default: [:]][demand.band, default: 0] += demand.rate
            }
        }
        return total
    }

    /// Every region that has a reporting gateway or that one has measured, sorted.
    package var regions: [RegionName] {
        var regions = Set(self.roundTrips.keys)
        for row in self.roundTrips.values { regions.formUnion(row.keys) }
        regions.formUnion(self.entries.values.map(\.report.region))
        return regions.sorted()
    }

    /// Seconds from a region to another and back, when any of its gateways has measured it, in
    /// either direction.
    package func roundTrip(from source: RegionName, to target: RegionName) -> Seconds? {
        self.roundTrips[source]?[target] ?? self.roundTrips[target]?[source]
    }

    /// Regions that answer: a gateway of them reports, or a gateway of another region reaches them.
    package var vouched: Set<RegionName> {
        self.entries.values.reduce(into: Set<RegionName>()) { regions, entry in
            regions.insert(entry.report.region)
            regions.formUnion(Set(entry.report.roundTrips.keys).subtracting(entry.report.unreachable))
        }
    }

    /// Regions that no reporting gateway of another region can reach.
    ///
    /// One voice is enough when it is the only one; with several, all must agree, so that one cut
    /// gateway does not take a region away from the rest.
    package var unreachable: Set<RegionName> {
        Set(self.namedBy.filter { $0.value == self.entries.count && self.gatewaysIn[$0.key] == nil }.keys)
    }
}
