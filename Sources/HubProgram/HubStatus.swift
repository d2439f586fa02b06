import Exposition
import FleetModel
import FleetPlanning
import GossipCore
import Observability
import WireProtocol
import WireTransport

/// What `GET /v1/status` of the hub says; times in seconds, rates per second.
struct HubStatus: Codable, Sendable {
    struct PlanInForce: Codable, Sendable {
        var epoch: UInt64
        var generation: UInt64
        var age_seconds: Double
    }

    struct Cluster: Codable, Sendable {
        var cluster: String
        var region: String
        var state: String
        /// The id by which the digest is found in every log.
        var frame: String
        var age_seconds: Double
        var endpoints_ready: Int
        var endpoints_known: Int
        var running: Int
        var waiting: Int
        var kv_mean: Double?
        var kv_max: Double?
        var capacity: Double?
        var unloaded_ttft_seconds: Double?
        var price_seconds: Double?
    }

    struct Demand: Codable, Sendable {
        var region: String
        var band: String
        var rate: Double
    }

    struct Weights: Codable, Sendable {
        var source: String
        var band: String
        var shares: [String: Double]
    }

    struct Pool: Codable, Sendable {
        var pool: String
        var clusters: [Cluster]
        var demand: [Demand]
        var weights: [Weights]
        var cost_seconds: Double?
        var gap_seconds: Double?
    }

    struct Gateway: Codable, Sendable {
        var gateway: String
        var region: String
        var acknowledged: String?
        var refusal: String?
    }

    var plan: PlanInForce?
    var pools: [Pool]
    var gateways: [Gateway]
    /// Regions that no gateway can reach.
    var unreachable: [String]
}

extension Hub {
    func status() -> HubStatus {
        let now = self.clock.now
        return self.withState { state in
            let views = state.mind.digests.views(now: now)
            let names = Set(views.flatMap { $0.frame.digests.map(\.pool) }).sorted()
            return HubStatus(
                plan: state.plan.map { plan in
                    HubStatus.PlanInForce(
                        epoch: plan.version.epoch,
                        generation: plan.version.generation,
                        age_seconds: now - state.plannedAt
                    )
                },
                pools: names.map { name in
                    let plan = state.plan?[name]
                    return HubStatus.Pool(
                        pool: name.description,
                        clusters: views.flatMap { view in
                            view.frame.digests.filter { $0.pool == name }.map { digest in
                                let planned = plan?.clusters.first { $0.name == view.frame.id.cluster }
                                return HubStatus.Cluster(
                                    cluster: view.frame.id.cluster.text,
                                    region: view.frame.region.text,
                                    state: (planned?.state ?? digest.state).rawValue,
                                    frame: view.frame.id.description,
                                    age_seconds: view.age,
                                    endpoints_ready: digest.endpointsReady,
                                    endpoints_known: digest.endpointsKnown,
                                    running: digest.running,
                                    waiting: digest.waiting,
                                    kv_mean: digest.kvMean,
                                    kv_max: digest.kvMax,
                                    capacity: digest.capacity,
                                    unloaded_ttft_seconds: digest.unloadedTTFT,
                                    price_seconds: planned?.price
                                )
                            }
                        },
                        demand: state.mind.demand.demand(of: name).sorted { $0.key < $1.key }.flatMap { region, bands in
                            bands.sorted { $0.key < $1.key }.map {
                                HubStatus.Demand(region: region.text, band: $0.key.rawValue, rate: $0.value)
                            }
                        },
                        weights: (plan?.rows ?? []).map { row in
                            HubStatus.Weights(
                                source: row.source.text,
                                band: row.band.rawValue,
                                shares: Dictionary(uniqueKeysWithValues: row.weights.map { ($0.key.text, $0.value) })
                            )
                        },
                        cost_seconds: plan?.cost,
                        gap_seconds: plan?.gap
                    )
                },
                gateways: state.gateways.sorted { $0.key < $1.key }.map { name, standing in
                    HubStatus.Gateway(
                        gateway: name.text,
                        region: standing.region.text,
                        acknowledged: standing.acknowledged?.description,
                        refusal: standing.refusal
                    )
                },
                unreachable: state.mind.demand.unreachable.sorted().map(\.text)
            )
        }
    }

    func readiness() -> [ReadinessCheck] {
        let isLoaded = self.announcements.current != nil
        return [ReadinessCheck("state", problem: isLoaded ? nil : "the state is still being read")]
    }

    func metrics() -> String {
        let now = self.clock.now
        let (readers, skipped) = (self.announcements.readerCount, self.announcements.skipped)
        return self.withState { state in
            var page = ExpositionWriter()
            state.counts.write(to: &page)
            if let links = self.links { links.counts.write(to: &page, expiresIn: links.expiresIn) }
            page.single("isobar_hub_subscribers", .gauge, help: "Gateways' streams.", Double(readers))
            page.single(
                "isobar_hub_announcements_skipped_total",
                .counter,
                help: "Announcements that a gateway was too slow to see.",
                Double(skipped)
            )
            if let plan = state.plan {
                page.single("isobar_hub_plan_epoch", .gauge, help: "The epoch.", Double(plan.version.epoch))
                page.single(
                    "isobar_hub_plan_generation",
                    .gauge,
                    help: "The generation.",
                    Double(plan.version.generation)
                )
                page.single("isobar_hub_plan_age_seconds", .gauge, help: "Since it was made.", now - state.plannedAt)
                page.family("isobar_hub_weight_ratio", .gauge, help: "Shares by pool, source region, band and cluster.")
                for pool in plan.pools {
                    for row in pool.rows {
                        for (cluster, weight) in row.weights.sorted(by: { $0.key < $1.key }) {
                            page.sample(
                                "isobar_hub_weight_ratio",
                                [
                                    "pool": pool.pool.description, "source": row.source.text,
                                    "band": row.band.rawValue, "cluster": cluster.text,
                                ],
                                weight
                            )
                        }
                    }
                }
            }
            page.family("isobar_hub_digest_age_seconds", .gauge, help: "Age of each cluster's newest digest.")
            for view in state.mind.digests.views(now: now) {
                page.sample("isobar_hub_digest_age_seconds", ["cluster": view.frame.id.cluster.text], view.age)
            }
            return page.text
        }
    }
}
