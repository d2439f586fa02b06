import FleetModel
import Logging
import NIOPosix
import ServiceLifecycle
import Synchronization
import Testing

@testable import ReverseProxy

/// Sends requests to the first of its targets that has not failed, and writes down what it is told.
final class ListDirector: ProxyDirector {
    struct Record: Sendable {
        var forwards = 0
        var outcomes: [ProxyOutcome] = []

        var terminal: [ProxyOutcome.Event] { self.outcomes.map(\.event).filter(\.isTerminal) }
        var failures: [ProxyFailure] {
            self.terminal.compactMap { if case .failed(let failure, _) = $0 { failure } else { nil } }
        }
    }

    let targets: [ProxyTarget]
    let requestHeaders: [ProxyHeader]
    let record = Watched(Record())

    private let streaming: Set<EndpointAddress>
    private let upstreamTLS: @Sendable (EndpointAddress) -> TLSInstaller?

    init(
        _ addresses: [EndpointAddress],
        requestHeaders: [ProxyHeader] = [],
        streaming: Set<EndpointAddress> = [],
        upstreamTLS: @escaping @Sendable (EndpointAddress) -> TLSInstaller? = { _ in nil }
    ) {
        self.streaming = streaming
        self.upstreamTLS = upstreamTLS
        self.targets = addresses.map(ProxyTarget.init)
        self.requestHeaders = requestHeaders
    }

    func speaksHTTP2(to target: EndpointAddress) -> Bool { self.streaming.contains(target) }

    func tls(to target: EndpointAddress) -> TLSInstaller? { self.upstreamTLS(target) }

    func direct(_ request: ProxiedRequest, failed: [ProxyTarget]) -> ProxyDecision {
        guard let target = self.targets.first(where: { !failed.contains($0) }) else {
            return .answer(.error(status: 503, code: "no_endpoint", message: "nobody is left"))
        }
        self.record.update { $0.forwards += 1 }
        return .forward(
            target,
            requestHeaders: self.requestHeaders,
            responseHeaders: [ProxyHeader("x-served-by", "target-\(self.targets.firstIndex(of: target) ?? -1)")]
        )
    }

    func observe(_ outcome: ProxyOutcome) { self.record.update { $0.outcomes.append(outcome) } }
}

/// Answers every request itself, with the hops that it is told of.
struct AnsweringDirector: ProxyDirector {
    func direct(_ request: ProxiedRequest, failed: [ProxyTarget]) -> ProxyDecision {
        .answer(ProxyAnswer(status: 200, body: "hops \(request.hops)."))
    }

    func observe(_ outcome: ProxyOutcome) {}
}

/// A proxy that runs on a port of its own.
struct ProxyWorld {
    let proxy: ProxyServer
    let address: EndpointAddress
    let director: ListDirector
    let lifecycle: ServiceGroup

    func client() async throws -> Peer { try await Peer.connect(to: self.address) }

    /// The counters after every event loop has finished what it was doing.
    func countersAtRest() async throws -> ProxyCounters {
        _ = try await self.proxy.bufferedBytes()
        return self.proxy.counters
    }

    /// Runs a proxy for the length of a test and holds it to its promise: every forward has one terminal outcome,
    /// and nothing stays in flight.
    static func with(
        _ upstreams: [EndpointAddress],
        requestHeaders: [ProxyHeader] = [],
        listener: ProxyListener = ProxyListener(EndpointAddress(host: "127.0.0.1", port: 0)),
        director other: (any ProxyDirector)? = nil,
        settings change: (inout ProxySettings) -> Void = { _ in },
        upstreamTLS: @escaping @Sendable (EndpointAddress) -> TLSInstaller? = { _ in nil },
        _ body: (ProxyWorld) async throws -> Void
    ) async throws {
        var settings = ProxySettings()
        settings.drainTimeout = 0.05
        // A busy machine must not look like an upstream that is out of reach.
        settings.connectTimeout = 30
        change(&settings)
        let director = ListDirector(upstreams, requestHeaders: requestHeaders, upstreamTLS: upstreamTLS)
        let bound = Watched<EndpointAddress?>(nil)
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let proxy = ProxyServer(
            listeners: [listener],
            director: other ?? director,
            settings: settings,
            group: MultiThreadedEventLoopGroup.singleton,
            logger: logger,
            onListening: { address in bound.update { $0 = address } }
        )
        let lifecycle = ServiceGroup(services: [proxy], logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await lifecycle.run() }
            let address = try #require(try await bound.wait { $0 != nil })
            do {
                try await body(ProxyWorld(proxy: proxy, address: address, director: director, lifecycle: lifecycle))
            } catch {
                Issue.record("\(error); \(proxy.counters); \(director.record.value.outcomes)")
                throw error
            }
            await lifecycle.triggerGracefulShutdown()
            try await group.waitForAll()
        }
        let record = director.record.value
        #expect(record.terminal.count == record.forwards)
        for (request, outcomes) in Dictionary(grouping: record.outcomes, by: \.request) {
            for (number, outcomes) in Dictionary(grouping: outcomes, by: \.number) {
                #expect(outcomes.count(where: \.event.isTerminal) == 1, "request \(request), try \(number)")
                #expect(outcomes.last?.event.isTerminal ?? false, "request \(request), try \(number)")
            }
        }
        #expect(proxy.counters.requestsInFlight == 0)
        #expect(proxy.counters.connectionsOpen == 0)
    }
}

extension Peer {
    /// Reads a request with an empty body and answers it.
    func serve(_ answer: String = .ok, request number: Int = 1) async throws {
        try await self.receive("\r\n\r\n", times: number)
        self.send(answer)
    }
}

extension String {
    static let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

    static func get(_ path: String = "/", headers: String = "") -> String {
        "GET \(path) HTTP/1.1\r\nhost: test\r\n\(headers)\r\n"
    }

    static func post(_ path: String = "/v1/chat/completions", headers: String = "", body: String) -> String {
        "POST \(path) HTTP/1.1\r\nhost: test\r\ncontent-length: \(body.utf8.count)\r\n\(headers)\r\n\(body)"
    }
}
