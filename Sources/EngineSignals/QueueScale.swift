import FleetModel

/// Fits `q` of the solver's delay curve `D = T + q·φ(ρ)`, `φ(ρ) = ρ^e/(1−ρ)`, `e = √(2(N+1))−1`, where `N` is the
/// number of ready endpoints.
///
/// The seed is what queueing theory says of `N` servers in parallel: `q = S/N·(cv_a² + cv_s²)/2` (H. Sakasegawa, "An
/// approximation formula L_q ≃ αρ^β/(1−ρ)", 1977). `S/N`, the time between two departures of a full pool, is
/// `1/μ`; arrivals and lengths are taken as no more regular than Poisson's, so both squares are 1 and `q = 1/μ`.
/// Then every window gives one point, its time to first token minus the unloaded one, and `q` is the least-squares
/// slope through the origin with the seed as its prior. It stays between a tenth of the seed and three times it.
struct QueueScale: Sendable {
    /// What a point keeps of its weight with each further point: a memory of 200 windows.
    private static let memory = 0.995
    /// The weight of the seed, in points at φ = 1.
    private static let seedWeight = 2.0
    private static let range = (least: 0.1, most: 3.0)
    /// The load at which φ goes on as a straight line, as in the solver.
    private static let lastCurvedLoad = 0.97

    /// A capacity is known to about a tenth, so a load over this one is taken as this one: near 1, φ would say
    /// more about the error of the capacity than about the queue, and with a great weight.
    private static let lastLearnedLoad = 0.9

    private var squares = 0.0
    private var products = 0.0

    /// φ at a load, for `servers` in parallel.
    static func shape(load: Double, servers: Int) -> Double {
        let exponent = (2 * (Double(servers) + 1)).squareRoot() - 1
        func curve(_ load: Double) -> Double { Math.power(load, exponent) / (1 - load) }
        guard load > Self.lastCurvedLoad else { return curve(max(load, 0)) }
        let edge = Self.lastCurvedLoad
        let slope = curve(edge) * (exponent / edge + 1 / (1 - edge))
        return curve(edge) + slope * (load - edge)
    }

    /// Adds one window: the mean delay over the unloaded one, at a load.
    mutating func learn(delay: Seconds, load: Double, servers: Int) {
        let shape = Self.shape(load: min(load, Self.lastLearnedLoad), servers: servers)
        self.squares = self.squares * Self.memory + shape * shape
        self.products = self.products * Self.memory + shape * max(0, delay)
    }

    /// The slope, for a pool that finishes `capacity` requests per second.
    func scale(capacity: Double) -> Seconds? {
        guard capacity > 0 else { return nil }
        let seed = 1 / capacity
        let slope = (Self.seedWeight * seed + self.products) / (Self.seedWeight + self.squares)
        return min(max(slope, seed * Self.range.least), seed * Self.range.most)
    }
}
