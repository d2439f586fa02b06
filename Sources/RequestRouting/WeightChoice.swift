import FleetModel

/// The index that a draw from weights falls on; `nil` when no weight is above zero.
func draw(_ weights: [Double], using dice: inout some RandomNumberGenerator) -> Int? {
    var total = 0.0
    for weight in weights where weight > 0 { total += weight }
    guard total > 0, total.isFinite else { return nil }
    var rest = dice.number(below: total)
    var last: Int?
    for index in weights.indices where weights[index] > 0 {
        if rest < weights[index] { return index }
        rest -= weights[index]
        last = index
    }
    return last
}

/// What a gateway does with a plan that nobody has confirmed for longer than its time to live.
///
/// The local share stays. The remote share decays, over one more time to live, from the plan's split
/// to one by distance, `1/roundTrip²`: near clusters first and never all to the nearest, since the
/// hub's knowledge of capacity is what went stale.
func decay(
    _ weights: inout [Double],
    overdue: Seconds,
    timeToLive: Seconds,
    isLocal: (Int) -> Bool,
    roundTrip: (Int) -> Seconds
) {
    func nearness(_ place: Int) -> Double {
        let trip = max(roundTrip(place), 0.001)
        return 1 / (trip * trip)
    }
    var (share, total) = (0.0, 0.0)
    for place in weights.indices where weights[place] > 0 && !isLocal(place) {
        share += weights[place]
        total += nearness(place)
    }
    guard share > 0 else { return }
    let kept = decay(overdue, over: max(timeToLive, 1))
    for place in weights.indices where weights[place] > 0 && !isLocal(place) {
        weights[place] = kept * weights[place] + (1 - kept) * share * nearness(place) / total
    }
}
