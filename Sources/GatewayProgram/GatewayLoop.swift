import FleetModel
import GossipTransport
import Logging
import NIOPosix
import Observability
import PlanStream
import RequestRouting
import ReverseProxy
import ServiceLifecycle
import Synchronization
import WireProtocol
import WireTransport

/// Everything that a gateway does beside requests: it hears plans and samples, probes peers, and reports.
///
/// None of it is on a request's way, and none of it has to succeed for requests to go on.
struct GatewayLoop: Service {
    /// How often demand is reported, in seconds.
    static let reportPeriod: Seconds = 0.5

    let gateway: Gateway
    let hubs: [WireClient]
    let agents: [WireClient]

    func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                let table = HubTable(HubSeats(hubs: self.hubs.count, gateway: self.gateway.configuration.gateway))
                for seat in table.seats { group.addTask { await self.sit(seat, of: table) } }
                for agent in self.agents { group.addTask { await self.watcher(agent).run() } }
                for (region, addresses) in self.gateway.configuration.peers {
                    for address in addresses {
                        group.addTask { await self.probe(region, address).run() }
                    }
                }
                group.addTask { await self.report() }
                if let path = self.gateway.configuration.planFile {
                    group.addTask { await self.keepPlans(in: PlanFile(path: path)) }
                }
            }
        }
    }

    /// Holds a stream to one hub after another.
    private func sit(_ seat: Int, of seats: HubTable) async {
        var backoff = Backoff()
        var dice = SystemRandomNumberGenerator()
        while !Task.isCancelled {
            let hub = self.hubs[seats.hub(of: seat)]
            if await self.subscriber(hub).attend() { backoff.reset() }
            seats.move(seat)
            try? await Task.sleep(for: .seconds(backoff.pause(using: &dice)))
        }
    }

    private func subscriber(_ hub: WireClient) -> PlanSubscriber<WireClient.Transport, Gateway> {
        PlanSubscriber(
            hub: hub.address,
            client: hub.client,
            gateway: self.gateway.configuration.gateway,
            scope: self.gateway.configuration.scope,
            reports: self.gateway.reports,
            receiver: self.gateway
        )
    }

    private func watcher(_ agent: WireClient) -> SampleWatcher<WireClient.Transport> {
        let gateway = self.gateway
        let clock = gateway.clock
        return SampleWatcher(
            client: agent.client,
            gateway: gateway.configuration.gateway,
            // An agent shows the samples of its own cluster, whatever it writes into a batch.
            mayShow: { cluster in agent.peer.map { $0.name == cluster.text } ?? true },
            now: { clock.now },
            onEvent: { event in
                switch event {
                case .batch(let batch):
                    gateway.observe(batch)
                case .refused(let error):
                    gateway.withState { $0.counts.samplesRefused += 1 }
                    gateway.logger.warning("samples refused", metadata: ["reason": "\(error)"])
                case .lost(let reason):
                    gateway.logger.warning(
                        "agent stream lost",
                        metadata: ["agent": "\(agent.address)", "reason": "\(reason)"]
                    )
                }
            }
        )
    }

    private func probe(_ region: RegionName, _ address: EndpointAddress) -> PeerProbe {
        let gateway = self.gateway
        return PeerProbe(
            region: region,
            address: address,
            ping: PeerPing(
                address: address,
                path: Gateway.pingPath,
                tls: gateway.probeTLS(to: address, in: region),
                group: MultiThreadedEventLoopGroup.singleton
            ),
            clock: gateway.clock,
            onResult: { gateway.probed(region, address, roundTrip: $0) }
        )
    }

    private func report() async {
        while !Task.isCancelled {
            self.gateway.reports.send(self.gateway.report())
            try? await Task.sleep(for: .seconds(Self.reportPeriod))
        }
    }

    private func keepPlans(in file: PlanFile) async {
        for await plan in self.gateway.accepted.values() {
            do {
                try file.save(plan)
            } catch {
                self.gateway.withState { $0.counts.planFileFailures += 1 }
                self.gateway.logger.error("plan not kept", metadata: ["reason": "\(error)"])
            }
        }
    }
}

/// The seats, shared by the tasks that sit on them.
private final class HubTable: Sendable {
    private let state: Mutex<HubSeats>

    init(_ seats: HubSeats) { self.state = Mutex(seats) }

    var seats: Range<Int> { self.state.withLock { $0.taken.indices } }

    func hub(of seat: Int) -> Int { self.state.withLock { $0.taken[seat] } }

    func move(_ seat: Int) { self.state.withLock { $0.move(seat) } }
}
