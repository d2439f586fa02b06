/// The trace that a request belongs to, as its `traceparent` header says.
///
/// Source: W3C Trace Context, version 00. A gateway records no spans, so it passes a valid header on as it is; a
/// request that has none, or one that nobody could read, begins a trace here that is not sampled, so that the access
/// logs of all gateways on its way have one id for it.
struct TraceContext: Hashable, Sendable {
    static let header = "traceparent"

    let text: String
    /// Whether the request came with it.
    let isGiven: Bool

    init(given text: String?, using dice: inout some RandomNumberGenerator) {
        if let text, Self.isValid(text) {
            (self.text, self.isGiven) = (text, true)
        } else {
            // Ids of zeros only are no ids.
            let (high, low, parent) = (dice.next() | 1, dice.next(), dice.next() | 1)
            (self.text, self.isGiven) = (Self.text(trace: (high, low), parent: parent), false)
        }
    }

    /// Of version 00, not sampled; in one piece of memory, as it is made for every request without one.
    private static func text(trace: (high: UInt64, low: UInt64), parent: UInt64) -> String {
        String(unsafeUninitializedCapacity: 55) { bytes in
            var count = 0
            func put(_ byte: UInt8) {
                bytes.initializeElement(at: count, to: byte)
                count += 1
            }
            func put(_ word: UInt64) {
                for shift in stride(from: 60, through: 0, by: -4) {
                    let digit = UInt8(truncatingIfNeeded: word >> UInt64(shift) & 15)
                    put(digit < 10 ? 0x30 + digit : 0x57 + digit)
                }
            }
            func putZero() { for _ in 0..<2 { put(UInt8(ascii: "0")) } }
            putZero()
            put(UInt8(ascii: "-"))
            put(trace.high)
            put(trace.low)
            put(UInt8(ascii: "-"))
            put(parent)
            put(UInt8(ascii: "-"))
            putZero()
            return count
        }
    }

    /// Whether a header can be understood; later versions may say more at the end.
    static func isValid(_ text: String) -> Bool {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard text.utf8.count <= 256, parts.count >= 4, parts[0] != "ff", parts[0] != "00" || parts.count == 4 else {
            return false
        }
        for (part, length) in zip(parts, [2, 32, 16, 2]) {
            let isHex = part.utf8.allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                    || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
            }
            guard part.utf8.count == length, isHex else { return false }
        }
        return parts[1].contains { $0 != "0" } && parts[2].contains { $0 != "0" }
    }
}
