package import FleetModel

/// One pick, and what it was chosen from.
package struct PickExplanation: Codable, Sendable {
    package struct Cluster: Codable, Sendable {
        package var cluster: String
        package var region: String
        package var state: String
        /// Whether it may take the request.
        package var usable: Bool
        /// Its part of the draw.
        package var share: Double
        package var wait_seconds: Double
        package var round_trip_seconds: Double
        package var chosen: Bool
    }

    package struct Endpoint: Codable, Sendable {
        package var endpoint: String
        /// Work ahead of the request, in running requests.
        package var backlog: Int
        /// Why it may not take the request; absent when it may.
        package var problem: String?
        package var chosen: Bool
    }

    package var pool: String
    package var band: String
    package var cluster: String
    package var target: String
    package var remote: Bool
    package var reason: String
    package var warm: Bool
    /// How far down the choice had to go: `sound`, `doubtful` or `last`.
    package var need: String
    /// How full the pool is for the band; 1 is full, and requests wait.
    package var fullness: Double?
    package var plan: String?
    package var clusters: [Cluster]
    /// The endpoints of the chosen cluster, when it is of the gateway's own region.
    package var endpoints: [Endpoint]
}

extension Router {
    /// Picks for a request without taking note of it, and says what the choice was made from.
    ///
    /// - Throws: ``PickRefusal`` when nothing may take it.
    package func explain(
        _ request: PickRequest,
        now: Seconds,
        using dice: inout some RandomNumberGenerator
    ) throws(PickRefusal) -> PickExplanation {
        var trial = self
        let fullness = trial.fullness(of: request, now: now)
        let route = trial.route(request.pool)
        let before = trial.pools[route]
        let pick = try trial.pick(request, now: now, using: &dice)
        let after = trial.pools[route]
        let total = after.weights.reduce(0, +)
        let clusters = after.places.indices.map { index in
            PickExplanation.Cluster(
                cluster: after.places[index].name.text,
                region: after.places[index].region.text,
                state: after.places[index].state.rawValue,
                usable: after.isUsable[index],
                share: total > 0 && self.policy == .ours && !request.isHop ? after.weights[index] / total : 0,
                wait_seconds: before.wait(in: index, now: now, self.settings),
                round_trip_seconds: after.places[index].distance,
                chosen: after.places[index].name == pick.cluster
            )
        }
        let local = before.places.first { $0.name == pick.cluster }?.local
        return PickExplanation(
            pool: request.pool.description,
            band: request.band.rawValue,
            cluster: pick.cluster.text,
            target: pick.target.description,
            remote: pick.isRemote,
            reason: pick.reason.rawValue,
            warm: pick.isWarm,
            need: "\(pick.need)",
            fullness: fullness,
            plan: self.plan?.version.description,
            clusters: clusters,
            endpoints: local?.explain(chosen: pick.target, now: now, ageMax: self.settings.sampleAgeMax) ?? []
        )
    }
}

extension LocalCluster {
    fileprivate func explain(
        chosen: EndpointAddress,
        now: Seconds,
        ageMax: Seconds
    ) -> [PickExplanation.Endpoint] {
        self.endpoints.indices.map { index in
            let endpoint = self.endpoints[index]
            let problem =
                self.isOut(index, now: now, ageMax: ageMax)
                ? "does not answer its agent" : endpoint.health.isEjected(now: now) ? "ejected after failures" : nil
            return PickExplanation.Endpoint(
                endpoint: endpoint.address.description,
                backlog: endpoint.backlog(now: now, ageMax: ageMax),
                problem: problem,
                chosen: endpoint.address == chosen
            )
        }
    }
}
