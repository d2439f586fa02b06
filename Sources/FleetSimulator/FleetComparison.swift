package import FleetModel

/// Several policies on the same world and requests.
package struct FleetComparison: Sendable {
    package let world: FleetWorld
    package let requests: [TrafficRequest]
    package let policies: [SimulationPolicy]
    package let load: Double
    package let seed: UInt64
    package let events: [TimedEvent]
    package let arrivals: ArrivalProcess
    package let warmup: Seconds
    /// Seconds in which the measured requests are sent.
    package let duration: Seconds
    /// Requests per second that one engine of each cluster truly finishes.
    package let capacity: [Double]

    /// Measures what the engines can truly finish, unless `capacity` says it for one engine of each cluster.
    ///
    /// `requests` are what clients ask, in turn, and not empty; `load` is requests over what all engines can truly
    /// finish; `measured` says how many requests count, bursts apart.
    package init(
        world: FleetWorld,
        requests: [TrafficRequest],
        policies: [SimulationPolicy],
        load: Double,
        measured: Int,
        warmup: Seconds,
        events: [TimedEvent],
        arrivals: ArrivalProcess = .poisson,
        seed: UInt64,
        capacity: [Double]? = nil
    ) {
        self.world = world
        self.requests = requests
        self.policies = policies
        self.load = load
        self.seed = seed
        self.events = events
        self.arrivals = arrivals
        self.warmup = warmup
        self.capacity = capacity ?? TrueCapacity.measure(world, requests: requests)
        let total = zip(world.clusters, self.capacity).reduce(0) { $0 + Double($1.0.engines) * $1.1 }
        self.duration = Double(measured) / (load * total)
    }

    /// Requests per second that all engines truly finish.
    package var totalCapacity: Double {
        zip(self.world.clusters, self.capacity).reduce(0) { $0 + Double($1.0.engines) * $1.1 }
    }

    /// The run of one policy, not begun.
    package func run(_ policy: SimulationPolicy) -> FleetSimulation {
        FleetSimulation(
            world: self.world,
            requests: self.requests,
            capacity: self.capacity,
            settings: self.settings(policy)
        )
    }

    /// A mean time to first token that none of the policies can beat; see ``TimeBound``.
    package func bound(outcomes: [PolicyOutcome]) -> Seconds {
        let last = outcomes.map(\.finishedAt).max() ?? self.warmup + self.duration
        return TimeBound.mean(
            world: self.world,
            requests: self.requests,
            settings: self.settings(.clairvoyant),
            horizon: last - self.warmup
        )
    }

    private func settings(_ policy: SimulationPolicy) -> SimulationSettings {
        SimulationSettings(
            policy: policy,
            rate: self.load * self.totalCapacity,
            warmup: self.warmup,
            duration: self.duration,
            events: self.events,
            arrivals: self.arrivals,
            seed: self.seed
        )
    }
}
