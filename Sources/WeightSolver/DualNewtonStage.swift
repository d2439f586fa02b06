extension DualNewton {
    /// What one band asks.
    struct Stage {
        var epsilon: Double
        /// By source.
        var demand: [Double]
        /// By column.
        var base: [Double]
        /// By column; infinite for none.
        var cap: [Double]
        /// Infinite when nothing may be put off.
        var overflowPrice: Double
        /// By source, 1 for none.
        var remoteLimit: [Double]

        /// A cluster that is full for this band is not there.
        func isOpen(_ column: Int) -> Bool { self.cap[column] > self.base[column] }

        func wall(_ column: Int) -> Wall { Wall(cap: self.cap[column], height: self.overflowPrice) }
    }

    /// What keeps a load below its cap: over the last 0.1 % before it the marginal cost rises by the price of overflow,
    /// which nobody pays.
    ///
    /// A cap is thereby one more convex cost, and needs no case of its own.
    struct Wall {
        private let start: Double
        private let slope: Double

        init(cap: Double, height: Double) {
            self.start = cap < .infinity ? 0.999 * cap : .infinity
            self.slope = cap < .infinity ? height / (0.001 * cap) : 0
        }

        /// A point of a delay curve with the wall's part, which is spread over the load to be a delay.
        @inline(__always)
        func on(_ point: DelayCurve.Point, load: Double) -> DelayCurve.Point {
            let inside = load - self.start
            guard inside > 0 else { return point }
            return DelayCurve.Point(
                delay: point.delay + 0.5 * self.slope * inside * inside / load,
                marginal: point.marginal + self.slope * inside,
                curvature: point.curvature + self.slope
            )
        }

        /// The load at which one more request costs `price`, wall and all.
        func load(atMarginal price: Double, of curve: DelayCurve, from start: Double) -> Double {
            var load = curve.load(atMarginal: price, from: start)
            guard load > self.start else { return load }
            // From the right of a convex function Newton's steps do not overshoot.
            load = min(load, self.start + (price - curve.at(self.start).marginal) / self.slope)
            for _ in 0..<20 {
                let point = self.on(curve.at(load), load: load)
                let next = max(load - (point.marginal - price) / point.curvature, self.start)
                let moved = abs(next - load)
                load = next
                if moved <= 1e-5 * curve.capacity { break }
            }
            return load
        }
    }

    struct Outcome: Equatable {
        var iterations = 0
        /// Σ|demand − supply| over the demand: zero at the exact optimum of the smoothed problem.
        var residual = 0.0
        var isConverged = true
    }
}
