import FleetModel
import Foundation

/// Numbers as people read them; what is not known is `-`.
enum Quantity {
    /// `182 ms` below a second, `1.24 s` below ten, `12.4 s` below a hundred, then `124 s`.
    static func duration(_ seconds: Seconds?) -> String {
        guard let seconds else { return "-" }
        if seconds < 0.9995 { return "\(Int((seconds * 1_000).rounded())) ms" }
        if seconds < 9.995 { return String(format: "%.2f s", seconds) }
        return seconds < 99.95 ? String(format: "%.1f s", seconds) : "\(Int(seconds.rounded())) s"
    }

    static func rate(_ rate: Double?) -> String { rate.map { String(format: "%.1f/s", $0) } ?? "-" }

    static func percent(_ fraction: Double?) -> String {
        fraction.map { $0 > 0 && $0 < 0.005 ? "<1%" : "\(Int(($0 * 100).rounded()))%" } ?? "-"
    }

    static func count(_ count: Int?) -> String { count.map(String.init) ?? "-" }

    /// Reads `40s`, `250ms`, `2m`, `1h` or a bare number of seconds; `nil` when it is none of them, or negative.
    static func seconds(_ text: some StringProtocol) -> Seconds? {
        let units: [(suffix: String, seconds: Double)] = [("ms", 0.001), ("s", 1), ("m", 60), ("h", 3_600), ("", 1)]
        guard let unit = units.first(where: { text.hasSuffix($0.suffix) }),
            let value = Double(text.dropLast(unit.suffix.count)), value.isFinite, value >= 0
        else { return nil }
        return value * unit.seconds
    }
}
