package import ArgumentParser
import FleetModel
import Foundation
import GossipTransport
import Logging
import Observability
import ProgramShell
import ServiceLifecycle
import WireTransport

/// `isobar agent`: the eyes of one cluster.
package struct AgentCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "agent",
        abstract: "Run a cluster's agent: it reads the model servers and tells hub and gateways.",
        discussion: """
            Reads the metrics of each endpoint a few times a second, shows the readings to the gateways of its region, \
            and sends the hub one digest a pool each second, or at once when something changes.

            The file:
              cluster: us-east-a
              region: us-east
              agent: us-east-a-0
              listen: 127.0.0.1:7501     # gateways of this region, and agents whose links are cut (gRPC)
              advertise: 127.0.0.1:7501  # where those agents reach this one, when not where it listens
              admin: 127.0.0.1:7502      # /livez /readyz /metrics /v1/status
              tls:                       # on every gRPC link; without it they are on loopback only
                {certificate: agent-us-east-a.crt, key: agent-us-east-a.key, authority: ca.crt}
              hub: [127.0.0.1:7400]
              interval: 1                # seconds between digests
              scrapeInterval: 0.2        # seconds between readings of an endpoint
              pools:
                - name: default/llama
                  engine: auto           # or vllm, sglang, trtllm-serve, triton-trtllm, triton, one of engines
                  endpoints: [127.0.0.1:8000]
                  maxNumSeqs: 256        # when known
            """
    )

    @Option(help: ArgumentHelp("The agent's YAML file.", valueName: "file"))
    var config: String

    @OptionGroup var shell: RunOptions

    package init() {}

    package func run() async throws {
        try await self.shell.run("agent") {
            let configuration = try AgentConfiguration(file: self.config)
            let logger = Logger(label: "isobar.agent")
            let clock = MonotonicClock()
            let links = try configuration.tls?.credentials(
                of: .agent,
                named: configuration.cluster.text,
                logger: logger
            )
            let agent = Agent(configuration: configuration, clock: clock, links: links, logger: logger)
            let hubs = try configuration.hubs.map {
                try WireClient(to: $0, field: "hub", role: .hub, credentials: links)
            }
            let server = try WireServer(
                listen: configuration.listen,
                services: [
                    SampleService(batches: agent.batches, now: { clock.now }), GossipService(agent.streams),
                ],
                credentials: links,
                onListening: { address in
                    agent.listens(at: address)
                    logger.info("agent listens", metadata: ["address": "\(address)"])
                }
            )
            var services: [any Service] = []
            let pages = AdminPages(
                readiness: { agent.readiness() },
                metrics: { agent.metrics() },
                documents: ["/v1/status": { try AdminPages.json(agent.status()) }]
            )
            if let admin = AdminServer(at: configuration.admin, showing: pages, logger: logger) {
                services.append(admin)
            }
            if let links { services.append(links) }
            services += hubs
            services.append(AgentLoop(agent: agent, hubs: hubs))
            services.append(server)
            return services
        }
    }
}
