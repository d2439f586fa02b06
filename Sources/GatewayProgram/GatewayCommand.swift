package import ArgumentParser
import FleetModel
import Foundation
import Logging
import NIOPosix
import Observability
import PlanStream
import ProgramShell
import ReverseProxy
import ServiceLifecycle
import WireTransport

/// `isobar gateway`: one regional front door.
package struct GatewayCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "gateway",
        abstract: "Run a regional gateway: an OpenAI-compatible front door for every pool.",
        discussion: """
            Sends each request to a cluster by the hub's plan and to an endpoint by the agents' samples: local endpoints \
            directly, other regions through their gateways. Keeps the last plan on disk and goes on when the hub is gone.

            The file:
              gateway: us-east-gw            # this replica's name
              region: us-east
              listen: 127.0.0.1:8080         # clients: http://127.0.0.1:8080/v1, HTTP/1.1 and HTTP/2
              listenTLS:                     # what clients see; plain text without it
                {certificate: web.crt, key: web.key}
              listenPeers: 127.0.0.1:8443    # gateways of other regions, with `tls`
              admin: 127.0.0.1:8081          # /livez /readyz /metrics /v1/status
              tls:                           # to hub, agents and peers; without it they are on loopback only
                {certificate: gateway-us-east.crt, key: gateway-us-east.key, authority: ca.crt}
              hub: [127.0.0.1:7400]
              agents: [127.0.0.1:7501]       # of this region
              peers:                         # gateways of other regions
                - {region: europe-west, address: 127.0.0.1:8543}
              planFile: /var/lib/isobar/us-east-gw.plan
              policy: ours                   # or nearest, round-robin
              accessLog: /var/log/isobar/access.jsonl   # or stdout; none without it
              objectives:
                - {name: chat, pool: default/llama, priority: 10}
              pools:
                - name: default/llama
                  path: /
                  objective: chat            # of requests that name none
                  rewrites:                  # one in ten gets the next model
                    - model: llama
                      targets: [{model: llama, weight: 90}, {model: llama-next, weight: 10}]
            """
    )

    @Option(help: ArgumentHelp("The gateway's YAML file.", valueName: "file"))
    var config: String

    @OptionGroup var shell: RunOptions

    package init() {}

    package func run() async throws {
        try await self.shell.run("gateway") {
            let configuration = try GatewayConfiguration(file: self.config)
            let logger = Logger(label: "isobar.gateway")
            let clock = MonotonicClock()
            let accessLog = try configuration.accessLog.map { try AccessLog(destination: $0) }
            let links = try configuration.tls?.credentials(
                of: .gateway,
                named: configuration.region.text,
                logger: logger
            )
            if links == nil {
                for peer in configuration.peers.values.joined() { try WireRefusal.check(peer, field: "peers") }
            }
            let front = try configuration.listenTLS.map { try ListenerCredentials(files: $0, logger: logger) }
            var trusts: [PoolName: UpstreamTrust] = [:]
            for pool in configuration.pools {
                trusts[pool.name] = try pool.endpointTLS.map {
                    try UpstreamTrust(
                        authority: $0.authority,
                        serverName: $0.serverName,
                        usesHTTP2: pool.endpointProtocol == .http2,
                        logger: logger
                    )
                }
            }
            let gateway = Gateway(
                configuration: configuration,
                plan: Self.planOnDisk(configuration.planFile, logger),
                clock: clock,
                links: links,
                trusts: trusts,
                logger: logger,
                accessLog: accessLog
            )
            let hubs = try configuration.hubs.map {
                try WireClient(to: $0, field: "hub", role: .hub, credentials: links)
            }
            let agents = try configuration.agents.map {
                try WireClient(to: $0, field: "agents", role: .agent, credentials: links)
            }
            var settings = ProxySettings()
            settings.drainTimeout = 4
            if let files = FileLimit.current { settings.fit(files: files) }
            if let limit = configuration.maxBodyBytes { settings.bodyLimit = limit }
            let proxy = ProxyServer(
                listeners: Self.listeners(configuration, front: front, links: links),
                director: gateway,
                settings: settings,
                group: MultiThreadedEventLoopGroup.singleton,
                waker: gateway.waker,
                logger: logger
            )
            var services: [any Service] = []
            let pages = AdminPages(
                readiness: { gateway.readiness() },
                metrics: { gateway.metrics(proxy.counters, front: front) },
                documents: [
                    "/v1/status": { try AdminPages.json(gateway.status()) },
                    "/v1/snapshot": { try gateway.snapshot() },
                ]
            )
            if let admin = AdminServer(at: configuration.admin, showing: pages, logger: logger) {
                services.append(admin)
            }
            if let accessLog { services.append(accessLog) }
            if let links { services.append(links) }
            if let front { services.append(front) }
            for trust in trusts.values { services.append(trust) }
            services += hubs + agents
            services.append(GatewayLoop(gateway: gateway, hubs: hubs, agents: agents))
            services.append(proxy)
            return services
        }
    }

    private static func installer(_ front: ListenerCredentials) -> TLSInstaller {
        { channel in try front.install(in: channel) }
    }

    /// Where clients connect, and where other gateways do.
    ///
    /// That a gateway has passed a request on is believed of those who have proved to be one. Without `tls` nobody can,
    /// and then of this machine's own programs.
    private static func listeners(
        _ configuration: GatewayConfiguration,
        front: ListenerCredentials?,
        links: LinkCredentials?
    ) -> [ProxyListener] {
        let clients = ProxyListener(
            configuration.listen,
            tls: front.map(Self.installer),
            trust: links == nil ? .loopback : .nobody
        )
        guard let peers = configuration.listenPeers, let links else { return [clients] }
        return [
            clients, ProxyListener(peers, tls: { channel in try links.installForPeer(in: channel) }, trust: .everybody),
        ]
    }

    /// A damaged file is no reason not to serve: the hub sends the plan anew.
    private static func planOnDisk(_ path: String?, _ logger: Logger) -> (plan: Plan, encoded: EncodedPlan)? {
        guard let path else { return nil }
        do {
            guard let held = try PlanFile(path: path).load() else { return nil }
            logger.info("plan from disk", metadata: ["plan": "\(held.plan.version)", "file": "\(path)"])
            return held
        } catch {
            logger.error("plan on disk refused", metadata: ["reason": "\(error)"])
            return nil
        }
    }
}
