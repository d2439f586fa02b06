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
            let words = (0..<3).map { _ in UInt64.random(in: 1...UInt64.max, using: &dice) }
            let ids = words.map { word in
                let digits = String(word, radix: 16)
                return String(repeating: "0", count: 16 - digits.count) + digits
            }
            (self.text, self.isGiven) = ("00-\(ids[0])\(ids[1])-\(ids[2])-00", false)
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
