/// Rendezvous hashing: every gateway finds the same place for a session without asking anybody, and when the places or
/// their weights change, only the sessions move that have to.
///
/// A place's draw is a number that session and place fix, uniform in (0, 1) and made exponential with the weight as its
/// rate; the least one wins, with probability `w/Σw`.
///
/// Source: D. Thaler, C. Ravishankar, "Using name-based mappings to increase hit rates", 1998; weights after
/// C. Schindelhauer, G. Schomaker, "Weighted distributed hash tables", 2005.
enum Rendezvous {
    /// The place of a session; `nil` when no place has a weight.
    static func choose<Place: Comparable>(
        _ session: UInt64,
        among places: some Sequence<(place: Place, name: String, weight: Double)>
    ) -> Place? {
        var best: (draw: Double, place: Place)?
        for (place, name, weight) in places where weight > 0 && weight.isFinite {
            let draw = -logarithm(self.uniform(session, name)) / weight
            if let held = best, (held.draw, held.place) <= (draw, place) { continue }
            best = (draw, place)
        }
        return best?.place
    }

    /// A number in (0, 1) by FNV-1a over the name, seeded with the session, and SplitMix64's finish: the same on every
    /// machine.
    private static func uniform(_ session: UInt64, _ name: String) -> Double {
        var hash = session ^ 0xCBF2_9CE4_8422_2325
        for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        hash = (hash ^ (hash &>> 30)) &* 0xBF58_476D_1CE4_E5B9
        hash = (hash ^ (hash &>> 27)) &* 0x94D0_49BB_1331_11EB
        hash ^= hash &>> 31
        return (Double(hash &>> 11) + 0.5) * 0x1p-53
    }
}
