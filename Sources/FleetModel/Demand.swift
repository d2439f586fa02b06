/// What one gateway saw arrive for one pool in one band.
package struct BandDemand: Hashable, Sendable {
    package var pool: PoolName
    package var band: Band
    /// Requests per second from clients, already smoothed by the gateway.
    package var rate: Double

    package init(pool: PoolName, band: Band, rate: Double) {
        self.pool = pool
        self.band = band
        self.rate = rate
    }
}

/// A gateway's report to the hub.
package struct DemandReport: Hashable, Sendable {
    package var gateway: GatewayName
    package var region: RegionName
    package var demand: [BandDemand]
    /// Round-trip time to each other region that the gateway can reach, in seconds.
    package var roundTrips: [RegionName: Seconds]
    /// Regions that this gateway cannot reach at the moment.
    package var unreachable: Set<RegionName>

    package init(
        gateway: GatewayName,
        region: RegionName,
        demand: [BandDemand],
        roundTrips: [RegionName: Seconds],
        unreachable: Set<RegionName> = []
    ) {
        self.gateway = gateway
        self.region = region
        self.demand = demand
        self.roundTrips = roundTrips
        self.unreachable = unreachable
    }
}
