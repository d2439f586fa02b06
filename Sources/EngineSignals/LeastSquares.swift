/// Least squares in three unknowns that are not negative.
struct LeastSquares: Sendable {
    /// The normal equations: `gram · θ = moment`.
    private var gram = [SIMD3<Double>](repeating: .zero, count: 3)
    private var moment = SIMD3<Double>.zero

    /// Adds the equation `x · θ = y`.
    mutating func add(_ x: SIMD3<Double>, _ y: Double) {
        for row in 0..<3 { self.gram[row] += x[row] * x }
        self.moment += y * x
    }

    /// The exact minimum of `Σ (x·θ − y)²` over `θ ≥ 0`.
    ///
    /// With three unknowns the active set needs no search: of the eight sets of unknowns that may be above zero,
    /// the best one whose own solution is not negative is the minimum, because the problem is convex.
    var nonNegative: SIMD3<Double> {
        var best = SIMD3<Double>.zero
        var bestValue = 0.0
        for set in 1..<8 {
            guard let solution = self.solution(of: set), solution.min() >= 0 else { continue }
            // At a stationary point the squared error is a constant minus moment·θ.
            let value = (self.moment * solution).sum()
            guard value > bestValue else { continue }
            bestValue = value
            best = solution
        }
        return best
    }

    /// The solution in which only the unknowns of a set, one bit each, are not zero; `nil` when there is no single one.
    private func solution(of set: Int) -> SIMD3<Double>? {
        var rows = self.gram
        var right = self.moment
        for index in 0..<3 where set & (1 << index) == 0 {
            for other in 0..<3 {
                rows[other][index] = 0
                rows[index][other] = 0
            }
            rows[index][index] = 1
            right[index] = 0
        }
        // By Cramer's rule.
        let (a, b, c) = (rows[0], rows[1], rows[2])
        let minors = SIMD3(b.y * c.z - b.z * c.y, b.z * c.x - b.x * c.z, b.x * c.y - b.y * c.x)
        let determinant = (a * minors).sum()
        guard abs(determinant) > 1e-12 * max(a.x * b.y * c.z, .leastNormalMagnitude) else { return nil }
        let second = SIMD3(c.y * a.z - c.z * a.y, c.z * a.x - c.x * a.z, c.x * a.y - c.y * a.x)
        let third = SIMD3(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x)
        return (right.x * minors + right.y * second + right.z * third) / determinant
    }
}
