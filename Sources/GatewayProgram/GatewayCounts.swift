import Exposition
import FleetModel
import RequestRouting
import ReverseProxy

/// What a gateway counts of its decisions; labels are names from closed or configured sets.
struct GatewayCounts: Sendable {
    struct PickKey: Hashable, Sendable {
        let pool: PoolName
        let band: Band
        let cluster: ClusterName
        let reason: PickReason
    }

    struct DropKey: Hashable, Sendable {
        let pool: PoolName
        let band: Band
        let reason: DropReason
    }

    /// The bounds of vLLM's own histogram, in seconds.
    static let ttftBounds = [
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640,
        2_560,
    ]

    enum LoadReports: String, Hashable, Sendable, CaseIterable {
        case used
        /// In neither form, or with nothing of the load in it.
        case unread
    }

    private(set) var picks: [PickKey: UInt64] = [:]
    private(set) var refusals: [PickRefusal: UInt64] = [:]
    private(set) var answers: [Int: UInt64] = [:]
    private(set) var failures: [String: UInt64] = [:]
    private(set) var ttft: [ClusterName: MetricHistogram] = [:]
    private(set) var heads: [ClusterName: MetricHistogram] = [:]
    /// By pool, from the request's head: what clients feel.
    private(set) var serverTTFT: [PoolName: MetricHistogram] = [:]
    private(set) var durations: [PoolName: MetricHistogram] = [:]
    private(set) var queueTimes: [Band: MetricHistogram] = [:]
    private(set) var drops: [DropKey: UInt64] = [:]
    private(set) var warmPicks: UInt64 = 0
    var rewrites: UInt64 = 0
    /// Second tries beside a first, and those of them that answered before it.
    var hedges: UInt64 = 0
    var hedgesWon: UInt64 = 0
    var loadReports: [LoadReports: UInt64] = [:]
    var plansRefused: UInt64 = 0
    var deltasUnfit: UInt64 = 0
    var samplesRefused: UInt64 = 0
    var planFileFailures: UInt64 = 0

    mutating func picked(_ pick: Pick) {
        let key = PickKey(pool: pick.pool, band: pick.band, cluster: pick.cluster, reason: pick.reason)
        self.picks[key, default: 0] += 1
        if pick.isWarm { self.warmPicks += 1 }
    }

    mutating func dropped(_ reason: DropReason, _ request: PickRequest) {
        self.drops[DropKey(pool: request.pool, band: request.band, reason: reason), default: 0] += 1
    }

    mutating func waited(_ seconds: Seconds, _ request: PickRequest) {
        self.queueTimes[request.band, default: MetricHistogram(bounds: Self.ttftBounds)].observe(seconds)
    }

    mutating func firstByte(_ open: OpenRequest) {
        guard open.streams, let after = open.timeToFirstByte else { return }
        self.serverTTFT[open.request.pool, default: MetricHistogram(bounds: Self.ttftBounds)].observe(after)
    }

    mutating func ended(_ open: OpenRequest, _ summary: ProxySummary) {
        self.durations[open.request.pool, default: MetricHistogram(bounds: Self.ttftBounds)]
            .observe(summary.duration)
    }

    mutating func refused(_ refusal: PickRefusal) { self.refusals[refusal, default: 0] += 1 }

    mutating func observed(_ event: ProxyOutcome.Event, of pick: Pick) {
        switch event {
        case .sent, .loadReport, .cut, .cancelled: break
        case .firstByte(_, let head, let after):
            self.heads[pick.cluster, default: MetricHistogram(bounds: Self.ttftBounds)].observe(head)
            self.ttft[pick.cluster, default: MetricHistogram(bounds: Self.ttftBounds)].observe(after)
        case .completed(let status, _, _): self.answers[status, default: 0] += 1
        case .failed(let failure, _): self.failures[failure.description, default: 0] += 1
        }
    }

    func write(to page: inout ExpositionWriter) {
        page.family("isobar_gateway_picks_total", .counter, help: "Choices by pool, band, cluster and reason.")
        let sorted = self.picks.sorted {
            ($0.key.pool, $0.key.band, $0.key.cluster, $0.key.reason.rawValue)
                < ($1.key.pool, $1.key.band, $1.key.cluster, $1.key.reason.rawValue)
        }
        for (key, count) in sorted {
            page.sample(
                "isobar_gateway_picks_total",
                [
                    "pool": key.pool.description, "band": key.band.rawValue, "cluster": key.cluster.text,
                    "reason": key.reason.rawValue,
                ],
                Double(count)
            )
        }
        page.family("isobar_gateway_refusals_total", .counter, help: "Requests that found no choice, by reason.")
        for refusal in PickRefusal.allCases {
            page.sample(
                "isobar_gateway_refusals_total",
                ["reason": refusal.rawValue],
                Double(self.refusals[refusal] ?? 0)
            )
        }
        page.family("isobar_gateway_answers_total", .counter, help: "Answers passed on whole, by status.")
        for (status, count) in self.answers.sorted(by: { $0.key < $1.key }) {
            page.sample("isobar_gateway_answers_total", ["code": "\(status)"], Double(count))
        }
        page.family("isobar_gateway_failed_tries_total", .counter, help: "Tries that failed before a byte, by reason.")
        for (reason, count) in self.failures.sorted(by: { $0.key < $1.key }) {
            page.sample("isobar_gateway_failed_tries_total", ["reason": reason], Double(count))
        }
        page.family(
            "isobar_gateway_load_reports_total",
            .counter,
            help: "Load reports in the heads of answers, by what became of them."
        )
        for result in LoadReports.allCases {
            page.sample(
                "isobar_gateway_load_reports_total",
                ["result": result.rawValue],
                Double(self.loadReports[result] ?? 0)
            )
        }
        page.single("isobar_gateway_plans_refused_total", .counter, help: "Older plans.", Double(self.plansRefused))
        page.single(
            "isobar_gateway_plan_deltas_unfit_total",
            .counter,
            help: "Deltas that did not fit the plan held, so that the hub was asked for the body.",
            Double(self.deltasUnfit)
        )
        page.single(
            "isobar_gateway_samples_refused_total",
            .counter,
            help: "Sample messages that could not be read.",
            Double(self.samplesRefused)
        )
        page.single(
            "isobar_gateway_plan_file_failures_total",
            .counter,
            help: "Plans that could not be written to disk.",
            Double(self.planFileFailures)
        )
        self.writeQueues(to: &page)
        self.writeTimes(to: &page)
    }

