/// How one row of weights moves from what is in force toward its target, with its sum kept at 1.
///
///     w ← w + s·(w* − w)        s = min(fraction, largest / max|w* − w|)
///
/// A cluster that is excluded or overloaded loses its weight at once: what it loses is shared among the others as
/// their targets are, and only from there the step counts. A cluster with an old digest never gains.
struct StepRule {
    /// What became of a row.
    enum Outcome: Hashable, Sendable {
        /// It is at its target.
        case free
        /// It went this part of the way.
        case limited(Double)
        /// It was not worth moving.
        case kept
    }

    var limit: StepLimit?
    var deadBand: Double

    /// Replaces `row`, the target, by the weights to be used.
    ///
    /// `previous` has the weights in force on the same columns, and `freed` is the weight in force on clusters that are
    /// excluded.
    func move(
        _ row: inout [Double],
        from previous: inout [Double],
        freed: Double,
        isOverloaded: [Bool],
        isHeld: [Bool]
    ) -> Outcome {
        var inForce = previous.reduce(freed, +)
        guard inForce > 0 else { return .free }
        // A row that sums to one but for rounding is taken as it is, so that one that is kept is kept to the last bit.
        if abs(inForce - 1) < 1e-9 { inForce = 1 }
        var outcome = Outcome.free
        if self.limit != nil || self.deadBand > 0 {
            outcome = self.step(&row, from: previous, inForce: inForce, freed: freed, isOverloaded: isOverloaded)
        }
        Self.hold(&row, at: previous, inForce: inForce, isHeld: isHeld)
        return outcome
    }

    private func step(
        _ row: inout [Double],
        from previous: [Double],
        inForce: Double,
        freed: Double,
        isOverloaded: [Bool]
    ) -> Outcome {
        var freed = freed / inForce
        var open = 0.0
        for c in row.indices {
            let before = previous[c] / inForce
            if isOverloaded[c], row[c] < before {
                freed += before - row[c]
            } else {
                open += row[c]
            }
        }
        guard open > 0 else { return .free }
        let spread = freed / open
        func start(_ c: Int) -> Double {
            let before = previous[c] / inForce
            return isOverloaded[c] && row[c] < before ? row[c] : before + spread * row[c]
        }
        var largest = 0.0
        for c in row.indices { largest = max(largest, abs(row[c] - start(c))) }
        if freed < self.deadBand, largest <= self.deadBand {
            guard freed == 0 else {
                for c in row.indices { row[c] = start(c) }
                return .limited(0)
            }
            for c in row.indices { row[c] = previous[c] / inForce }
            return .kept
        }
        guard let limit = self.limit, largest > 0 else { return .free }
        let part = min(limit.fraction, limit.largest / largest)
        guard part < 1 else { return .free }
        for c in row.indices {
            let from = start(c)
            row[c] = from + part * (row[c] - from)
        }
        return .limited(part)
    }

    /// Takes back what clusters with old digests would gain, and gives it to the others as their weights are.
    private static func hold(_ row: inout [Double], at previous: [Double], inForce: Double, isHeld: [Bool]) {
        var excess = 0.0
        var others = 0.0
        for c in row.indices {
            if isHeld[c] {
                excess += max(row[c] - previous[c] / inForce, 0)
            } else {
                others += row[c]
            }
        }
        guard excess > 0 else { return }
        guard others > 0 else {
            // Nobody has a fresh digest: everything stays as it was.
            let kept = previous.reduce(0, +)
            if kept > 0 { for c in row.indices { row[c] = previous[c] / kept } }
            return
        }
        let growth = 1 + excess / others
        for c in row.indices {
            row[c] = isHeld[c] ? min(row[c], previous[c] / inForce) : row[c] * growth
        }
    }
}
