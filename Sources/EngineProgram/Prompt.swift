/// What the engine needs to know of a prompt: how long it is and which beginnings it shares.
struct Prompt: Hashable, Sendable {
    /// A token is taken to be about four characters of text.
    static let bytesPerToken = 4

    let tokens: Int
    /// A hash of the prompt up to each full prefix unit.
    let prefix: [UInt64]

    /// A prompt of text: its tokens are estimated from its length in UTF-8.
    init(text: String, unitTokens: Int) {
        var text = text
        (self.tokens, self.prefix) = text.withUTF8 { bytes in
            let tokens = max(1, (bytes.count + Self.bytesPerToken - 1) / Self.bytesPerToken)
            var hash = ChainedHash(unit: unitTokens * Self.bytesPerToken)
            for byte in bytes { hash.add(UInt64(byte)) }
            return (tokens, hash.units)
        }
    }

    /// A prompt that the client has made into tokens itself.
    init(tokens: [Int], unitTokens: Int) {
        var hash = ChainedHash(unit: unitTokens)
        for token in tokens { hash.add(UInt64(bitPattern: Int64(token))) }
        self.tokens = max(1, tokens.count)
        self.prefix = hash.units
    }
}

/// FNV-1a over a sequence, noted after every `unit` elements.
private struct ChainedHash {
    let unit: Int
    private(set) var units: [UInt64] = []
    private var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    private var left: Int

    init(unit: Int) {
        self.unit = unit
        self.left = unit
    }

    mutating func add(_ element: UInt64) {
        self.hash = (self.hash ^ element) &* 0x0000_0100_0000_01B3
        self.left -= 1
        if self.left == 0 {
            self.units.append(self.hash)
            self.left = self.unit
        }
    }
}
