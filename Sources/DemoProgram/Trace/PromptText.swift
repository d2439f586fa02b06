/// Writes a prompt of a given length: four characters a token, equal text for equal blocks.
enum PromptText {
    /// Tokens in one block of a Mooncake trace.
    static let blockTokens = 512

    private static let words = [
        "the", "and", "one", "who", "sea", "air", "low", "law", "map", "day", "far", "sun", "wet", "dry", "hot", "ice",
    ].map { Array("\($0) ".utf8) }

    /// The text for `tokens` tokens.
    ///
    /// Where the trace names no block, the text is peculiar to `seed`.
    static func text(tokens: Int, blocks: [UInt64], seed: UInt64) -> String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(tokens * 4)
        var written = 0
        var block = 0
        while written < tokens {
            // The part of a prompt that its last block does not fill is its own, as is all of it without blocks.
            var dice = Dice(seed: block < blocks.count ? blocks[block] : seed &+ UInt64(block))
            for _ in 0..<min(self.blockTokens, tokens - written) {
                bytes += self.words[Int(dice.next() & 15)]
                written += 1
            }
            block += 1
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
