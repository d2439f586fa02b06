package import FleetModel

extension Router {
    /// The band of what a request names as its objective: as the plan says, else the band of that name, else standard.
    package func band(of objective: String?, in pool: PoolName) -> Band {
        guard let objective else { return .standard }
        return self.plan?[pool]?.objectives[objective] ?? Band(rawValue: objective) ?? .standard
    }
}
