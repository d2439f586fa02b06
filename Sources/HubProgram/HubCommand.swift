package import ArgumentParser
import FleetModel
import FleetPlanning
import Foundation
import GossipTransport
import Logging
import Observability
import OperatorLink
import PlanStream
import ProgramShell
import ServiceLifecycle
import StateStoreSQLite
import WireTransport

/// `isobar hub`: the one place where weights are made.
package struct HubCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "hub",
        abstract: "Run the hub: digests and demand come in, plans go out.",
        discussion: """
            One replica, with its state in a SQLite file. Losing it costs freshness only: gateways go on with the \
            plan they hold, and a hub that starts again goes on from the plan in its file.

            The file:
              listen: 127.0.0.1:7400     # agents and gateways (gRPC)
              admin: 127.0.0.1:7401      # /livez /readyz /metrics /v1/status
              tls:                       # on every gRPC link; without it they are on loopback only
                {certificate: hub-hub-0.crt, key: hub-hub-0.key, authority: ca.crt}
              state: /var/lib/isobar/hub.sqlite
              tick: 1                    # seconds between plans; failures are answered at once
              undeclaredPools: plan      # or ignore: only pools that an InferencePool declares
            """
    )

    @Option(help: ArgumentHelp("The hub's YAML file.", valueName: "file"))
    var config: String

    @OptionGroup var shell: RunOptions

    package init() {}

    package func run() async throws {
        try await self.shell.run("hub") {
            let configuration = try HubConfiguration(file: self.config)
            let logger = Logger(label: "isobar.hub")
            // The state holds the secret of the frames' keys: what the hub makes is its user's alone.
            umask(0o077)
            let store = try SQLiteStore(path: configuration.state)
            let links = try configuration.tls?.credentials(of: .hub, named: nil, logger: logger)
            let hub = Hub(store: store, clock: MonotonicClock(), links: links, logger: logger)
            if configuration.undeclaredPools == .ignore { hub.withState { $0.mind.plansDeclaredOnly = true } }
            let desk = HubDesk(
                hub: hub,
                store: store,
                name: configuration.listen.description,
                tick: configuration.tick
            )
            let server = try WireServer(
                listen: configuration.listen,
                services: [
                    DigestService(receiver: hub),
                    PlanService(announcements: hub.announcements, audience: hub),
                    OperatorService(desk: desk),
                ],
                credentials: links,
                onListening: { logger.info("hub listens", metadata: ["address": "\($0)"]) }
            )
            var services: [any Service] = []
            if let admin = configuration.admin {
                services.append(
                    AdminServer(
                        host: admin.host,
                        port: admin.port,
                        pages: AdminPages(
                            readiness: { hub.readiness() },
                            metrics: { hub.metrics() },
                            documents: ["/v1/status": { try AdminPages.json(hub.status()) }]
                        ),
                        onListening: { logger.info("admin listens", metadata: ["port": "\($0)"]) }
                    )
                )
            }
            if let links { services.append(links) }
            services.append(PlanLoop(hub: hub, store: store, desk: desk, tick: configuration.tick))
            services.append(server)
            return services
        }
    }
}
