import ConfigurationFiles
import EngineSignals
import FleetModel
import Foundation
import GossipCore
import GossipTransport
import Logging
import Observability
import SwiftProtobuf
import TestKit
import Testing
import WireProtocol

@testable import AgentProgram

private let file = """
    cluster: us-east-a
    region: us-east
    agent: us-east-a-0
    listen: 127.0.0.1:0
    hub: [127.0.0.1:7400]
    pools:
      - name: default/llama
        engine: vllm
        endpoints: [127.0.0.1:8000, 127.0.0.1:8001]
        maxNumSeqs: 16
    """

private func configuration(_ text: String = file) throws -> AgentConfiguration {
    let folder = try TemporaryFolder()
    try Data(text.utf8).write(to: URL(fileURLWithPath: folder.file("agent.yaml")))
    do throws(ConfigurationError) {
        return try AgentConfiguration(file: folder.file("agent.yaml"))
    } catch {
        throw ConfigurationError(place: "agent.yaml", field: error.field, reason: error.reason)
    }
}

@Suite("The agent's file")
struct AgentConfigurationTests {
    @Test("says what to read, how often, and whom to tell")
    func reads() throws {
        let read = try configuration()
        #expect(read.cluster.text == "us-east-a" && read.interval == 1 && read.pace == ScrapePace())
        #expect(read.pools.map(\.engine) == [MetricsProfile.vllm] && read.pools[0].endpoints.count == 2)
        #expect(try configuration(file.replacing("engine: vllm", with: "engine: auto")).pools[0].engine == nil)
    }

    @Test("tells each endpoint's engine from the pool, from its labels, or from its page")
    func engines() throws {
        let read = try configuration(
            """
            cluster: us-east-a
            region: us-east
            agent: us-east-a-0
            listen: 127.0.0.1:0
            hub: [127.0.0.1:7400]
            engines:
              - name: acme
                rankLabel: rank
                running: acme_requests{state=running}
                waiting: acme_requests{state=queued}
                ttft: acme_first_token_seconds
            pools:
              - name: default/own
                engine: acme
                endpoints: [127.0.0.1:8000]
              - name: default/mixed
                endpoints:
                  - 127.0.0.1:8001
                  - address: 127.0.0.1:8002
                    labels: {llm-d.ai/engine-type: sglang}
                  - address: 127.0.0.1:8003
                    labels: {app: chat}
            """
        )
        let own = read.pools[0].groups(engines: read.engines)
        #expect(own.map(\.profiles) == [read.engines] && read.engines.map(\.name) == ["acme"])
        let mixed = read.pools[1].groups(engines: read.engines)
        #expect(mixed.map(\.endpoints.count) == [2, 1])
        #expect(mixed.map(\.profiles) == [read.engines + MetricsProfile.builtIn, [.sglang]])
    }

    @Test(
        "is refused with the field and the fix",
        arguments: [
            ("hub: [127.0.0.1:7400]", "hub: []", "hub: is empty; name the address of at least one hub"),
            ("engine: vllm", "engine: gpt", "pools[0].engine: \"gpt\" is not valid: use auto, vllm, sglang"),
            (
                "pools:", "engines: [{name: vllm, running: a}]\npools:",
                "engines[0].name: \"vllm\" is taken; choose another name"
            ),
            (
                "pools:", "engines: [{name: a, kvUse: b}]\npools:",
                "engines[0].running: is missing, and so is `waiting`"
            ),
            (
                "pools:", "engines: [{name: a, running: 'b{c}'}]\npools:",
                "engines[0].running: \"b{c}\" is not valid: use a series' name, or name{label=value}"
            ),
            (
                "pools:", "engines: [{name: a, running: b}, {name: a, running: c}]\npools:",
                "engines: has a name twice"
            ),
            ("127.0.0.1:8001", "{address: 127.0.0.1:8001, port: 1}", "pools[0].endpoints[1].port: is unknown"),
            ("127.0.0.1:8001", "127.0.0.1:8000", "pools: 127.0.0.1:8000 stands in default/llama and in default/llama"),
            ("agent: us-east-a-0", "scrapeIntervalBusy: 0.3\nagent: a", "scrapeIntervalBusy: \"0.3\" is not valid"),
            ("agent: us-east-a-0", "scrapeIntervalIdle: 0.1\nagent: a", "scrapeIntervalIdle: \"0.1\" is not valid"),
            ("maxNumSeqs: 16", "maxNumSeqs: 0", "pools[0].maxNumSeqs: \"0\" is not valid: use a whole number from 1"),
        ]
    )
    func refuses(from: String, to: String, message: String) {
        let error = #expect(throws: ConfigurationError.self) {
            try configuration(file.replacing(from, with: to))
        }
        #expect(error?.description.hasPrefix("agent.yaml: \(message)") == true, "\(String(describing: error))")
    }
}

