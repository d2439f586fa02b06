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
        let publishers = self.hubs.map(self.publisher)
        let agent = self.agent
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.scrape() }
                group.addTask { await self.showSamples() }
                group.addTask { await self.beat(publishers) }
                for publisher in publishers { group.addTask { await publisher.run(frames: agent.frames) } }
            }
        }
    }

    /// The first hub to answer gives the incarnation and its key.
    private func register(_ publishers: [DigestPublisher<WireClient.Transport>]) async -> AgentRegistration? {
        let configuration = self.agent.configuration
        let logger = self.agent.logger
        return await withTaskGroup(of: AgentRegistration?.self) { group in
            for publisher in publishers {
                group.addTask {
                    do {
                        return try await publisher.register(
                            cluster: configuration.cluster,
                            region: configuration.region,
                            agent: configuration.agent
                        )
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

    private func scrape() async {
        let client = HTTPClient(configuration: EngineScraper.clientConfiguration)
        let agent = self.agent
        await withDiscardingTaskGroup { group in
            let engines = agent.configuration.engines
            for alike in agent.configuration.pools.flatMap({ $0.groups(engines: engines) }) {
                let loop = ScrapeLoop(
                    endpoints: alike.endpoints,
                    scraper: EngineScraper(client: client, profiles: alike.profiles),
                    period: agent.configuration.scrapeInterval,
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

    private func beat(_ publishers: [DigestPublisher<WireClient.Transport>]) async {
        // Two agents that start together do not beat together.
        try? await Task.sleep(for: .seconds(Double.random(in: 0...1) * self.agent.configuration.interval))
        while !Task.isCancelled {
            if !self.agent.isRegistered {
                // Frames name an incarnation, so they begin once a hub has given one.
                guard let registration = await self.register(publishers) else { return }
                do throws(SealFault) {
                    try self.agent.registered(registration)
                } catch {
                    self.agent.logger.error("the hub's key is none", metadata: ["reason": "\(error)"])
                }
            }
            self.agent.beat()
            try? await Task.sleep(for: .seconds(self.agent.configuration.interval))
        }
    }

    private func showSamples() async {
        while !Task.isCancelled {
            self.agent.showSamples()
            try? await Task.sleep(for: .seconds(Self.samplePeriod))
        }
    }

    private func publisher(_ hub: WireClient) -> DigestPublisher<WireClient.Transport> {
        let agent = self.agent
        let address = hub.address
        return DigestPublisher(client: hub.client) { event in
            let now = agent.clock.now
            switch event {
            case .registered(let incarnation):
                agent.logger.info("registered", metadata: ["hub": "\(address)", "incarnation": "\(incarnation)"])
            case .accepted(let id):
                agent.withState { state in
                    state.accepted = id
                    state.acceptedAt = now
                    state.counts.accepted += 1
                }
                agent.logger.debug("digest accepted", metadata: ["frame": "\(id)", "hub": "\(address)"])
            case .refused(let id, let reason):
                agent.withState { $0.counts.refused += 1 }
                if reason == SealFault.forged.description { agent.couldNotBeOpened(id) }
                agent.logger.warning(
                    "digest refused",
                    metadata: ["frame": "\(id)", "hub": "\(address)", "reason": "\(reason)"]
                )
            case .lost(let reason, _):
                agent.withState { $0.counts.streamsLost += 1 }
                agent.logger.warning("hub stream lost", metadata: ["hub": "\(address)", "reason": "\(reason)"])
            }
        }
    }
}
