import Exposition
import FleetModel
import Foundation
import Leadership
import Observability
import RequestRouting
import ReverseProxy
import WireTransport

/// What `GET /v1/status` of a gateway says; times in seconds.
struct GatewayStatus: Codable, Sendable {
    struct PlanInUse: Codable, Sendable {
        var epoch: UInt64
        var generation: UInt64
        /// Since a hub last confirmed it; none has when it is missing.
        var age_seconds: Double?
    }

    struct Peer: Codable, Sendable {
        var region: String
        var reachable: Bool
        var round_trip_seconds: Double?
    }

    struct Demand: Codable, Sendable {
        var pool: String
        var band: String
        var rate: Double
    }

    struct Pool: Codable, Sendable {
        var pool: String
        var endpoints_usable: Int
        /// Requests in the queue.
        var waiting: Int
        /// How full it is for standard requests, 1 being full; absent when nothing can take one.
        var fullness: Double?
    }

    var gateway: String
    var region: String
    var policy: String
    var plan: PlanInUse?
    var in_flight: Int
    var peers: [Peer]
    var demand: [Demand]
    var pools: [Pool]
}

extension Gateway {
    func status() -> GatewayStatus {
        let now = self.clock.now
        let configuration = self.configuration
        return self.withState { state in
            let unreachable = Set(state.router.unreachable(now: now))
            return GatewayStatus(
                gateway: configuration.gateway.text,
                region: configuration.region.text,
                policy: configuration.policy.rawValue,
                plan: state.router.planInUse(now: now).map { version, unconfirmed in
                    GatewayStatus.PlanInUse(
                        epoch: version.epoch,
                        generation: version.generation,
                        age_seconds: unconfirmed
                    )
                },
                in_flight: state.router.inFlight,
                peers: configuration.peers.keys.sorted().map { region in
                    GatewayStatus.Peer(
                        region: region.text,
                        reachable: !unreachable.contains(region),
                        round_trip_seconds: state.router.measuredRoundTrips[region]
                    )
                },
                demand: state.meter.rates(now: now).map {
                    GatewayStatus.Demand(pool: $0.pool.description, band: $0.band.rawValue, rate: $0.rate)
                },
                pools: configuration.pools.map { pool in
                    GatewayStatus.Pool(
                        pool: pool.name.description,
                        endpoints_usable: state.router.usableEndpoints(of: pool.name, now: now),
                        waiting: Band.allCases.reduce(0) { $0 + state.admission.count(pool.name, $1) },
                        fullness: state.router.fullness(of: PickRequest(pool: pool.name, band: .standard), now: now)
                    )
                }
            )
        }
    }

    /// What must hold for clients to be sent here: some pool has a place for a request.
    ///
    /// Beside that a gateway that has just started waits a moment for its agents: another region could take its
    /// requests, but that one may have just started too, and would send them nowhere. One that has a plan from its
    /// disk belongs to a fleet that runs, and does not wait.
    func readiness() -> [ReadinessCheck] {
        let now = self.clock.now
        return self.withState { state in
            let canRoute = self.configuration.pools.contains { state.router.canRoute($0.name, now: now) }
            var checks = [
                ReadinessCheck(
                    "endpoints",
                    problem: canRoute
                        ? nil
                        : "no endpoint of this region is known, and no plan with a cluster of a region that answers; "
                            + "are an agent and the hub running?"
                )
            ]
            if !self.configuration.agents.isEmpty {
                let isWaiting = !state.hasSamples && now < state.waitsForAgentsUntil
                checks.append(ReadinessCheck("agents", problem: isWaiting ? "none has been heard yet" : nil))
            }
            return checks
        }
    }

    func metrics(_ proxy: ProxyCounters, front: ListenerCredentials? = nil) -> String {
        let now = self.clock.now
        return self.withState { state in
            var page = ExpositionWriter()
            state.counts.write(to: &page)
            front?.write(to: &page)
            if let links = self.links { links.counts.write(to: &page, expiresIn: links.expiresIn) }
            page.single("isobar_gateway_in_flight", .gauge, help: "Requests in flight.", Double(state.router.inFlight))
            if let (version, unconfirmed) = state.router.planInUse(now: now) {
                page.single("isobar_gateway_plan_epoch", .gauge, help: "The plan's epoch.", Double(version.epoch))
                page.single(
                    "isobar_gateway_plan_generation",
                    .gauge,
                    help: "The plan's generation.",
                    Double(version.generation)
                )
                if let unconfirmed {
                    page.single(
                        "isobar_gateway_plan_age_seconds",
                        .gauge,
                        help: "Since a hub last confirmed the plan.",
                        unconfirmed
                    )
                }
            }
            page.single(
                "isobar_gateway_ejections_total",
                .counter,
                help: "Times that an address was ejected.",
                Double(state.router.ejections)
            )
            page.family("isobar_gateway_endpoints_ejected", .gauge, help: "Endpoints of the region that are ejected.")
            for pool in self.configuration.pools {
                page.sample(
                    "isobar_gateway_endpoints_ejected",
                    ["pool": pool.name.description],
                    Double(state.router.ejectedEndpoints(of: pool.name, now: now))
                )
            }
            page.family("isobar_gateway_round_trip_seconds", .gauge, help: "To the gateways of another region.")
            for (region, seconds) in state.router.measuredRoundTrips.sorted(by: { $0.key < $1.key }) {
                page.sample("isobar_gateway_round_trip_seconds", ["region": region.text], seconds)
            }
            page.family("isobar_gateway_waiting", .gauge, help: "Requests in the queue.")
            for pool in self.configuration.pools {
                for band in Band.allCases {
                    page.sample(
                        "isobar_gateway_waiting",
                        ["pool": pool.name.description, "band": band.rawValue],
                        Double(state.admission.count(pool.name, band))
                    )
                }
            }
            page.family("isobar_gateway_fullness_ratio", .gauge, help: "Waiting work over what is full, by pool.")
            for pool in self.configuration.pools {
                let request = PickRequest(pool: pool.name, band: .standard)
                guard let fullness = state.router.fullness(of: request, now: now) else { continue }
                page.sample("isobar_gateway_fullness_ratio", ["pool": pool.name.description], fullness)
            }
            if let accessLog = self.accessLog {
                page.single(
                    "isobar_gateway_access_log_lines_total",
                    .counter,
                    help: "Lines of the access log written.",
                    Double(accessLog.written)
                )
                page.single(
                    "isobar_gateway_access_log_dropped_total",
                    .counter,
                    help: "Lines of the access log that the file could not take.",
                    Double(accessLog.dropped)
                )
            }
            proxy.write(to: &page)
            return page.text
        }
    }
}
