import FleetModel

/// Exact percentiles: by nearest rank, so each is a value that was measured.
enum Percentile {
    /// The smallest value that at least the fraction `p` of all values do not exceed; `nil` without values.
    static func of(_ sorted: [Seconds], _ p: Double) -> Seconds? {
        guard !sorted.isEmpty else { return nil }
        let rank = Int((p * Double(sorted.count)).rounded(.up))
        return sorted[min(max(rank, 1), sorted.count) - 1]
    }
}
