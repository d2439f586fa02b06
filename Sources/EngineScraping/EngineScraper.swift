package import AsyncHTTPClient
package import EngineSignals
package import FleetModel
import NIOCore
import NIOHTTP1
import NIOPosix

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Fetches an engine's metrics page over HTTP and reads it.
///
/// Connections are kept alive by the client. Every fetch is bounded in time, from connecting to the last byte, and in
/// size: what is over the limit is not read, and its connection is closed.
package struct EngineScraper: Sendable {
    private let client: HTTPClient
    private let reader: EngineReader
    private let path: String
    private let deadline: Duration
    private let limit: Int

    /// A scraper of engines of one kind, or of any of several.
    ///
    /// - Parameters:
    ///   - client: made with ``clientConfiguration``; the caller shuts it down.
    ///   - profiles: one when the settings say what the engine is; several to tell it from each page.
    ///   - path: where the metrics are; `nil` for the engine's own default.
    ///   - deadline: the longest that one fetch may take.
    ///   - limit: the most bytes that a page may have.
    package init(
        client: HTTPClient,
        profiles: [MetricsProfile] = MetricsProfile.builtIn,
        path: String? = nil,
        deadline: Duration = .seconds(1),
        limit: Int = 10 << 20
    ) {
        self.client = client
        self.reader = EngineReader(profiles: profiles, limit: limit)
        self.path = path ?? (profiles.count == 1 ? profiles.first?.metricsPath : nil) ?? "/metrics"
        self.deadline = deadline
        self.limit = limit
    }

    /// What a scraper needs of its client: no redirects, which could lead anywhere, no second attempt to connect,
    /// which the schedule makes, and connections that outlive the longest pause between two scrapes.
    package static var clientConfiguration: HTTPClient.Configuration {
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.connectionPool.idleTimeout = .seconds(30)
        configuration.httpVersion = .http1Only
        return configuration
    }

    /// Reads one endpoint once.
    package func scrape(_ endpoint: EndpointAddress) async -> Result<EngineReading, ScrapeFault> {
        await self.trace("http://\(endpoint)\(self.path)").map(\.reading)
    }

    /// Reads the page at a URL once, with where each value came from.
    package func trace(_ url: String) async -> Result<EngineTrace, ScrapeFault> {
        await withTaskGroup(of: Result<EngineTrace, ScrapeFault>.self) { group in
            group.addTask { await self.fetch(url) }
            group.addTask {
                // A sleep that is cancelled ends early, when the page is there already.
                try? await Task.sleep(for: self.deadline)
                return .failure(.timeout)
            }
            defer { group.cancelAll() }
            return await group.next() ?? .failure(.timeout)
        }
    }

    private func fetch(_ url: String) async -> Result<EngineTrace, ScrapeFault> {
        do {
            // The deadline is kept by the caller: the client's own ends with the head of the answer.
            let response = try await self.client.execute(HTTPClientRequest(url: url), deadline: .distantFuture)
            guard response.status == .ok else { return .failure(.status(Int(response.status.code))) }
            if let length = response.headers.first(name: "content-length").flatMap({ Int($0) }), length > self.limit {
                return .failure(.tooLarge)
            }
            var page = ByteBuffer()
            for try await part in response.body {
                guard page.readableBytes + part.readableBytes <= self.limit else { return .failure(.tooLarge) }
                page.writeImmutableBuffer(part)
            }
            let report = response.headers.first(name: LoadReport.header).flatMap { LoadReport($0) }
            return page.withUnsafeReadableBytes { bytes in
                Result { () throws(ScrapeFault) in try self.reader.trace(bytes) }
            }.map { trace in
                var trace = trace
                report?.complete(&trace.reading)
                return trace
            }
        } catch {
            return .failure(ScrapeFault(connection: error))
        }
    }
}

extension ScrapeFault {
    /// The fault behind an error of the client or of the connection.
    init(connection error: any Error) {
        let timeouts: [HTTPClientError] = [
            .connectTimeout, .readTimeout, .deadlineExceeded, .getConnectionFromPoolTimeout,
        ]
        switch error {
        case let error as HTTPClientError:
            self = timeouts.contains(error) ? .timeout : .unreadable(error.shortDescription)
        case is NIOConnectionError:
            self = .refused
        case let error as IOError where [ECONNREFUSED, EHOSTUNREACH, ENETUNREACH].contains(error.errnoCode):
            self = .refused
        default:
            self = .unreadable("\(error)")
        }
    }
}
