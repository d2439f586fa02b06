import TestKit
import Testing

@Suite("Seeded dice")
struct SeededGeneratorTests {
    @Test("the same seed throws the same dice, another seed others")
    func repeats() {
        func throwsOf(_ seed: UInt64) -> [Int] {
            var dice = SeededGenerator(seed: seed)
            return (0..<32).map { _ in Int.random(in: 1...6, using: &dice) }
        }
        #expect(throwsOf(7) == throwsOf(7))
        #expect(throwsOf(7) != throwsOf(8))
    }
}
