import EngineSignals
import Exposition
import FleetModel
import GossipCore
import GossipTransport
import Observability
import WireProtocol
import WireTransport

/// What the agent counts.
struct AgentCounts: Sendable {
    var scrapes: UInt64 = 0
    var faults: [String: UInt64] = [:]
    var registrations: UInt64 = 0
    /// Processor time spent on reading pages, and on what follows from them: learning, digests, samples.
    var parseSeconds: Seconds = 0
    var digestSeconds: Seconds = 0
    /// Ages of the samples as gateways get them.
    var sampleAges = MetricHistogram(
        bounds: [0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.75, 1, 1.5, 2]
    )

    /// Writes the counters; `mesh` has those of the gossip, once that has begun.
    func write(to page: inout ExpositionWriter, mesh: AgentPusher.Counts?) {
        func counter(_ name: String, _ help: String, _ value: UInt64) {
            page.single("isobar_agent_\(name)_total", .counter, help: help, Double(value))
        }
        counter("scrapes", "Readings of endpoints.", self.scrapes)
        page.family("isobar_agent_scrape_faults_total", .counter, help: "Failed scrapes, by kind.")
        for (code, count) in self.faults.sorted(by: { $0.key < $1.key }) {
            page.sample("isobar_agent_scrape_faults_total", ["reason": code], Double(count))
        }
        let mesh = mesh ?? AgentPusher.Counts()
        counter("registrations", "Times that a hub gave an incarnation.", self.registrations)
        counter("frames", "Digest frames made.", UInt64(mesh.published))
        counter("frames_accepted", "Times that a hub said it holds a newer frame.", UInt64(mesh.acknowledged))
        counter("frames_unanswered", "Frames that no hub acknowledged in time.", UInt64(mesh.unanswered))
        counter("frames_relayed", "Frames given to relays.", UInt64(mesh.relayed))
        counter("relays_done", "Frames of other agents passed on.", UInt64(mesh.helped))
        page.family("isobar_agent_relays_refused_total", .counter, help: "Frames of others not passed on, by reason.")
        page.sample("isobar_agent_relays_refused_total", ["reason": "no_hub_or_budget"], Double(mesh.refusedHelp))
        page.sample("isobar_agent_relays_refused_total", ["reason": "not_its_own"], Double(mesh.refusedHops))
        page.family(
            "isobar_agent_processor_seconds_total",
            .counter,
            help: "Processor time of reading pages, and of learning, digests and samples."
        )
        page.sample("isobar_agent_processor_seconds_total", ["work": "parse"], self.parseSeconds)
        page.sample("isobar_agent_processor_seconds_total", ["work": "digest"], self.digestSeconds)
        page.family("isobar_agent_sample_age_seconds", .histogram, help: "Age of samples as gateways get them.")
        page.histogram("isobar_agent_sample_age_seconds", [], self.sampleAges)
    }
}

/// What `GET /v1/status` of the agent says; ages in seconds.
struct AgentStatus: Codable, Sendable {
    struct Endpoint: Codable, Sendable {
        var endpoint: String
        var running: Int?
        var waiting: Int?
        var kv_use: Double?
        var age_seconds: Double?
        var capacity: Double?
        /// Why the last scrape failed.
        var fault: String?
    }

    struct Pool: Codable, Sendable {
        var pool: String
        var state: String
        /// Why it is down, when for want of readings.
        var trouble: String?
        var endpoints_ready: Int
        var endpoints_known: Int
        var capacity: Double?
        var error_share: Double?
        var unloaded_ttft_seconds: Double?
        var queue_scale_seconds: Double?
        var endpoints: [Endpoint]
    }

    struct Hub: Codable, Sendable {
        var hub: String
        var is_reached: Bool
        var round_trip_seconds: Double?
    }

    var cluster: String
    var region: String
    var agent: String
    /// The newest frame that a hub is known to hold, and since when.
    var accepted_frame: String?
    var accepted_age_seconds: Double?
    /// Hubs that were ever met.
    var hubs: [Hub]
    /// Whether frames go through relays, since no hub answered the last one itself.
    var is_relayed: Bool
    /// Whether hubs have named agents that may pass frames on.
    var knows_relays: Bool
    var gateways: Int
    var pools: [Pool]
}

