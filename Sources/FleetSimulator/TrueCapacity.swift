package import EngineModel
import FleetModel
import TestKit

/// What an engine truly finishes: measured, not estimated.
package enum TrueCapacity {
    /// Requests per second that an engine finishes while requests never cease to wait.
    ///
    /// The engine gets `1/engines` of the trace, drawn request by request, as it would behind a balancer that knows
    /// nothing of prefixes: its cache then holds what such an engine's cache holds. A policy that keeps conversations
    /// together can do better than this. `counted` requests are timed, after a quarter as many.
    package static func measure(
        _ profile: EngineProfile,
        requests: [TrafficRequest],
        engines: Int,
        counted: Int = 1_200
    ) -> Double {
        let settling = counted / 4
        var engine = EngineMachine(profile: profile, reportsEveryToken: false)
        var dice = SeededGenerator(seed: 1)
        var (submitted, finished, index) = (0, 0, 0)
        var startedAt: Seconds = 0
        var now: Seconds = 0
        while finished < settling + counted {
            while engine.unfinished < 2 * profile.maxSequences {
                let (lap, place) = index.quotientAndRemainder(dividingBy: requests.count)
                index += 1
                guard Int.random(in: 0..<max(1, engines), using: &dice) == 0 else { continue }
                let request = requests[place]
                submitted += 1
                do throws(EngineRefusal) {
                    try engine.submit(
                        EngineRequest(
                            id: UInt64(submitted),
                            promptTokens: request.promptTokens,
                            outputTokens: request.outputTokens,
                            prefix: request.blocks.map { FleetTraffic.salted($0, UInt64(lap) + 1) }
                        ),
                        now: now
                    )
                } catch {
                    // It would never fit into this engine, so that it takes none of its time.
                    continue
                }
            }
            guard let next = engine.nextEventAt else { return 0 }
            now = next
            for event in engine.advance(to: now) where event.finish != nil {
                finished += 1
                if finished == settling { startedAt = now }
            }
        }
        return Double(counted) / (now - startedAt)
    }

    /// The capacity of one engine of each cluster of a world; equal profiles are measured once.
    package static func measure(_ world: FleetWorld, requests: [TrafficRequest], counted: Int = 1_200) -> [Double] {
        let engines = world.clusters.reduce(0) { $0 + $1.engines }
        var known: [EngineProfile: Double] = [:]
        return world.clusters.map { cluster in
            if let capacity = known[cluster.profile] { return capacity }
            let capacity = self.measure(cluster.profile, requests: requests, engines: engines, counted: counted)
            known[cluster.profile] = capacity
            return capacity
        }
    }
}
