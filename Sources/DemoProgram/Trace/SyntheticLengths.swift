/// Request lengths like those of a conversation service, drawn without a trace file.
///
/// The quantiles were measured on the 19,366 requests of Azure's 2023 conversation trace (mean 1,155 prompt and
/// 211 output tokens); between two of them the distribution is taken as uniform.
enum SyntheticLengths {
    private static let probabilities = [
        0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1,
    ]
    private static let prompt = [
        2, 29, 181, 207, 387, 403, 703, 1020, 1071, 1130, 1315, 2735, 4083, 4142, 6212, 14050,
    ]
    private static let output = [7, 16, 41, 54, 77, 91, 103, 129, 177, 384, 400, 424, 451, 601, 954, 1000]

    static func promptTokens(using dice: inout some RandomNumberGenerator) -> Int {
        self.draw(self.prompt, using: &dice)
    }

    static func outputTokens(using dice: inout some RandomNumberGenerator) -> Int {
        self.draw(self.output, using: &dice)
    }

    private static func draw(_ quantiles: [Int], using dice: inout some RandomNumberGenerator) -> Int {
        let p = Double.random(in: 0..<1, using: &dice)
        let upper = self.probabilities.firstIndex { $0 > p } ?? self.probabilities.count - 1
        let (low, high) = (self.probabilities[upper - 1], self.probabilities[upper])
        let part = (p - low) / (high - low)
        return Int((Double(quantiles[upper - 1]) + part * Double(quantiles[upper] - quantiles[upper - 1])).rounded())
    }
}
