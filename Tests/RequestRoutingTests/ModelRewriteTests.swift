import RequestRouting
import TestKit
import Testing

@Suite("Which model a request gets")
struct ModelRewriteTests {
    private func rule(_ model: String?, _ targets: (String, Int)...) -> ModelRewrite.Rule {
        ModelRewrite.Rule(model: model, targets: targets.map { ModelRewrite.Target(model: $0.0, weight: $0.1) })
    }

    @Test("a rule that names the model comes before one for all, and the first of two alike counts")
    func precedence() {
        let rewrite = ModelRewrite(rules: [
            self.rule(nil, ("base", 1)), self.rule("gpt", ("llama", 1)), self.rule("gpt", ("other", 1)),
        ])
        var dice = SeededGenerator(seed: 1)
        let targets = ["gpt", "any", "base"].map { rewrite.target(of: $0, key: nil, using: &dice) }
        #expect(targets == ["llama", "base", nil])
        let none = ModelRewrite().target(of: "gpt", key: nil, using: &dice)
        #expect(none == nil)
    }

    @Test("a canary gets its share, and a conversation stays with the model that it began with")
    func canary() {
        let rewrite = ModelRewrite(rules: [self.rule("llama", ("llama", 90), ("next", 10))])
        var dice = SeededGenerator(seed: 1)
        let drawn = (0..<5_000).count { _ in rewrite.target(of: "llama", key: nil, using: &dice) == "next" }
        #expect((436...564).contains(drawn), "three standard deviations of a tenth")
        let keyed = (0..<5_000).count { rewrite.target(of: "llama", key: UInt64($0), using: &dice) == "next" }
        #expect((436...564).contains(keyed))
        let first = rewrite.target(of: "llama", key: 77, using: &dice)
        let others = (0..<50).map { _ in rewrite.target(of: "llama", key: 77, using: &dice) }
        #expect(others.allSatisfy { $0 == first })
    }
}
