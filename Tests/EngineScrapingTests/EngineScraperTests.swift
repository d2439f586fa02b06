import AsyncHTTPClient
import EngineSignals
import FleetModel
import Foundation
import NIOCore
import Testing

@testable import EngineScraping

private let goodPage = "vllm:num_requests_running 3\nvllm:num_requests_waiting 1\n"

/// A hang that ends with the test.
private func hang() async throws {
    try await Task.sleep(for: .seconds(3600))  // peer: hangs
}

private func withClient(_ body: (HTTPClient) async throws -> Void) async throws {
    let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: EngineScraper.clientConfiguration)
    do {
        try await body(client)
    } catch {
        try await client.shutdown()
        throw error
    }
    try await client.shutdown()
}

@Suite(.timeLimit(.minutes(1))) struct `Scraping an engine` {
    /// Scrapes a server that answers so, once.
    private func scrape(
        _ answer: @escaping @Sendable (RawAnswer) async throws -> Void,
        deadline: Duration = .seconds(20)
    ) async throws -> Result<EngineReading, ScrapeFault> {
        var result: Result<EngineReading, ScrapeFault> = .failure(.refused)
        try await withClient { client in
            try await withRawServer(answer) { endpoint, _ in
                result = await EngineScraper(client: client, deadline: deadline).scrape(endpoint)
            }
        }
        return result
    }

    @Test func `reads the page of a real vLLM, again and again over one connection`() async throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let page = try String(
            contentsOf: root.appending(path: "testenv/fixtures/vllm-0.32-under-load.prom"),
            encoding: .utf8
        )
        try await withClient { client in
            try await withRawServer {
                try await $0.page(page)
            } _: { endpoint, log in
                let scraper = EngineScraper(client: client, profiles: [.vllm], deadline: .seconds(20))
                for _ in 0..<5 {
                    let reading = try await scraper.scrape(endpoint).get()
                    #expect(reading.running == 105 && reading.waiting == 295)
                }
                #expect(log.requests == 5)
                #expect(log.connections == 1)
            }
        }
    }

    @Test func `asks trtllm-serve where it has its metrics`() async throws {
        try await withClient { client in
            let scraper = EngineScraper(client: client, profiles: [.trtllmServe], deadline: .seconds(20))
            try await withRawServer {
                try await $0.page("trtllm_num_requests_running 1\n")
            } _: { endpoint, _ in
                let reading = try await scraper.scrape(endpoint).get()
                #expect(reading.running == 1)
            }
        }
    }

    @Test func `completes a page from the load report in the answer's header`() async throws {
        let page = "vllm:num_requests_running 3\n"
        let head = "HTTP/1.1 200 OK\r\nendpoint-load-metrics: TEXT named_metrics.num_requests_waiting=7\r\n"
        let reading = try await self.scrape {
            try await $0.write("\(head)Content-Length: \(page.utf8.count)\r\n\r\n\(page)")
        }.get()
        #expect(reading.running == 3 && reading.waiting == 7)
    }

    @Test func `says which status came instead of a page`() async throws {
        #expect(try await self.scrape { try await $0.page("oops", status: "500 Internal") } == .failure(.status(500)))
        let redirect = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
        #expect(try await self.scrape { try await $0.write(redirect) } == .failure(.status(302)))
    }

    @Test func `gives up at the deadline on a server that hangs`() async throws {
        #expect(try await self.scrape({ _ in try await hang() }, deadline: .milliseconds(100)) == .failure(.timeout))
    }

    @Test func `gives up at the deadline on a page that drips, a byte a second`() async throws {
        let result = try await self.scrape(
            { answer in
                try await answer.write("HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n")
                while true {
                    try await answer.write("v")
                    try await Task.sleep(for: .seconds(1))  // peer: drips
                }
            },
            deadline: .milliseconds(300)
        )
        #expect(result == .failure(.timeout))
    }

    @Test(arguments: ["Content-Length: 1000000000000", "Transfer-Encoding: chunked"])
    func `cuts a page that does not end at the size limit`(framing: String) async throws {
        let isChunked = framing.hasPrefix("Transfer")
        let part = ByteBuffer(string: String(repeating: "# 0123456789abc\n", count: 4096))
        let result = try await self.scrape { answer in
            try await answer.write("HTTP/1.1 200 OK\r\n\(framing)\r\n\r\n")
            while true {
                if isChunked { try await answer.write("10000\r\n") }
                try await answer.write(part)
                if isChunked { try await answer.write("\r\n") }
            }
        }
        #expect(result == .failure(.tooLarge))
    }

    @Test func `tells a page without metrics from an answer that is no HTTP`() async throws {
        #expect(try await self.scrape { try await $0.page("<html>hello</html>") } == .failure(.noKnownSeries))
        let garbage = try await self.scrape { answer in
            try await answer.write("\u{1}\u{2}not http at all\r\n\r\n")
            throw CancellationError()
        }
        #expect(garbage.fault?.code == "unreadable")
    }

    @Test func `names an engine that changed its names, instead of calling it idle`() async throws {
        let renamed = goodPage.replacing("vllm:", with: "vllm_v2:")
        #expect(try await self.scrape { try await $0.page(renamed) } == .failure(.noKnownSeries))
        // When the names of the load are there and others are gone, the reading names those.
        let reading = try await self.scrape { try await $0.page(goodPage) }.get()
        #expect(reading.missing.contains(.kvUse) && reading.missing.contains(.finished))
    }

    @Test func `refuses an answer of 100 MB by its announced length, or as soon as it is over the limit`() async throws
    {
        let part = ByteBuffer(string: String(repeating: "# 0123456789abc\n", count: 65_536))
        for framing in ["Content-Length: 104857600", "Connection: close"] {
            let result = try await self.scrape { answer in
                try await answer.write("HTTP/1.1 200 OK\r\n\(framing)\r\n\r\n")
                for _ in 0..<100 { try await answer.write(part) }
            }
            #expect(result == .failure(.tooLarge), "\(framing)")
        }
    }

    @Test func `does not take half a page for a whole one`() async throws {
        let result = try await self.scrape { answer in
            try await answer.write("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n\(goodPage)")
            throw CancellationError()
        }
        #expect(result.fault?.code == "unreadable")
    }

    @Test func `says when nobody listens`() async throws {
        try await withClient { client in
            var gone: EndpointAddress?
            try await withRawServer {
                try await $0.page("")
            } _: { endpoint, _ in
                gone = endpoint
            }
            let scraper = EngineScraper(client: client, deadline: .seconds(20))
            let endpoint = try #require(gone)
            #expect(await scraper.scrape(endpoint) == .failure(.refused))
        }
    }
}

