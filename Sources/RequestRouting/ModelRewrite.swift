/// Which model a request gets, after InferenceModelRewrite: rules that name the model before rules for all, and among
/// those the first; a rule's targets by weight.
///
/// Source: kubernetes-sigs/gateway-api-inference-extension, `InferenceModelRewrite` (`llm-d.ai/v1alpha2`).
package struct ModelRewrite: Hashable, Sendable {
    package struct Target: Hashable, Sendable {
        package var model: String
        /// Its share is this over the sum of the rule's weights.
        package var weight: Int

        package init(model: String, weight: Int) {
            self.model = model
            self.weight = weight
        }
    }

    package struct Rule: Hashable, Sendable {
        /// The model that it is for; `nil` for every model.
        package var model: String?
        package var targets: [Target]

        package init(model: String?, targets: [Target]) {
            self.model = model
            self.targets = targets
        }
    }

    package var rules: [Rule]

    package init(rules: [Rule] = []) { self.rules = rules }

    /// The model that a request for `model` is to be sent with.
    ///
    /// - Parameters:
    ///   - model: What the client wrote.
    ///   - key: What the requests of a conversation have in common: all of them get the same model. Without it each is
    ///     drawn anew.
    ///   - dice: For requests without a key.
    /// - Returns: `nil` to leave it as it is.
    package func target(of model: String, key: UInt64?, using dice: inout some RandomNumberGenerator) -> String? {
        guard let rule = self.rules.first(where: { $0.model == model }) ?? self.rules.first(where: { $0.model == nil })
        else { return nil }
        let total = rule.targets.reduce(0) { $0 + max(0, $1.weight) }
        guard total > 0 else { return nil }
        let bits = key.map { TextHash.mixed($0 ^ TextHash.of(model)) } ?? dice.next()
        var rest = Int(bits % UInt64(total))
        for target in rule.targets {
            if rest < max(0, target.weight) { return target.model == model ? nil : target.model }
            rest -= max(0, target.weight)
        }
        return nil
    }
}
