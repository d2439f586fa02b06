/// Rendezvous hashing: every gateway finds the same place for a session without asking anybody, and when the places or
/// their weights change, only the sessions move that have to.
///
/// A place's draw is a number that session and place fix, uniform in (0, 1) and made exponential with the weight as its
/// rate; the least one wins, with probability `w/Σw`.
///
/// Source: D. Thaler, C. Ravishankar, "Using name-based mappings to increase hit rates", 1998; weights after
/// C. Schindelhauer, G. Schomaker, "Weighted distributed hash tables", 2005.
enum Rendezvous {
    /// The index of the session's place; `nil` when no place has a weight.
    static func choose(_ session: UInt64, among names: [UInt64], weights: [Double]) -> Int? {
        var best: (draw: Double, place: Int)?
        for place in names.indices where weights[place] > 0 && weights[place].isFinite {
            let bits = TextHash.mixed(session ^ names[place])
            let draw = -logarithm((Double(bits &>> 11) + 0.5) * 0x1p-53) / weights[place]
            if let held = best, held.draw <= draw { continue }
            best = (draw, place)
        }
        return best?.place
    }

    /// The index of the session's place among equals.
    static func choose(_ session: UInt64, among names: [UInt64]) -> Int? {
        var best: (bits: UInt64, place: Int)?
        for place in names.indices {
            let bits = TextHash.mixed(session ^ names[place])
            if let held = best, held.bits >= bits { continue }
            best = (bits, place)
        }
        return best?.place
    }
}

/// Numbers for texts, the same on every machine and in every process.
package enum TextHash {
    /// Where a text begins.
    package static let start: UInt64 = 0xCBF2_9CE4_8422_2325

    /// FNV-1a of a text.
    package static func of(_ text: String) -> UInt64 {
        var text = text
        return text.withUTF8 { $0.reduce(self.start, self.adding) }
    }

    /// FNV-1a's next step.
    package static func adding(_ hash: UInt64, _ byte: UInt8) -> UInt64 {
        (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3
    }

    /// SplitMix64's finish: every bit of the input moves every bit of the output.
    package static func mixed(_ bits: UInt64) -> UInt64 {
        var hash = bits
        hash = (hash ^ (hash &>> 30)) &* 0xBF58_476D_1CE4_E5B9
        hash = (hash ^ (hash &>> 27)) &* 0x94D0_49BB_1331_11EB
        return hash ^ (hash &>> 31)
    }
}

/// Dice for a gateway: seeded by the caller; a pick throws several, and the system's cost a system call.
///
/// SplitMix64, after G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", 2014.
package struct QuickDice: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) { self.state = seed }

    package mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        return TextHash.mixed(self.state)
    }
}
