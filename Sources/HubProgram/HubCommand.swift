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
import StateStore
import StateStoreEtcd
import StateStoreSQLite
import WireTransport

/// `isobar hub`: the one place where weights are made.
package struct HubCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "hub",
        abstract: "Run the hub: digests and demand come in, plans go out.",
        discussion: """
            One replica with its state in a SQLite file, or several with theirs in etcd: one of them leads, every one \
            serves, and another leads when the leader is gone. Losing them all costs freshness only: gateways go on \
            with the plan they hold, and a hub that starts again goes on from the plan in its store.

            The file:
              listen: 127.0.0.1:7400     # agents, gateways and other replicas (gRPC)
              admin: 127.0.0.1:7401      # /livez /readyz /metrics /v1/status
              tls:                       # on every gRPC link; without it they are on loopback only
                {certificate: hub-hub-0.crt, key: hub-hub-0.key, authority: ca.crt}
              state: /var/lib/isobar/hub.sqlite
              region: us-east            # where it stands: its links measure round trips between regions
              tick: 1                    # seconds between plans; failures are answered at once
              undeclaredPools: plan      # or ignore: only pools that an InferencePool declares

            For several replicas, instead of `state`:
              replica: hub-0             # this one's name
              store: etcd
              etcd: [127.0.0.1:2379]
              lease: 2                   # seconds of the leader's silence until another one leads

            or, with an etcd member that each hub runs beside itself (the program `etcd` must be installed):
              replica: hub-0
              managedEtcd:
                data: /var/lib/isobar/etcd
                members:                 # the same in every hub's file
                  - {replica: hub-0, client: 127.0.0.1:2379, peer: 127.0.0.1:2380}
                  - {replica: hub-1, client: 127.0.0.1:22379, peer: 127.0.0.1:22380}
                  - {replica: hub-2, client: 127.0.0.1:32379, peer: 127.0.0.1:32380}
            """
    )

    @Option(help: ArgumentHelp("The hub's YAML file.", valueName: "file"))
    var config: String

    @Option(help: ArgumentHelp("Where the state is kept, sqlite or etcd; instead of the file's `store`."))
    var store: HubConfiguration.StoreKind?

    @Option(
        help: ArgumentHelp("The members of etcd, with commas; instead of the file's `etcd`.", valueName: "host:port,…")
    )
    var etcdEndpoints: EtcdEndpoints?

    /// Who runs etcd.
    enum EtcdRunner: String, ExpressibleByArgument, CaseIterable {
        case managed
    }

    @Option(help: ArgumentHelp("managed: run the etcd member of the file's `managedEtcd` beside this hub."))
    var etcd: EtcdRunner?

    @OptionGroup var shell: RunOptions

    package init() {}

    package func run() async throws {
        try await self.shell.run("hub") {
            let configuration = try HubConfiguration(
                file: self.config,
                store: self.store,
                endpoints: self.etcdEndpoints?.addresses ?? [],
                isManaged: self.etcd == .managed
            )
            let logger = Logger(label: "isobar.hub")
            // The state holds the secret of the frames' keys: what the hub makes is its user's alone.
            umask(0o077)
            let links = try configuration.tls?.credentials(of: .hub, named: nil, logger: logger)
            let store = try Self.open(configuration, links: links)
            let clock = MonotonicClock()
            let hub = Hub(
                name: configuration.replica.text,
                store: store,
                clock: clock,
                links: links,
                storeQuota: configuration.etcd.managed?.quota,
                logger: logger
            )
            let member = ReplicaMember(
                name: configuration.replica.text,
                address: configuration.advertise.description
            )
            if configuration.undeclaredPools == .ignore { hub.withState { $0.mind.plansDeclaredOnly = true } }
            let desk = HubDesk(
                hub: hub,
                store: store,
                name: configuration.replica.text,
                tick: configuration.tick
            )
            let server = try WireServer(
                listen: configuration.listen,
                services: [
                    RegistryService(registry: hub),
                    GossipService(hub.streams),
                    OperatorService(desk: desk),
                    ReplicaService(audience: hub),
                ],
                methods: [PlanService(board: hub.board, audience: hub)],
                credentials: links,
                onListening: { logger.info("hub listens", metadata: ["address": "\($0)"]) }
            )
            // They end in reverse: etcd when nobody asks it any more, and what checks its certificates after that.
            var services: [any Service] = links.map { [$0] } ?? []
            let etcd = configuration.etcd
            if let managed = etcd.managed, let store = store as? EtcdStore {
                services.append(
                    MemberKeeper(
                        settings: try managed.launchSettings(of: configuration.replica, links: links),
                        program: managed.program,
                        store: store,
                        hub: hub,
                        clock: clock
                    )
                )
            }
            services.append(StoreService(store: store))
            let pages = AdminPages(
                readiness: { hub.readiness() },
                metrics: { hub.metrics() },
                documents: ["/v1/status": { try AdminPages.json(hub.status()) }]
            )
            if let admin = AdminServer(at: configuration.admin, showing: pages, logger: logger) {
                services.append(admin)
            }
            services.append(server)
            services.append(MeshLoop(hub: hub, store: store, region: configuration.region))
            services.append(PlanLoop(hub: hub, store: store, desk: desk, tick: configuration.tick))
            // A hub of one replica has nobody to share with.
            if configuration.store == .etcd { services.append(ReplicaMesh(hub: hub, own: member)) }
            if let store = store as? EtcdStore {
                services.append(
                    StoreKeeper(hub: hub, store: store, compacts: etcd.compaction == .hub, quota: etcd.managed?.quota)
                )
            }
            // The last one is shut down first: it hands the leadership over while everything else still runs.
            services.append(
                ReplicaLoop(
                    hub: hub,
                    ballot: Ballot(store: store, member: member, now: { clock.now }),
                    lease: configuration.lease
                )
            )
            return services
        }
    }

    /// The store that the hub's file names.
    static func open(_ configuration: HubConfiguration, links: LinkCredentials? = nil) throws -> any StateStore {
        switch configuration.store {
        case .sqlite:
            return try SQLiteStore(path: configuration.state ?? "")
        case .etcd:
            let etcd = configuration.etcd
            let ofHubs = etcd.managed == nil ? nil : links.map { EtcdSecurity.links($0) }
            return try EtcdStore(
                EtcdSettings(
                    endpoints: etcd.endpoints,
                    prefix: etcd.prefix,
                    security: ofHubs ?? etcd.files.map { .files($0) } ?? .plain,
                    // A member that hangs must not cost the lease: half of what a renewal leaves.
                    patience: .seconds(configuration.lease / 4)
                )
            )
        }
    }
}

extension HubConfiguration.StoreKind: ExpressibleByArgument {}

/// Addresses as they are given on the command line.
struct EtcdEndpoints: ExpressibleByArgument {
    var addresses: [EndpointAddress]

    init?(argument: String) {
        let parts = argument.split(separator: ",")
        self.addresses = parts.compactMap { try? EndpointAddress(String($0)) }
        guard !parts.isEmpty, self.addresses.count == parts.count else { return nil }
    }
}