@Suite("The agent")
struct AgentTests {
    private let agent: Agent
    private let endpoints: [EndpointAddress]

    init() throws {
        let configuration = try configuration()
        self.endpoints = configuration.pools[0].endpoints
        self.agent = Agent(
            configuration: configuration,
            clock: MonotonicClock(),
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        )
    }

    private func begin() throws -> MeshAgent {
        let keys = try FrameKeys(secret: Array(repeating: 1, count: 32))
        let cluster = self.agent.configuration.cluster
        return try self.agent.begin(keys.registration(of: cluster, agent: 3, incarnation: 7))
    }

    /// What the agent would seal now.
    private func frame() throws -> DigestFrame {
        let id = FrameID(cluster: self.agent.configuration.cluster, incarnation: 7, sequence: 1)
        return try Isobar_V1_Frame(serializedBytes: try #require(self.agent.payload(of: id))).model()
    }

    private func page(running: Int) throws -> EngineReading {
        let text = """
            # TYPE vllm:num_requests_running gauge
            vllm:num_requests_running{engine="0"} \(running)
            # TYPE vllm:num_requests_waiting gauge
            vllm:num_requests_waiting{engine="0"} 0
            # TYPE vllm:kv_cache_usage_perc gauge
            vllm:kv_cache_usage_perc{engine="0"} 0.25

            """
        return try EngineReader(engine: .vllm).read(Array(text.utf8))
    }

    @Test("tells what it reads, and where other agents reach it once it listens")
    func payload() throws {
        self.agent.scraped(self.endpoints[0], .success(try self.page(running: 3)))
        let frame = try self.frame()
        #expect(frame.id.description == "us-east-a@7.1")
        #expect(frame.digests[0].running == 3 && frame.digests[0].endpointsReady == 1)
        #expect(frame.digests[0].endpointsKnown == 2)
        self.agent.listens(at: try EndpointAddress("127.0.0.1:7501"))
        let message = try Isobar_V1_Frame(serializedBytes: try #require(self.agent.payload(of: frame.id)))
        #expect(message.address == "127.0.0.1:7501")
        self.agent.listens(at: try EndpointAddress("0.0.0.0:7501"))
        let nowhere = try Isobar_V1_Frame(serializedBytes: try #require(self.agent.payload(of: frame.id)))
        #expect(nowhere.address.isEmpty, "a wildcard is no address")
    }

    @Test("sends at once when an endpoint is lost, without waiting for its beat")
    func significantChange() async throws {
        let mesh = try self.begin()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { _ = await mesh.run() }
            defer { group.cancelAll() }
            try await eventually("a frame with both") {
                for endpoint in self.endpoints { self.agent.scraped(endpoint, .success(try self.page(running: 1))) }
                return self.agent.withState { $0.lastSent.first?.endpointsReady } == 2
            }
            // Three failed scrapes make an endpoint stale; frames are at least a tenth of a second apart.
            try await eventually("a frame without the endpoint") {
                self.agent.scraped(self.endpoints[1], .failure(.refused))
                self.agent.scraped(self.endpoints[0], .success(try self.page(running: 1)))
                return self.agent.withState { $0.lastSent.first?.endpointsReady } == 1
            }
        }
        #expect(mesh.counts.published >= 2)
    }

    @Test("says nothing of an engine that stopped answering: no gauge, no field and no sample stays as it was")
    func noFrozenGauge() async throws {
        func told() -> [String] {
            self.agent.metrics().split(separator: "\n").map(String.init)
                .filter { $0.hasPrefix("isobar_agent_pool_") && !$0.contains("endpoints_") }
        }
        self.agent.scraped(self.endpoints[0], .success(try self.page(running: 3)))
        #expect(told().contains(#"isobar_agent_pool_running{pool="default/llama"} 3.0"#))
        for _ in 0..<3 { self.agent.scraped(self.endpoints[0], .failure(.timeout)) }
        #expect(told() == [])
        self.agent.showSamples()
        let digest = try #require(try self.frame().digests.first)
        let blind = PoolDigest(
            pool: digest.pool,
            state: .down,
            trouble: .blind,
            endpointsReady: 0,
            endpointsKnown: 2
        )
        #expect(digest == blind)
        #expect(self.agent.batches.current?.first?.samples.allSatisfy { $0.load == nil } == true)
        let status = self.agent.status().pools[0]
        #expect(status.state == "down" && status.trouble == "blind" && status.capacity == nil)
        #expect(status.endpoints.allSatisfy { $0.running == nil && $0.waiting == nil && $0.kv_use == nil })
        // The page's own age goes on, and an endpoint that was never read has none.
        #expect(status.endpoints[0].age_seconds ?? -1 >= 0 && status.endpoints[1].age_seconds == nil)
    }

    @Test("shows gateways every endpoint, with no load for one that does not answer")
    func samples() throws {
        self.agent.scraped(self.endpoints[0], .success(try self.page(running: 3)))
        self.agent.scraped(self.endpoints[1], .failure(.timeout))
        self.agent.showSamples()
        let batch = try #require(self.agent.batches.current?.first)
        #expect(batch.samples.map(\.endpoint) == self.endpoints)
        #expect(batch.samples.map { $0.load?.running } == [3, nil])
        #expect(self.agent.readiness().allSatisfy { $0.problem == nil })
        #expect(self.agent.metrics().contains("isobar_agent_scrape_faults_total{reason=\"timeout\"} 1.0"))
        #expect(self.agent.status().pools[0].endpoints[1].fault == "no complete answer before the deadline")
    }

    @Test(
        "counts every kind of fault under its name, and says it in words",
        arguments: [
            (ScrapeFault.status(500), "status", "status 500"), (.timeout, "timeout", "no complete answer before"),
            (.tooLarge, "too_large", "the answer is over the size limit"), (.refused, "refused", "no connection"),
            (.noKnownSeries, "no_known_series", "no series of a known engine; check the engine"),
            (.unreadable("half a page"), "unreadable", "not readable: half a page"),
        ]
    )
    func faults(fault: ScrapeFault, code: String, words: String) {
        for _ in 0..<3 { self.agent.scraped(self.endpoints[0], .failure(fault)) }
        #expect(self.agent.metrics().contains("isobar_agent_scrape_faults_total{reason=\"\(code)\"} 3.0"))
        #expect(self.agent.status().pools[0].endpoints[0].fault?.hasPrefix(words) == true)
        #expect(self.agent.status().pools[0].endpoints[0].running == nil)
        #expect(self.agent.readiness().first?.problem?.contains(words) == true)
    }

    @Test("counts a page that does not say what waits as a fault, and not as an idle engine")
    func noLoad() throws {
        var renamed = try self.page(running: 3)
        renamed[.waiting] = nil
        for _ in 0..<3 { self.agent.scraped(self.endpoints[0], .success(renamed)) }
        #expect(self.agent.metrics().contains("isobar_agent_scrape_faults_total{reason=\"no_load\"} 3.0"))
        let pool = self.agent.status().pools[0]
        #expect(pool.state == "down" && pool.endpoints[0].running == nil)
        #expect(pool.endpoints[0].fault?.hasPrefix("no number of running or waiting requests") == true)
        #expect(self.agent.readiness().first?.problem?.contains("no number of running") == true)
        self.agent.scraped(self.endpoints[0], .success(try self.page(running: 3)))
        #expect(self.agent.status().pools[0].endpoints[0].fault == nil)
    }

    @Test("counts restarts and upgrades of engines")
    func restarts() throws {
        self.agent.scraped(self.endpoints[0], .success(try self.page(running: 1)))
        var other = EngineReading(engine: .sglang)
        other[.waiting] = 0
        self.agent.scraped(self.endpoints[0], .success(other))
        let page = self.agent.metrics()
        #expect(page.contains("isobar_agent_engine_restarts_total{pool=\"default/llama\"} 1.0"))
        #expect(page.contains("isobar_agent_engine_upgrades_total{pool=\"default/llama\"} 1.0"))
    }
}