extension Agent {
    func status() -> AgentStatus {
        let now = self.clock.now
        let configuration = self.configuration
        let gateways = self.batches.readerCount
        let mesh = self.mesh
        let hubs = (mesh?.hubs ?? []).map { name, view in
            AgentStatus.Hub(hub: name, is_reached: view.isReached, round_trip_seconds: view.roundTrip.minimum)
        }
        return self.withState { state in
            AgentStatus(
                cluster: configuration.cluster.text,
                region: configuration.region.text,
                agent: configuration.agent.text,
                accepted_frame: mesh?.acknowledged?.description,
                accepted_age_seconds: state.acceptedAt.map { now - $0 },
                hubs: hubs,
                is_relayed: mesh?.isRelayed ?? false,
                knows_relays: mesh?.knowsRelays ?? false,
                gateways: gateways,
                pools: state.observers.map { observer in
                    let digest = observer.digest(now: now)
                    return AgentStatus.Pool(
                        pool: observer.pool.description,
                        state: digest.state.rawValue,
                        trouble: digest.trouble?.rawValue,
                        endpoints_ready: digest.endpointsReady,
                        endpoints_known: digest.endpointsKnown,
                        capacity: digest.capacity,
                        error_share: digest.errorShare,
                        unloaded_ttft_seconds: digest.unloadedTTFT,
                        queue_scale_seconds: digest.queueScale,
                        endpoints: observer.samples(now: now).map { sample in
                            AgentStatus.Endpoint(
                                endpoint: sample.endpoint.description,
                                running: sample.load?.running,
                                waiting: sample.load?.waiting,
                                kv_use: sample.load?.kvUse,
                                age_seconds: observer[sample.endpoint]?.age(now: now),
                                capacity: observer[sample.endpoint]?.capacity,
                                fault: observer[sample.endpoint]?.lastFault?.description
                            )
                        }
                    )
                }
            )
        }
    }

    /// An agent is ready when it reads something: a hub that is away is no reason to restart it.
    func readiness() -> [ReadinessCheck] {
        self.status().pools.map { pool in
            ReadinessCheck(
                "pool \(pool.pool)",
                problem: pool.endpoints_ready > 0
                    ? nil
                    : "none of \(pool.endpoints_known) endpoints answers: "
                        + (pool.endpoints.compactMap(\.fault).first ?? "not read yet")
            )
        }
    }

    func metrics() -> String {
        let now = self.clock.now
        let gateways = self.batches.readerCount
        let (counts, openStreams) = (self.mesh?.counts, self.streams.openStreams)
        return self.withState { state in
            var page = ExpositionWriter()
            state.counts.write(to: &page, mesh: counts)
            self.streams.counts.write(to: &page, openStreams: openStreams)
            if let links = self.links { links.counts.write(to: &page, expiresIn: links.expiresIn) }
            page.single("isobar_agent_gateways", .gauge, help: "Gateways that watch samples.", Double(gateways))
            let digests = state.observers.map { $0.digest(now: now) }
            func gauge(_ name: String, _ help: String, _ value: (PoolDigest) -> Double?) {
                page.family("isobar_agent_pool_\(name)", .gauge, help: help)
                for digest in digests {
                    guard let value = value(digest) else { continue }
                    page.sample("isobar_agent_pool_\(name)", ["pool": digest.pool.description], value)
                }
            }
            gauge("endpoints_ready", "Endpoints with a fresh reading.") { Double($0.endpointsReady) }
            gauge("endpoints_known", "Endpoints in the configuration.") { Double($0.endpointsKnown) }
            gauge("running", "Requests running.") { $0.running.map(Double.init) }
            gauge("waiting", "Requests waiting.") { $0.waiting.map(Double.init) }
            gauge("kv_cache_use_ratio", "Fullest endpoint's KV-cache use.") { $0.kvMax }
            gauge("error_ratio", "Requests that end in an error, of all that end.") { $0.errorShare }
            gauge("capacity_requests_per_second", "Learned capacity.") { $0.capacity }
            gauge("reading_age_seconds", "Age of the oldest fresh reading.") { $0.readingAge }
            func perPool(_ name: String, help: String, _ value: (EndpointTracker) -> Int) {
                page.family(name, .counter, help: help)
                for observer in state.observers {
                    let sum = observer.endpoints.reduce(0) { $0 + (observer[$1].map(value) ?? 0) }
                    page.sample(name, ["pool": observer.pool.description], Double(sum))
                }
            }
            perPool("isobar_agent_engine_restarts_total", help: "Engines seen to begin anew.") { $0.restarts }
            perPool("isobar_agent_engine_upgrades_total", help: "Engines that came back as others.") { $0.upgrades }
            return page.text
        }
    }
}
