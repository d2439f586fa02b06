package import EngineModel
package import FleetModel

/// One region of a simulated world.
package struct WorldRegion: Sendable {
    package var name: RegionName
    /// How many clients it has, relative to the other regions.
    package var demand: Double
    /// Hours that its clock is ahead of UTC.
    package var zone: Double
    /// Gateway replicas; its clients use them in turn.
    package var gateways: Int

    package init(name: RegionName, demand: Double = 1, zone: Double = 0, gateways: Int = 2) {
        self.name = name
        self.demand = demand
        self.zone = zone
        self.gateways = gateways
    }
}

/// One cluster of equal engines.
package struct WorldCluster: Sendable {
    package var name: ClusterName
    package var region: RegionName
    package var profile: EngineProfile
    package var engines: Int

    package init(name: ClusterName, region: RegionName, profile: EngineProfile, engines: Int) {
        self.name = name
        self.region = region
        self.profile = profile
        self.engines = engines
    }
}

/// One band's part of the requests, and what its users expect.
package struct WorldBand: Sendable {
    package var band: Band
    /// Relative to the other bands.
    package var share: Double
    /// The time to first token that a request must keep to count as goodput, in seconds.
    package var objective: Seconds

    package init(band: Band, share: Double, objective: Seconds) {
        self.band = band
        self.share = share
        self.objective = objective
    }
}

/// A fleet that stands somewhere: what a simulation is about.
package struct FleetWorld: Sendable {
    package var regions: [WorldRegion]
    package var clusters: [WorldCluster]
    package var bands: [WorldBand]
    /// Seconds there and back between regions by place; 0 on the diagonal.
    package var roundTrips: [[Seconds]]
    /// The hour at UTC when the run begins.
    package var hour: Double
    /// a of the daily rhythm `1 + a·cos(2π(local hour − 14)/24)`.
    package var swing: Double
    /// Where the hub stands: the place of a region.
    package var hub: Int

    /// `roundTrips` is by places in `regions`: a square of non-negative seconds.
    package init(
        regions: [WorldRegion],
        clusters: [WorldCluster],
        bands: [WorldBand],
        roundTrips: [[Seconds]],
        hour: Double = 0,
        swing: Double = 0,
        hub: Int = 0
    ) {
        self.regions = regions
        self.clusters = clusters
        self.bands = bands
        self.roundTrips = roundTrips
        self.hour = hour
        self.swing = swing
        self.hub = hub
    }

    /// The part of all requests that comes from each region, by place.
    package var demandShares: [Double] {
        let weights = self.regions.map { region in
            region.demand * (1 + self.swing * Math.cos(2 * .pi * (self.hour + region.zone - 14) / 24))
        }
        let total = weights.reduce(0, +)
        return weights.map { total > 0 ? $0 / total : 1 / Double(weights.count) }
    }

    /// The place of a cluster's region.
    func place(ofRegion name: RegionName) -> Int { self.regions.firstIndex { $0.name == name } ?? 0 }
}

/// A place on the globe, for worlds that give places instead of round trips.
package struct WorldPosition: Sendable {
    package var latitude: Double
    package var longitude: Double

    package init(latitude: Double, longitude: Double) {
        self.latitude = latitude
        self.longitude = longitude
    }

    /// Seconds to another place and back: light in fibre (200 km/ms) over one and a half times the great circle, and
    /// 2 ms for the equipment.
    ///
    /// Virginia to Ireland gives 85 ms, where clouds publish 83.
    package func roundTrip(to other: WorldPosition) -> Seconds {
        let radians = Double.pi / 180
        let (a, b) = (self.latitude * radians, other.latitude * radians)
        let (x, y) = (Math.sin((b - a) / 2), Math.sin((other.longitude - self.longitude) * radians / 2))
        let chord = (x * x + Math.cos(a) * Math.cos(b) * y * y).squareRoot()
        let kilometres = 2 * 6_371 * Math.asin(min(1, chord))
        return 0.002 + 1.5 * 2 * kilometres / 200_000
    }
}
