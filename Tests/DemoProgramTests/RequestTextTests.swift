import Testing

@testable import DemoProgram

@Suite struct RequestTextTests {
    @Test func lengthsDrawnWithoutATraceHaveTheMeansOfTheConversationTrace() {
        var dice = Dice(seed: 11)
        let count = 20_000
        let prompt = (0..<count).map { _ in SyntheticLengths.promptTokens(using: &dice) }
        let output = (0..<count).map { _ in SyntheticLengths.outputTokens(using: &dice) }
        #expect(abs(Double(prompt.reduce(0, +)) / Double(count) - 1_155) < 60)
        #expect(abs(Double(output.reduce(0, +)) / Double(count) - 211) < 15)
        #expect(prompt.allSatisfy { (2...14_050).contains($0) } && output.allSatisfy { (7...1_000).contains($0) })
    }

    @Test func promptsHaveFourCharactersATokenAndShareTheTextOfSharedBlocks() {
        let one = PromptText.text(tokens: 700, blocks: [5, 6], seed: 1)
        let other = PromptText.text(tokens: 800, blocks: [5, 9], seed: 2)
        #expect(one.utf8.count == 2_800)
        #expect(one.prefix(2_048) == other.prefix(2_048))
        #expect(one.dropFirst(2_048).prefix(40) != other.dropFirst(2_048).prefix(40))
        #expect(PromptText.text(tokens: 30, blocks: [], seed: 1) != PromptText.text(tokens: 30, blocks: [], seed: 2))
    }
}
