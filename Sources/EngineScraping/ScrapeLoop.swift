package import EngineSignals
package import FleetModel
import ServiceLifecycle

/// Scrapes a set of endpoints for as long as it runs, each on its own schedule, and hands every result on.
package struct ScrapeLoop: Service {
    private let endpoints: [EndpointAddress]
    private let scraper: EngineScraper
    private let pace: ScrapePace
    private let report: @Sendable (EndpointAddress, Result<EngineReading, ScrapeFault>) -> Void

    /// A loop over the given endpoints.
    ///
    /// - Parameters:
    ///   - endpoints: what to scrape; each gets a task of its own.
    ///   - scraper: fetches and reads the pages.
    ///   - pace: how often to scrape an endpoint that answers.
    ///   - report: called with every result, from several tasks at once; it must not block.
    package init(
        endpoints: [EndpointAddress],
        scraper: EngineScraper,
        pace: ScrapePace = ScrapePace(),
        report: @escaping @Sendable (EndpointAddress, Result<EngineReading, ScrapeFault>) -> Void
    ) {
        self.endpoints = endpoints
        self.scraper = scraper
        self.pace = pace
        self.report = report
    }

    /// Scrapes until the task is cancelled or the service group shuts down.
    package func run() async {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                for endpoint in self.endpoints {
                    group.addTask { await self.scrape(endpoint) }
                }
            }
        }
    }

    /// Scrapes one endpoint until the task is cancelled.
    ///
    /// A scrape that takes long delays only itself.
    private func scrape(_ endpoint: EndpointAddress) async {
        let clock = ContinuousClock()
        let start = clock.now
        func now() -> Seconds { start.duration(to: clock.now) / .seconds(1) }

        var dice = SystemRandomNumberGenerator()
        var schedule = ScrapeSchedule(pace: self.pace, now: 0, using: &dice)
        var due = schedule.first
        while true {
            do {
                try await clock.sleep(until: start + .seconds(due), tolerance: .milliseconds(2))
            } catch {
                return
            }
            let result = await self.scraper.scrape(endpoint)
            // What a cancelled scrape says is about us, not about the endpoint.
            if Task.isCancelled { return }
            self.report(endpoint, result)
            due = schedule.next(after: result, now: now(), using: &dice)
        }
    }
}
