import AsyncHTTPClient
import FleetModel
import NIOCore
import NIOHTTP1
import NIOPosix

#if canImport(Glibc)
import Glibc
#else
import Darwin
#endif

/// The clients of every region: they send streamed chat completions to the gateway that anycast brings them to.
struct ChatClient: Sendable {
    /// From the first attempt to the end of the answer, in seconds; a request that takes longer has failed.
    static let deadline: Seconds = 120

    let http: HTTPClient
    let geography: Geography
    /// Where clients of a region reach the gateway of a region: direct, or through the link between the two.
    let addresses: [RegionName: [RegionName: EndpointAddress]]
    let state: LoadState
    let clock: LoadClock

    /// A client of AsyncHTTPClient that is no bottleneck: it opens as many connections as there are requests, and
    /// leaves every retry to ``RetryPolicy``.
    static func configuration() -> HTTPClient.Configuration {
        var configuration = HTTPClient.Configuration()
        configuration.httpVersion = .http1Only
        configuration.timeout.connect = .seconds(5)
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = LoadGenerator.mostInFlight
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.redirectConfiguration = .disallow
        return configuration
    }

    /// Sends one request, with its retries, and writes down how it went.
    func perform(_ arrival: Arrival, isLate: Bool) async {
        let sentAt = self.clock.now
        self.state.ledger { $0.send(from: arrival.source, at: sentAt, isLate: isLate) }
        var record = Record(source: arrival.source, sentAt: sentAt, endedAt: sentAt, retries: 0, outcome: .unfinished)
        let body = Self.body(of: arrival)
        let byDistance = self.geography.byDistance(from: arrival.source)
        var avoided: Set<RegionName> = []
        while true {
            let gateway = self.state.anycast { $0.gateway(byDistance: byDistance, avoiding: avoided) }
            let attempt = await self.attempt(body, from: arrival.source, to: gateway, record: &record)
            switch attempt {
            case .refused:
                avoided.insert(gateway)
                self.state.anycast { $0.refused(gateway) }
            case .closed: avoided.insert(gateway)
            default: break
            }
            if let delay = self.state.retryDelay(after: attempt, retriesSoFar: record.retries) {
                do {
                    try await self.clock.sleep(until: self.clock.now + delay)
                    record.retries += 1
                    continue
                } catch {
                    record.outcome = .unfinished
                }
            } else {
                record.outcome =
                    switch attempt {
                    case .answered: .answered
                    case .interrupted: .interrupted
                    case .abandoned: .unfinished
                    case .refused, .closed, .status, .expired: .failed
                    }
            }
            break
        }
        record.endedAt = self.clock.now
        self.state.ledger { [record] in $0.end(record) }
    }

    private func attempt(
        _ body: ByteBuffer,
        from source: RegionName,
        to gateway: RegionName,
        record: inout Record
    ) async -> Attempt {
        guard let address = self.addresses[source]?[gateway] else { return .refused }
        var request = HTTPClientRequest(url: "http://\(address)/v1/chat/completions")
        request.method = .POST
        request.headers.add(name: "content-type", value: "application/json")
        request.headers.add(name: "x-isobar-explain", value: "1")
        request.body = .bytes(body)
        let left = record.sentAt + Self.deadline - self.clock.now
        var reader = EventStreamReader()
        var hasByte = false
        do {
            let response = try await self.http.execute(request, timeout: .nanoseconds(Int64(max(0, left) * 1e9)))
            guard response.status == .ok else {
                let retryAfter = response.headers.first(name: "retry-after").flatMap(Seconds.init)
                return .status(Int(response.status.code), retryAfter: retryAfter)
            }
            let cluster = response.headers.first(name: "x-isobar-cluster")
            for try await bytes in response.body where bytes.readableBytes > 0 {
                hasByte = true
                reader.read(bytes.readableBytesView)
                if reader.hasContent, record.ttft == nil {
                    let now = self.clock.now
                    let ttft = now - record.sentAt
                    record.ttft = ttft
                    record.cluster = cluster
                    self.state.ledger { $0.firstContent(from: source, at: now, ttft: ttft, cluster: cluster) }
                }
            }
            if reader.isDone, !reader.hasError { return .answered }
            return Task.isCancelled ? .abandoned : hasByte ? .interrupted : .closed
        } catch {
            return Task.isCancelled ? .abandoned : Self.attempt(endedBy: error, hasByte: hasByte)
        }
    }

    private static func attempt(endedBy error: any Error, hasByte: Bool) -> Attempt {
        switch error {
        case let error as HTTPClientError where error == .deadlineExceeded: .expired
        case _ where hasByte: .interrupted
        case let error as HTTPClientError where error == .connectTimeout: .refused
        case is NIOConnectionError: .refused
        case let error as IOError where error.errnoCode == ECONNREFUSED: .refused
        default: .closed
        }
    }

    /// The request as JSON; the prompt is made of letters and spaces, so nothing needs escaping.
    static func body(of arrival: Arrival) -> ByteBuffer {
        let prompt = PromptText.text(tokens: arrival.promptTokens, blocks: arrival.blocks, seed: ~arrival.number)
        return ByteBuffer(
            string: """
                {"model":"\(Geography.model)","stream":true,"max_tokens":\(arrival.outputTokens),\
                "messages":[{"role":"user","content":"\(prompt)"}]}
                """
        )
    }
}
