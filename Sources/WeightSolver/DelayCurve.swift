/// What a request waits for in one cluster, as a function of the load `y` (requests per second) there.
///
///     D(y) = T + q·φ(ρ) + κ·ρ        ρ = y/μ,   φ(ρ) = ρ^e/(1 − ρ),   e = √(2(N+1)) − 1
///
/// with T the unloaded time to first token, q the scale of queueing, μ the capacity and N the servers. φ is
/// Sakasegawa's approximation of the queue of N servers ("An approximation formula L_q ≈ α·ρ^β/(1−ρ)", 1977). Above
/// ρ = 0.97 it goes on as its tangent, so that D is once continuously differentiable and defined at any overload.
/// κ·ρ is what decoding slows down by under load; the decoding of an idle cluster is part of T.
///
/// The fleet pays `F(y) = y·D(y)` seconds per second, and one request more costs it `F′(y) = D + y·D′`, which counts
/// the delay that it adds to the others. F is convex since e ≥ 1.
struct DelayCurve: Sendable {
    /// μ, in requests per second; above zero.
    var capacity: Double
    /// e.
    var exponent: Double
    /// T, in seconds, with the decoding time of an idle cluster.
    var unloaded: Double
    /// q, in seconds.
    var queueScale: Double
    /// κ, in seconds.
    var decodeScale: Double

    /// φ and φ′ where the tangent takes over.
    private let kink: (value: Double, slope: Double)

    /// Where the tangent takes over from the curve.
    static let kinkLoad = 0.97

    init(capacity: Double, servers: Double, unloaded: Double, queueScale: Double, decodeScale: Double = 0) {
        self.capacity = capacity
        self.exponent = (2 * (max(servers, 1) + 1)).squareRoot() - 1
        self.unloaded = unloaded
        self.queueScale = queueScale
        self.decodeScale = decodeScale
        let power = Math.pow(Self.kinkLoad, self.exponent)
        let rest = 1 / (1 - Self.kinkLoad)
        self.kink = (power * rest, power * rest * (self.exponent / Self.kinkLoad + rest))
    }

    /// D, F′ and F″ at one load.
    struct Point {
        /// D, in seconds.
        var delay: Double
        /// F′, in seconds.
        var marginal: Double
        /// F″, in seconds per request per second; never zero, so that it can be divided by.
        var curvature: Double
    }

    func at(_ load: Double) -> Point {
        let use = max(load, 0) / self.capacity
        let value: Double
        let slope: Double
        var bend = 0.0
        if use > Self.kinkLoad {
            slope = self.kink.slope
            value = self.kink.value + slope * (use - Self.kinkLoad)
        } else if use > 1e-9 {
            let rest = 1 / (1 - use)
            value = Math.pow(use, self.exponent) * rest
            let steep = self.exponent / use
            slope = value * (steep + rest)
            bend = value * (steep * (self.exponent - 1) / use + 2 * rest * (steep + rest))
        } else {
            value = 0
            slope = self.exponent > 1 ? 0 : 1
        }
        let curvature = self.queueScale * (2 * slope + use * bend) + 2 * self.decodeScale
        return Point(
            delay: self.unloaded + self.queueScale * value + self.decodeScale * use,
            marginal: self.unloaded + self.queueScale * (value + use * slope) + 2 * self.decodeScale * use,
            curvature: max(curvature, 1e-6 * self.queueScale) / self.capacity
        )
    }

    /// The load at which one more request costs `price`: the inverse of F′, zero where F′(0) is dearer already.
    ///
    /// Newton's method from `start`. F′ is convex below the kink, so that from its right the steps never overshoot,
    /// and linear above it, where the answer is exact.
    func load(atMarginal price: Double, from start: Double) -> Double {
        // On the curve's side of the kink, where its curvature is that of the curve.
        let kinkLoad = Self.kinkLoad * self.capacity * (1 - 1e-12)
        let atKink = self.at(Self.kinkLoad * self.capacity * (1 + 1e-12))
        if price >= atKink.marginal { return kinkLoad + (price - atKink.marginal) / atKink.curvature }
        guard price > self.at(0).marginal else { return 0 }
        var load = min(max(start, 1e-6 * self.capacity), kinkLoad)
        for _ in 0..<50 {
            let point = self.at(load)
            let next = min(max(load - (point.marginal - price) / point.curvature, load * 0.1), kinkLoad)
            let moved = abs(next - load)
            load = next
            if moved <= 1e-5 * self.capacity { break }
        }
        return load
    }
}
