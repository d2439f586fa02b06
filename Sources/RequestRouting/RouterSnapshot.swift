package import FleetModel

/// What a router knows at one moment, for operators: enough to make the same choices elsewhere.
///
/// Names are texts and times are ages in seconds, so that it reads without this program. The plan goes beside it.
package struct RouterSnapshot: Codable, Sendable {
    package struct Peer: Codable, Sendable {
        package var region: String
        package var address: String
        package var ejected_seconds: Double
    }

    package struct Endpoint: Codable, Sendable {
        package var endpoint: String
        package var running: Int?
        package var waiting: Int?
        package var kv_use: Double?
        package var age_seconds: Double
        /// Requests of this gateway that the reading cannot know of.
        package var sent: Int
        package var unbegun_tokens: Int
        package var ejected_seconds: Double
        package var error_load: Int
    }

    package struct Cluster: Codable, Sendable {
        package var pool: String
        package var cluster: String
        /// Requests of this gateway that the plan cannot know of.
        package var sent: Int
        /// Absent for a cluster of another region.
        package var endpoints: [Endpoint]?
    }

    package struct Text: Codable, Sendable {
        package var key: UInt64
        package var cluster: UInt64
        package var target: UInt64
        package var tokens: Int32
        package var age_seconds: Double
    }

    package var region: String
    package var policy: String
    /// Since a hub confirmed the plan.
    package var plan_age_seconds: Double?
    package var round_trips: [String: Double]
    package var peers: [Peer]
    package var clusters: [Cluster]
    /// Where sessions, conversations and adapters were sent last, as hashes.
    package var texts: [Text]
}

extension Router {
    /// The router's state at `now`.
    package func snapshot(now: Seconds) -> RouterSnapshot {
        RouterSnapshot(
            region: self.region.text,
            policy: self.policy.rawValue,
            plan_age_seconds: self.plan == nil ? nil : now - self.confirmedAt,
            round_trips: Dictionary(uniqueKeysWithValues: self.roundTrips.map { ($0.key.text, $0.value) }),
            peers: self.peersOf.sorted { $0.key < $1.key }.flatMap { region, indices in
                indices.map {
                    RouterSnapshot.Peer(
                        region: region.text,
                        address: self.peers[$0].address.description,
                        ejected_seconds: max(0, self.peers[$0].health.ejectedUntil - now)
                    )
                }
            },
            clusters: self.pools.flatMap { pool in
                pool.places.map { place in
                    RouterSnapshot.Cluster(
                        pool: pool.pool.description,
                        cluster: place.name.text,
                        sent: place.sentSince.count,
                        endpoints: place.local?.endpoints.map { $0.snapshot(now: now) }
                    )
                }
            },
            texts: self.affinity.all(now: now).map {
                RouterSnapshot.Text(
                    key: $0.key,
                    cluster: $0.cluster,
                    target: $0.target,
                    tokens: $0.tokens,
                    age_seconds: now - $0.at
                )
            }
        )
    }

    /// A router that knows what a snapshot tells, at the time 0.
    ///
    /// - Throws: ``InvalidName`` for a name that is none.
    package init(_ snapshot: RouterSnapshot, plan: Plan?) throws(InvalidName) {
        var peers: [RegionName: [EndpointAddress]] = [:]
        for peer in snapshot.peers {
            peers[try RegionName(peer.region), default: []].append(try EndpointAddress(peer.address))
        }
        self.init(
            region: try RegionName(snapshot.region),
            peers: peers,
            policy: RoutingPolicy(rawValue: snapshot.policy) ?? .ours
        )
        for (region, trip) in snapshot.round_trips { self.roundTrips[try RegionName(region)] = trip }
        // Pools keep their order: what is remembered of texts is told apart by it.
        for cluster in snapshot.clusters { _ = self.route(try PoolName(cluster.pool)) }
        if let plan { self.adopt(plan, now: -(snapshot.plan_age_seconds ?? 0)) }
        for peer in snapshot.peers where peer.ejected_seconds > 0 {
            let address = try EndpointAddress(peer.address)
            for index in self.peers.indices where self.peers[index].address == address {
                self.peers[index].health.ejectedUntil = peer.ejected_seconds
            }
        }
        for cluster in snapshot.clusters { try self.restore(cluster) }
        for text in snapshot.texts {
            self.affinity.remember(
                Affinity.Place(
                    key: text.key,
                    cluster: text.cluster,
                    target: text.target,
                    tokens: text.tokens,
                    at: -text.age_seconds
                )
            )
        }
    }

    private mutating func restore(_ cluster: RouterSnapshot.Cluster) throws(InvalidName) {
        let (pool, name) = (try PoolName(cluster.pool), try ClusterName(cluster.cluster))
        if let endpoints = cluster.endpoints {
            var samples: [EndpointSample] = []
            for endpoint in endpoints {
                let load = endpoint.running.map {
                    EndpointLoad(running: $0, waiting: endpoint.waiting ?? 0, kvUse: endpoint.kv_use)
                }
                samples.append(
                    EndpointSample(
                        endpoint: try EndpointAddress(endpoint.endpoint),
                        load: load,
                        takenAt: -endpoint.age_seconds
                    )
                )
            }
            self.observe(SampleBatch(cluster: name, region: self.region, pool: pool, samples: samples), now: 0)
        }
        let route = self.route(pool)
        guard let place = self.pools[route].index(of: name) else { return }
        self.pools[route].places[place].sentSince = Array(repeating: 0, count: min(4_096, max(0, cluster.sent)))
        self.pools[route].places[place].local?.restore(cluster.endpoints ?? [])
    }
}

extension LocalCluster {
    mutating func restore(_ known: [RouterSnapshot.Endpoint]) {
        for (index, endpoint) in known.enumerated() where index < self.endpoints.count {
            self.change(index) {
                $0.sentSince = Array(repeating: 0, count: min(4_096, max(0, endpoint.sent)))
                $0.unbegunTokens = endpoint.unbegun_tokens
                if endpoint.ejected_seconds > 0 { $0.health.ejectedUntil = endpoint.ejected_seconds }
            }
        }
    }
}

extension LocalCluster.Endpoint {
    fileprivate func snapshot(now: Seconds) -> RouterSnapshot.Endpoint {
        RouterSnapshot.Endpoint(
            endpoint: self.address.description,
            running: self.load?.running,
            waiting: self.load?.waiting,
            kv_use: self.load?.kvUse,
            age_seconds: now - self.takenAt,
            sent: self.sentSince.count,
            unbegun_tokens: self.unbegunTokens,
            ejected_seconds: max(0, self.health.ejectedUntil - now),
            error_load: self.health.errorLoad(now: now)
        )
    }
}
