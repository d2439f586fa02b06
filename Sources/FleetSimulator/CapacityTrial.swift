package import EngineModel
import EngineSignals
package import FleetModel
import TestKit

/// How far the learned capacity of one engine is off: the agent's estimate against what the engine then truly finishes.
package enum CapacityTrial {
    /// How long the agent reads before it is asked, in seconds.
    package static let learning: Seconds = 60
    /// The agent's period, in seconds: 5 Hz.
    private static let period: Seconds = 0.2

    /// The estimate after ``learning`` seconds of Poisson arrivals, over the truth; `nil` when nothing was served.
    ///
    /// The agent is told nothing of the engine but its metrics. Lengths are drawn from the requests one by one, and
    /// prompts share nothing.
    ///
    /// `truth` is what the engine finishes when requests never cease to wait, per second, and `load` is arrivals over
    /// that.
    package static func ratio(
        _ profile: EngineProfile,
        requests: [TrafficRequest],
        truth: Double,
        load: Double,
        seed: UInt64
    ) -> Double? {
        var engine = SimulatedEngine(
            profile: profile,
            cluster: 0,
            address: EndpointAddress(host: "engine", port: 8000)
        )
        var tracker = EndpointTracker(endpoint: engine.address)
        var dice = SeededGenerator(seed: seed)
        var arrival: Seconds = 0
        var submitted: UInt64 = 0
        for beat in 1...Int(Self.learning / Self.period) {
            let now = Double(beat) * Self.period
            while arrival <= now {
                _ = engine.machine.advance(to: arrival)
                guard let request = requests.randomElement(using: &dice) else { return nil }
                submitted += 1
                // A request that would never fit is refused at once, and takes none of the engine's time.
                try? engine.machine.submit(
                    EngineRequest(
                        id: submitted,
                        promptTokens: request.promptTokens,
                        outputTokens: request.outputTokens
                    ),
                    now: arrival
                )
                arrival -= Math.log(Double.random(in: .leastNonzeroMagnitude...1, using: &dice)) / (truth * load)
            }
            _ = engine.machine.advance(to: now)
            _ = tracker.read(engine.reading, now: now)
        }
        return tracker.capacity.map { $0 / truth }
    }

    /// What an engine finishes while requests never cease to wait, per second, without a shared prompt.
    package static func truth(_ profile: EngineProfile, requests: [TrafficRequest], counted: Int) -> Double {
        let unshared = requests.map {
            TrafficRequest(promptTokens: $0.promptTokens, outputTokens: $0.outputTokens)
        }
        return TrueCapacity.measure(profile, requests: unshared, engines: 1, counted: counted)
    }
}