    private func writeQueues(to page: inout ExpositionWriter) {
        page.family("isobar_gateway_dropped_total", .counter, help: "Requests turned away, by reason.")
        let sorted = self.drops.sorted {
            ($0.key.pool, $0.key.band, $0.key.reason.rawValue) < ($1.key.pool, $1.key.band, $1.key.reason.rawValue)
        }
        for (key, count) in sorted {
            page.sample(
                "isobar_gateway_dropped_total",
                ["pool": key.pool.description, "band": key.band.rawValue, "reason": key.reason.rawValue],
                Double(count)
            )
        }
        page.single(
            "isobar_gateway_warm_picks_total",
            .counter,
            help: "Choices of a target that had served the session, conversation or adapter before.",
            Double(self.warmPicks)
        )
        page.single("isobar_gateway_hedges_total", .counter, help: "Second tries beside a first.", Double(self.hedges))
        page.single(
            "isobar_gateway_hedges_won_total",
            .counter,
            help: "Second tries that answered before the first.",
            Double(self.hedgesWon)
        )
        page.single(
            "isobar_gateway_model_rewrites_total",
            .counter,
            help: "Requests whose model was replaced.",
            Double(self.rewrites)
        )
    }

    private func writeTimes(to page: inout ExpositionWriter) {
        func times<Key: Hashable & Comparable>(
            _ family: String,
            _ help: String,
            _ label: String,
            _ histograms: [Key: MetricHistogram],
            _ text: (Key) -> String
        ) {
            page.family(family, .histogram, help: help)
            for (key, histogram) in histograms.sorted(by: { $0.key < $1.key }) {
                page.histogram(family, [(label, text(key))], histogram)
            }
        }
        times(
            "isobar_gateway_time_to_head_seconds",
            "From the choice to the head of an answer that has a body, by cluster.",
            "cluster",
            self.heads,
            \.text
        )
        times(
            "isobar_gateway_time_to_first_byte_seconds",
            "From the choice to the first byte of the answer's body, by cluster.",
            "cluster",
            self.ttft,
            \.text
        )
        times("isobar_gateway_queue_seconds", "In the gateway's queue, by band.", "band", self.queueTimes, \.rawValue)
        times(
            "gen_ai_server_time_to_first_token_seconds",
            "From the request's head to the first byte of a streamed answer, by pool.",
            "pool",
            self.serverTTFT,
            \.description
        )
        times(
            "gen_ai_server_request_duration_seconds",
            "From the request's head to the end of the answer, by pool.",
            "pool",
            self.durations,
            \.description
        )
    }
}

extension ProxyCounters {
    func write(to page: inout ExpositionWriter) {
        func counter(_ name: String, _ help: String, _ value: Int) {
            page.single("isobar_gateway_\(name)_total", .counter, help: help, Double(value))
        }
        func gauge(_ name: String, _ help: String, _ value: Int) {
            page.single("isobar_gateway_\(name)", .gauge, help: help, Double(value))
        }
        counter("requests", "Requests begun.", self.requests)
        counter(
            "requests_malformed",
            "Requests refused as malformed, too large or not to be proxied.",
            self.requestsRefused
        )
        counter("retries", "Tries after the first of a request.", self.retries)
        counter("hedges_asked", "Requests that waited long enough for a second try beside the first.", self.hedges)
        counter("deadlines", "Requests answered with 504 because their own deadline passed.", self.deadlines)
        counter("stale_connections", "Kept connections that turned out to be closed.", self.staleConnections)
        counter("cuts", "Answers cut in the middle because the upstream died.", self.cuts)
        counter("cancellations", "Requests whose client went away before the end.", self.cancellations)
        counter("connections_refused", "Client connections over the limit.", self.connectionsRefused)
        gauge("requests_open", "Requests from their head to the end of their answer.", self.requestsInFlight)
        counter("handshakes", "TLS handshakes of clients and peers that succeeded.", self.handshakes)
        counter("handshakes_failed", "TLS handshakes that failed, were left or took too long.", self.handshakesFailed)
        counter("http2_streams", "HTTP/2 streams begun.", self.streams)
        counter("http2_faults", "HTTP/2 connections closed for a flood or a broken protocol.", self.http2Faults)
        gauge("http2_streams_open", "HTTP/2 streams.", self.streamsOpen)
        gauge("connections_open", "Client connections.", self.connectionsOpen)
        gauge("upstream_connections_open", "Upstream connections, idle ones included.", self.upstreamOpen)
        gauge("upstream_connections_idle", "Upstream connections that wait for a request.", self.upstreamIdle)
    }
}
