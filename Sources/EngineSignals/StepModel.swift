import FleetModel

/// How long one step of an engine takes: `a + b·n + c·p` seconds for `n` running requests and `p` prompt tokens.
///
/// The mean time between tokens is that of a step, and `p = P·ITL` prompt tokens fall into a step, so
/// `ITL = a + b·n + c·P·ITL`, which is linear in the three coefficients.
struct StepModel: Hashable, Sendable {
    var a: Seconds
    var b: Seconds
    var c: Seconds

    /// Requests per second that leave when `n` run, each of `lengthIn` uncached prompt and `lengthOut` output tokens.
    func throughput(running n: Double, lengthIn: Double, lengthOut: Double) -> Double {
        n / (lengthOut * (self.a + self.b * n) + n * self.c * lengthIn)
    }
}

/// The mean of the windows that had about the same number of requests running.
struct LoadBin: Hashable, Sendable {
    var running: Double
    /// Prompt tokens in a step.
    var promptInStep: Double
    var itl: Seconds
    private(set) var windows = 1.0

    init(running: Double, promptInStep: Double, itl: Seconds) {
        self.running = running
        self.promptInStep = promptInStep
        self.itl = itl
    }

    /// Adds a window: a plain mean at first, then a moving one over about ten windows.
    mutating func add(_ other: LoadBin) {
        let share = max(0.1, 1 / (self.windows + 1))
        self.running += share * (other.running - self.running)
        self.promptInStep += share * (other.promptInStep - self.promptInStep)
        self.itl += share * (other.itl - self.itl)
        self.windows += 1
    }
}

extension StepModel {
    /// How firmly a, b and c are held to the prior, where a bin of 20 windows has the weight 20.
    private static let ridge: [Double] = [3, 2, 3]

    /// The coefficients that fit the bins best, none of them negative: ridge regression towards `prior`, in
    /// relative errors, so that a bin of short steps counts as much as one of long steps.
    static func fit(_ bins: [LoadBin], prior: StepModel) -> StepModel {
        var rows: [(x: [Double], y: Double)] = bins.map { bin in
            let weight = min(bin.windows, 20).squareRoot() / bin.itl
            return (
                [weight * prior.a, weight * prior.b * bin.running, weight * prior.c * bin.promptInStep],
                weight * bin.itl
            )
        }
        for (index, strength) in Self.ridge.enumerated() {
            rows.append(((0..<3).map { $0 == index ? strength : 0 }, strength))
        }
        let factors = LeastSquares.nonNegative(rows)
        return StepModel(a: factors[0] * prior.a, b: factors[1] * prior.b, c: factors[2] * prior.c)
    }
}

/// Least squares in three unknowns.
enum LeastSquares {
    /// The exact minimum of `Σ (x·θ − y)²` over `θ ≥ 0`.
    ///
    /// With three unknowns the active set needs no search: of the eight sets of unknowns that may be above zero,
    /// the best one whose own solution is not negative is the minimum, because the problem is convex.
    static func nonNegative(_ rows: [(x: [Double], y: Double)]) -> [Double] {
        var gram = Array(repeating: Array(repeating: 0.0, count: 3), count: 3)
        var moment = Array(repeating: 0.0, count: 3)
        for row in rows {
            for i in 0..<3 {
                moment[i] += row.x[i] * row.y
                for j in 0..<3 { gram[i][j] += row.x[i] * row.x[j] }
            }
        }
        var best = Array(repeating: 0.0, count: 3)
        var bestValue = 0.0
        for set in 1..<8 {
            let free = (0..<3).filter { set & (1 << $0) != 0 }
            guard let solution = Self.solve(free.map { i in free.map { gram[i][$0] } }, free.map { moment[$0] }),
                solution.allSatisfy({ $0 >= 0 })
            else { continue }
            // At a stationary point the squared error is a constant minus moment·θ.
            let value = zip(free, solution).reduce(0) { $0 + moment[$1.0] * $1.1 }
            guard value > bestValue else { continue }
            bestValue = value
            best = Array(repeating: 0, count: 3)
            for (index, coefficient) in zip(free, solution) { best[index] = coefficient }
        }
        return best
    }

    /// Gauss–Jordan with pivoting; `nil` when the matrix is singular.
    private static func solve(_ matrix: [[Double]], _ vector: [Double]) -> [Double]? {
        let size = vector.count
        var rows = zip(matrix, vector).map { $0 + [$1] }
        for column in 0..<size {
            guard let pivot = (column..<size).max(by: { abs(rows[$0][column]) < abs(rows[$1][column]) }),
                abs(rows[pivot][column]) > 1e-12
            else { return nil }
            rows.swapAt(column, pivot)
            for row in 0..<size where row != column {
                let factor = rows[row][column] / rows[column][column]
                for index in column...size { rows[row][index] -= factor * rows[column][index] }
            }
        }
        return (0..<size).map { rows[$0][size] / rows[$0][$0] }
    }
}