extension Result where Success == EngineReading, Failure == ScrapeFault {
    fileprivate var fault: ScrapeFault? {
        guard case .failure(let fault) = self else { return nil }
        return fault
    }
}

@Suite(.timeLimit(.minutes(1))) struct `A scrape loop` {
    @Test func `reads every endpoint on its schedule, whatever the others do`() async throws {
        try await withClient { client in
            try await withRawServer {
                try await $0.page(goodPage)
            } _: { good, log in
                try await withRawServer { _ in
                    try await hang()
                } _: { hanging, _ in
                    let (results, report) = AsyncStream.makeStream(
                        of: (EndpointAddress, Result<EngineReading, ScrapeFault>).self
                    )
                    let loop = ScrapeLoop(
                        endpoints: [good, hanging],
                        scraper: EngineScraper(client: client, deadline: .milliseconds(200)),
                        period: 0.02
                    ) { endpoint, result in report.yield((endpoint, result)) }

                    var pool = PoolObserver(pool: try PoolName("chat"), endpoints: [good, hanging])
                    await withTaskGroup(of: Void.self) { group in
                        group.addTask { await loop.run() }
                        var readings = 0
                        var failures = 0
                        for await (endpoint, result) in results {
                            pool.take(result, from: endpoint, now: 0)
                            readings += endpoint == good ? 1 : 0
                            failures += endpoint == hanging ? 1 : 0
                            if readings >= 20, failures >= 2 { break }
                        }
                        group.cancelAll()
                    }
                    let digest = pool.digest(now: 0)
                    #expect(digest.endpointsReady == 1 && digest.endpointsKnown == 2)
                    #expect(digest.running == 3 && digest.waiting == 1)
                    #expect(pool[hanging]?.lastFault == .timeout)
                    // Kept alive: a fresh connection now and then, after a deadline on a busy machine, not one a scrape.
                    #expect(log.connections < 10)
                }
            }
        }
    }
}
