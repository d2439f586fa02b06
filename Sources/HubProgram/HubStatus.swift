import Exposition
import FleetModel
import FleetPlanning
import GossipCore
import GossipTransport
import Leadership
import Observability
import PlanStream
import StateStore
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
        /// Why it is down, when for want of readings.
        var trouble: String?
        /// Who speaks for the cluster, and everyone who could.
        var agent: String
        var agents: [Agent]
        var endpoints_ready: Int
        var endpoints_known: Int
        var reading_age_seconds: Double?
        var running: Int?
        var waiting: Int?
        var kv_mean: Double?
        var kv_max: Double?
        var error_share: Double?
        var capacity: Double?
        var free_seats: Int?
        var unloaded_ttft_seconds: Double?
        var queue_scale_seconds: Double?
        var request_rate: Double?
        var prompt_token_rate: Double?
        var generation_token_rate: Double?
        /// Of the names of the LoRA adapters, as 16 hexadecimal digits.
        var lora_set: String?
        var price_seconds: Double?
    }

    struct Agent: Codable, Sendable {
        var agent: String
        var frame: String
        var age_seconds: Double
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
        /// How long it has had a newer plan to take; absent when it holds the newest.
        var lag_seconds: Double?
        var refusal: String?
    }

    struct Leading: Codable, Sendable {
        /// The replica's name.
        var replica: String
        var epoch: UInt64
    }

    struct Member: Codable, Sendable {
        var name: String
        var is_reachable: Bool
        var is_leader: Bool
        var bytes: Int64?
        var used_bytes: Int64?
        var version: String?
        var fault: String?
    }

    struct Store: Codable, Sendable {
        var kind: String
        /// Whether hubs run the members themselves.
        var is_managed: Bool
        var members: [Member]
    }

    /// This replica's name.
    var replica: String
    var is_leading: Bool
    /// Whoever leads.
    var leader: Leading?
    var replicas: [ReplicaMember]
    var store: Store?
    var plan: PlanInForce?
    var pools: [Pool]
    var gateways: [Gateway]
    /// Regions that no gateway can reach.
    var unreachable: [String]
}

extension HubStatus.Cluster {
    init(_ view: DigestView, _ digest: PoolDigest, agents: [DigestView], planned: PlanCluster?) {
        self.init(
            cluster: view.frame.id.cluster.text,
            region: view.frame.region.text,
            state: (planned?.state ?? digest.state).rawValue,
            frame: view.frame.id.description,
            age_seconds: view.age,
            trouble: digest.trouble?.rawValue,
            agent: view.frame.agent.text,
            agents: agents.map { agent in
                HubStatus.Agent(
                    agent: agent.frame.agent.text,
                    frame: agent.frame.id.description,
                    age_seconds: agent.age
                )
            },
            endpoints_ready: digest.endpointsReady,
            endpoints_known: digest.endpointsKnown,
            reading_age_seconds: digest.readingAge.map { $0 + view.age },
            running: digest.running,
            waiting: digest.waiting,
            kv_mean: digest.kvMean,
            kv_max: digest.kvMax,
            error_share: digest.errorShare,
            capacity: digest.capacity,
            free_seats: digest.freeSeats,
            unloaded_ttft_seconds: digest.unloadedTTFT,
            queue_scale_seconds: digest.queueScale,
            request_rate: digest.requestRate,
            prompt_token_rate: digest.promptTokenRate,
            generation_token_rate: digest.generationTokenRate,
            lora_set: digest.loraSet == 0 ? nil : digest.loraSet.hexadecimal,
            price_seconds: planned?.price
        )
    }
}

extension UInt64 {
    /// All 16 digits.
    fileprivate var hexadecimal: String {
        let digits = String(self, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

extension Hub {
    func status() -> HubStatus {
        let now = self.clock.now
        return self.withState { state in
            let views = state.mind.digests.views(now: now)
            let names = Set(views.flatMap { $0.frame.digests.map(\.pool) }).sorted()
            return HubStatus(
                replica: self.name,
                is_leading: state.standing.epoch != nil && now < state.standing.leaseUntil,
                leader: state.standing.leader.map {
                    HubStatus.Leading(replica: $0.name, epoch: state.epochFloor + $0.epoch)
                },
                replicas: self.members.current ?? [],
                store: state.storeHealth.map { health in
                    HubStatus.Store(
                        kind: health.kind,
                        is_managed: self.storeQuota != nil,
                        members: health.members.map { member in
                            HubStatus.Member(
                                name: member.name,
                                is_reachable: member.isReachable,
                                is_leader: member.isLeader,
                                bytes: member.size,
                                used_bytes: member.used,
                                version: member.version,
                                fault: member.fault
                            )
                        }
                    )
                },
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
                                HubStatus.Cluster(
                                    view,
                                    digest,
                                    agents: state.mind.digests.agents(of: view.frame.id.cluster, now: now),
                                    planned: plan?.clusters.first { $0.name == view.frame.id.cluster }
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
                                shares: Dictionary(
                                    uniqueKeysWithValues: row.weights.map { ($0.cluster.text, $0.weight) }
                                )
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
                        lag_seconds: state.announced.lag(behind: standing.acknowledged, now: now),
                        refusal: standing.refusal
                    )
                },
                unreachable: state.mind.demand.unreachable.sorted().map(\.text)
            )
        }
    }

    func readiness() -> [ReadinessCheck] {
        let isLoaded = self.board.isOpen
        return [ReadinessCheck("state", problem: isLoaded ? nil : "the state is still being read")]
    }

    func metrics() -> String {
        let now = self.clock.now
        let traffic = self.board.traffic
        let (counts, openStreams) = (self.mesh?.withMesh { $0.counts }, self.streams.openStreams)
        return self.withState { state in
            var page = ExpositionWriter()
            state.counts.write(to: &page, mesh: counts)
            self.streams.counts.write(to: &page, openStreams: openStreams)
            if let links = self.links { links.counts.write(to: &page, expiresIn: links.expiresIn) }
            traffic.write(to: &page)
            page.single(
                "isobar_hub_leading",
                .gauge,
                help: "1 while this replica leads.",
                state.standing.epoch != nil && now < state.standing.leaseUntil ? 1 : 0
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
                        for share in row.weights {
                            page.sample(
                                "isobar_hub_weight_ratio",
                                [
                                    "pool": pool.pool.description, "source": row.source.text,
                                    "band": row.band.rawValue, "cluster": share.cluster.text,
                                ],
                                share.weight
                            )
                        }
                    }
                }
            }
            page.family("isobar_hub_digest_age_seconds", .gauge, help: "Age of each cluster's newest digest.")
            let views = state.mind.digests.views(now: now)
            for view in views {
                page.sample("isobar_hub_digest_age_seconds", ["cluster": view.frame.id.cluster.text], view.age)
            }
            page.family("isobar_hub_agent_age_seconds", .gauge, help: "Age of each agent's newest digest.")
            for view in views {
                for agent in state.mind.digests.agents(of: view.frame.id.cluster, now: now) {
                    page.sample(
                        "isobar_hub_agent_age_seconds",
                        ["cluster": agent.frame.id.cluster.text, "agent": agent.frame.agent.text],
                        agent.age
                    )
                }
            }
            return page.text
        }
    }
}
