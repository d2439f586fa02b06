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

    /// Replaces the row's weights, which are its target, by those to be used.
    ///
    /// `freed` is the weight in force on clusters that are excluded; the flags are by column.
    func move(_ row: inout WeightRow, freed: Double, isOverloaded: [Bool], isHeld: [Bool]) -> Outcome {
        var sum = row.inForce.reduce(freed, +)
        guard sum > 0 else { return .free }
        // A row that sums to one but for rounding is taken as it is, so that one that is kept is kept to the last bit.
        if abs(sum - 1) < 1e-9 { sum = 1 }
        if sum != 1 { for i in row.inForce.indices { row.inForce[i] /= sum } }
        var outcome = Outcome.free
        if self.limit != nil || self.deadBand > 0 {
            outcome = self.step(&row, freed: freed / sum, isOverloaded: isOverloaded)
        }
        Self.hold(&row, isHeld: isHeld)
        return outcome
    }

    private func step(_ row: inout WeightRow, freed: Double, isOverloaded: [Bool]) -> Outcome {
        var freed = freed
        var open = 0.0
        for i in row.columns.indices {
            let (target, before) = (row.weights[i], row.inForce[i])
            if target < before, isOverloaded[row.columns[i]] {
                freed += before - target
            } else {
                open += target
            }
        }
        guard open > 0 else { return .free }
        // Where the step begins: what is freed has gone to the others.
        let spread = freed / open
        var largest = 0.0
        for i in row.columns.indices {
            let (target, before) = (row.weights[i], row.inForce[i])
            let start = target < before && isOverloaded[row.columns[i]] ? target : before + spread * target
            row.starts[i] = start
            largest = max(largest, abs(target - start))
        }
        if freed < self.deadBand, largest <= self.deadBand {
            for i in row.columns.indices { row.weights[i] = row.starts[i] }
            return freed == 0 ? .kept : .limited(0)
        }
        guard let limit = self.limit, largest > 0 else { return .free }
        let part = min(limit.fraction, limit.largest / largest)
        guard part < 1 else { return .free }
        for i in row.columns.indices {
            let start = row.starts[i]
            row.weights[i] = start + part * (row.weights[i] - start)
        }
        return .limited(part)
    }

    /// Takes back what clusters with old digests would gain, and gives it to the others as their weights are.
    private static func hold(_ row: inout WeightRow, isHeld: [Bool]) {
        var excess = 0.0
        var others = 0.0
        for i in row.columns.indices {
            if isHeld[row.columns[i]] {
                excess += max(row.weights[i] - row.inForce[i], 0)
            } else {
                others += row.weights[i]
            }
        }
        guard excess > 0 else { return }
        guard others > 0 else {
            // Nobody has a fresh digest: everything stays as it was.
            let kept = row.inForce.reduce(0, +)
            if kept > 0 { for i in row.columns.indices { row.weights[i] = row.inForce[i] / kept } }
            return
        }
        let growth = 1 + excess / others
        for i in row.columns.indices {
            row.weights[i] = isHeld[row.columns[i]] ? min(row.weights[i], row.inForce[i]) : row.weights[i] * growth
        }
    }
}

/// One row in the making: only the columns that have a weight or had one.
struct WeightRow: Sendable {
    private(set) var columns: [Int] = []
    fileprivate(set) var weights: [Double] = []
    private(set) var targets: [Double] = []
    fileprivate(set) var inForce: [Double] = []
    fileprivate(set) var starts: [Double] = []
    /// Where a column stands in this row, −1 for nowhere.
    private var places: [Int] = []

    mutating func fit(_ columnCount: Int) {
        if self.places.count != columnCount { self.places = [Int](repeating: -1, count: columnCount) }
    }

    mutating func append(_ target: Double, column: Int) {
        self.places[column] = self.columns.count
        self.columns.append(column)
        self.weights.append(target)
        self.targets.append(target)
        self.inForce.append(0)
        self.starts.append(0)
    }

    mutating func setInForce(_ weight: Double, column: Int) {
        if self.places[column] < 0 { self.append(0, column: column) }
        self.inForce[self.places[column]] = weight
    }

    /// Makes the targets sum to 1, and returns what they summed to.
    mutating func normalise() -> Double {
        let sum = self.targets.reduce(0, +)
        guard sum > 0 else { return 0 }
        for i in self.targets.indices {
            self.targets[i] /= sum
            self.weights[i] = self.targets[i]
        }
        return sum
    }

    mutating func clear() {
        for column in self.columns { self.places[column] = -1 }
        self.columns.removeAll(keepingCapacity: true)
        self.weights.removeAll(keepingCapacity: true)
        self.targets.removeAll(keepingCapacity: true)
        self.inForce.removeAll(keepingCapacity: true)
        self.starts.removeAll(keepingCapacity: true)
    }
}
