import AsyncHTTPClient
import EngineScraping
import EngineSignals
import FleetModel
import GossipTransport
import Logging
import Observability
import ServiceLifecycle
import WireProtocol
import WireTransport

/// Everything that an agent does by itself: it reads its endpoints, shows samples and sends frames.
struct AgentLoop: Service {
    /// How often the gateways of the region get samples, in seconds.
    static let samplePeriod: Seconds = 0.1

    let agent: Agent
    let hubs: [WireClient]

    func run() async throws {
        let agent = self.agent
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.scrape() }
                group.addTask { await self.showSamples() }
                group.addTask { await self.speak() }
                for hub in self.hubs {
                    group.addTask {
                        await GossipTalk(agent.streams, withHubOver: "\(hub.address)").run(over: hub.client)
                    }
                }
                group.addTask {
                    await agent.streams.run { address, talk in await self.help(at: address, talk) }
                }
            }
        }
    }

    /// The first hub to answer gives the incarnation and its key.
    private func register() async -> AgentRegistration? {
        let configuration = self.agent.configuration
        let logger = self.agent.logger
        return await withTaskGroup(of: AgentRegistration?.self) { group in
            for hub in self.hubs {
                group.addTask {
                    do {
                        return try await Registrar(client: hub.client).register(
                            cluster: configuration.cluster,
                            region: configuration.region,
                            agent: configuration.agent
                        ) { reason in
                            logger.warning(
                                "not registered yet",
                                metadata: ["hub": "\(hub.address)", "reason": "\(reason)"]
                            )
                        }
                    } catch {
                        if !Task.isCancelled { logger.error("register refused", metadata: ["reason": "\(error)"]) }
                        return nil
                    }
                }
            }
            for await registration in group {
                guard let registration else { continue }
                group.cancelAll()
                return registration
            }
            return nil
        }
    }

    /// Speaks for the cluster: registers once, and again when the incarnation is worth nothing any more.
    private func speak() async {
        while !Task.isCancelled {
            guard let registration = await self.register() else { return }
            self.agent.logger.info(
                "registered",
                metadata: ["number": "\(registration.agent)", "incarnation": "\(registration.incarnation)"]
            )
            do throws(SealFault) {
                let mesh = try self.agent.begin(registration)
                guard let reason = await mesh.run() else { return }
                self.agent.logger.error(
                    "registering again",
                    metadata: ["agent": "\(self.agent.configuration.agent)", "reason": "\(reason)"]
                )
            } catch {
                self.agent.logger.error("the hub's key is none", metadata: ["reason": "\(error)"])
            }
            // Two agents of one name would take the incarnation from each other without end.
            try? await Task.sleep(for: .seconds(1))
        }
    }

    /// A connection to another agent, which passes frames on, for as long as it is needed.
    private func help(at address: EndpointAddress, _ talk: GossipTalk) async {
        do {
            let relay = try WireClient(to: address, field: "relay", role: .agent, credentials: self.agent.links)
            await relay.whileConnected { await talk.run(over: relay.client) }
        } catch {
            self.agent.logger.warning("relay not used", metadata: ["address": "\(address)", "reason": "\(error)"])
        }
    }

    private func scrape() async {
        let client = HTTPClient(configuration: EngineScraper.clientConfiguration)
        let agent = self.agent
        await withDiscardingTaskGroup { group in
            let engines = agent.configuration.engines
            for alike in agent.configuration.pools.flatMap({ $0.groups(engines: engines) }) {
                let loop = ScrapeLoop(
                    endpoints: alike.endpoints,
                    scraper: EngineScraper(
                        client: client,
                        profiles: alike.profiles,
                        onRead: { agent.read(in: $0) }
                    ),
                    pace: agent.configuration.pace,
                    report: { agent.scraped($0, $1) }
                )
                group.addTask { await loop.run() }
            }
        }
        do {
            try await client.shutdown()
        } catch {
            agent.logger.warning("scraper did not shut down", metadata: ["reason": "\(error)"])
        }
    }

    private func showSamples() async {
        while !Task.isCancelled {
            self.agent.showSamples()
            try? await Task.sleep(for: .seconds(Self.samplePeriod))
        }
    }
}
