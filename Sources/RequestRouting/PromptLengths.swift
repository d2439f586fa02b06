import FleetModel

/// How long a pool's prompts are, as this gateway sees them.
struct PromptLengths: Sendable {
    /// What one prompt counts for in the mean, once there are enough of them.
    private static let share = 0.001

    private(set) var mean = 0.0
    private var count = 0.0

    mutating func add(_ tokens: Int) {
        guard tokens > 0 else { return }
        self.count += 1
        self.mean += (Double(tokens) - self.mean) * max(Self.share, 1 / self.count)
    }

    /// A prompt's length in mean prompts; 1 when nobody knows it.
    func relative(_ tokens: Int) -> Double { tokens > 0 && self.mean > 0 ? Double(tokens) / self.mean : 1 }
}

extension PoolRoutes {
    /// Turns the weights into those for a prompt that is longer or shorter than the mean one.
    ///
    /// The solver's weights are `softmax(−(way + price)/ε)` with the time of a mean prompt in the price. A prompt of `x`
    /// means takes `T·(x − 1)` longer in a cluster whose unloaded time to first token is T, so that its own softmax is
    /// `w·exp(−T·(x − 1)/ε)`: long prompts lean to hardware that is quick at prompts, short ones to hardware that is
    /// only quick at decoding, and the fleet finishes more of both. A mean prompt keeps its weights. A cluster without a
    /// T is taken to be as quick as the mean of the others.
    ///
    /// - Parameters:
    ///   - tokens: The prompt's length.
    ///   - strength: How much of that, from 0 to 1.
    ///   - smoothing: ε, in seconds.
    mutating func lean(_ tokens: Int, strength: Double, smoothing: Seconds) {
        let excess = strength * (self.prompts.relative(tokens) - 1) / smoothing
        var (total, sum) = (0.0, 0.0)
        for index in self.weights.indices where self.places[index].isPlanned {
            total += self.weights[index]
            sum += self.weights[index] * self.places[index].unloadedTTFT
        }
        guard total > 0 else { return }
        // A factor of e³ at most: times are estimates, and a few very long prompts must not all meet in one place.
        let most = 3.0
        for index in self.weights.indices where self.places[index].isPlanned && self.weights[index] > 0 {
            let exponent = (self.places[index].unloadedTTFT - sum / total) * excess
            self.weights[index] *= power(ofE: -min(most, max(-most, exponent)))
        }
    }
}
