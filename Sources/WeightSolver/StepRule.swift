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
        var sum = row.items.reduce(freed) { $0 + $1.inForce }
        guard sum > 0 else { return .free }
        // A row that sums to one but for rounding is taken as it is, so that one that is kept is kept to the last bit.
        if abs(sum - 1) < 1e-9 { sum = 1 }
        if sum != 1 { for i in row.items.indices { row.items[i].inForce /= sum } }
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
        for item in row.items {
            if item.target < item.inForce, isOverloaded[item.column] {
                freed += item.inForce - item.target
            } else {
                open += item.target
            }
        }
        guard open > 0 else { return .free }
        // The step begins where what is freed has gone to the others.
        let spread = freed / open
        func start(_ item: WeightRow.Item) -> Double {
            item.target < item.inForce && isOverloaded[item.column]
                ? item.target : item.inForce + spread * item.target
        }
        var largest = 0.0
        for item in row.items { largest = max(largest, abs(item.target - start(item))) }
        if freed < self.deadBand, largest <= self.deadBand {
            for i in row.items.indices { row.items[i].weight = start(row.items[i]) }
            return freed == 0 ? .kept : .limited(0)
        }
        guard let limit = self.limit, largest > 0 else { return .free }
        let part = min(limit.fraction, limit.largest / largest)
        guard part < 1 else { return .free }
        for i in row.items.indices {
            let start = start(row.items[i])
            row.items[i].weight = start + part * (row.items[i].target - start)
        }
        return .limited(part)
    }

    /// Takes back what clusters with old digests would gain, and gives it to the others as their weights are.
    private static func hold(_ row: inout WeightRow, isHeld: [Bool]) {
        var excess = 0.0
        var others = 0.0
        for item in row.items {
            if isHeld[item.column] {
                excess += max(item.weight - item.inForce, 0)
            } else {
                others += item.weight
            }
        }
        guard excess > 0 else { return }
        guard others > 0 else {
            // Nobody has a fresh digest: everything stays as it was.
            let kept = row.items.reduce(0) { $0 + $1.inForce }
            if kept > 0 { for i in row.items.indices { row.items[i].weight = row.items[i].inForce / kept } }
            return
        }
        let growth = 1 + excess / others
        for i in row.items.indices {
            let item = row.items[i]
            row.items[i].weight = isHeld[item.column] ? min(item.weight, item.inForce) : item.weight * growth
        }
    }
}

/// One row in the making: only the columns that have a weight or had one.
struct WeightRow: Sendable {
    struct Item {
        let column: Int
        /// Where the weight is to go in the end.
        var target: Double
        /// What it is before this tick.
        var inForce: Double
        /// What it is to be.
        var weight: Double
    }

    fileprivate(set) var items: [Item] = []
    /// Where a column stands among the items, −1 for nowhere.
    private var places: [Int] = []

    /// Makes room, and forgets the last row.
    mutating func begin(columns: Int) {
        if self.places.count != columns { self.places = [Int](repeating: -1, count: columns) }
        for item in self.items where item.column < columns { self.places[item.column] = -1 }
        self.items.removeAll(keepingCapacity: true)
    }

    mutating func append(_ target: Double, column: Int) {
        self.places[column] = self.items.count
        self.items.append(Item(column: column, target: target, inForce: 0, weight: target))
    }

    mutating func setInForce(_ weight: Double, column: Int) {
        if self.places[column] < 0 { self.append(0, column: column) }
        self.items[self.places[column]].inForce = weight
    }

    /// Makes the targets sum to 1, and returns what they summed to.
    mutating func normalise() -> Double {
        let sum = self.items.reduce(0) { $0 + $1.target }
        guard sum > 0 else { return 0 }
        for i in self.items.indices {
            let target = self.items[i].target / sum
            self.items[i].target = target
            self.items[i].weight = target
        }
        return sum
    }
}
