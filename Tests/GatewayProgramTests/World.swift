import AsyncHTTPClient
import FleetModel
import Foundation
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import Observability
import RequestRouting
import ReverseProxy
import ServiceLifecycle
import Synchronization
import TestKit
import Testing

@testable import GatewayProgram

/// A model server that answers with what it was asked, and says of its load what `x-test-load` tells it to.
private struct Echo: ProxyDirector {
    func wantsBody(_ request: ProxiedRequest) -> Bool { true }

    func direct(_ request: ProxiedRequest, failed: [ProxyTarget]) -> ProxyDecision {
        var text = "x-gateway-model-name: \(request[header: "x-gateway-model-name"] ?? "none")\n"
        request.forEachPeeked { text += String(decoding: $0, as: UTF8.self) }
        let load = request[header: "x-test-load"].map { ProxyHeader("endpoint-load-metrics", $0) }
        return .answer(ProxyAnswer(status: 200, headers: load.map { [$0] } ?? [], body: text))
    }

    func observe(_ outcome: ProxyOutcome) {}
}

private final class Counter: Sendable {
    private let value = Mutex(0)

    func next() -> Int {
        self.value.withLock { value in
            value += 1
            return value
        }
    }
}

private final class Place: Sendable {
    private let value = Mutex<EndpointAddress?>(nil)

    var address: EndpointAddress? { self.value.withLock { $0 } }

    func take(_ address: EndpointAddress) { self.value.withLock { $0 = address } }
}

/// A gateway that runs on a port of its own, without hub and agent: the test shows it what it wants.
struct World: Sendable {
    struct Answer: Sendable {
        let status: UInt
        let headers: [String: String]
        let body: String
    }

    let gateway: Gateway
    let address: EndpointAddress
    let engine: EndpointAddress
    private let client: HTTPClient
    private let shown = Counter()

    /// The readings of the engine: so many requests wait there, or the agent gets no answer when `nil`.
    ///
    /// They are of the far future, so that a machine that stalls does not take them for old.
    func show(waiting: Int?, at endpoint: EndpointAddress? = nil) throws {
        let number = self.shown.next()
        self.gateway.observe(
            SampleBatch(
                cluster: try ClusterName("us-east-a"),
                region: self.gateway.configuration.region,
                pool: try PoolName("llama"),
                samples: [
                    EndpointSample(
                        endpoint: endpoint ?? self.engine,
                        load: waiting.map { EndpointLoad(running: 1, waiting: $0, kvUse: nil) },
                        takenAt: self.gateway.clock.now + 3_600 * Double(number)
                    )
                ]
            )
        )
    }

    /// Waits until so many requests stand in the gateway's queue.
    func waits(_ count: Int) async throws {
        try await eventually("\(count) wait") { self.gateway.status().pools.first?.waiting == count }
    }

    func post(_ body: String, headers: [String: String] = [:]) async throws -> Answer {
        var request = HTTPClientRequest(url: "http://\(self.address)/v1/chat/completions")
        request.method = .POST
        request.headers.add(name: "content-type", value: "application/json")
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        request.body = .bytes(ByteBuffer(string: body))
        let response = try await self.client.execute(request, timeout: .seconds(120))
        let text = String(buffer: try await response.body.collect(upTo: 1 << 20))
        let pairs = response.headers.map { ($0.name.lowercased(), $0.value) }
        return Answer(
            status: response.status.code,
            headers: Dictionary(pairs, uniquingKeysWith: { first, _ in first }),
            body: text
        )
    }

    static func with(
        _ file: String,
        accessLog: String? = nil,
        _ body: @escaping @Sendable (World) async throws -> Void
    ) async throws {
        let folder = try TemporaryFolder()
        try Data(file.utf8).write(to: URL(fileURLWithPath: folder.file("gateway.yaml")))
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let log = try accessLog.map { try AccessLog(destination: $0) }
        let gateway = Gateway(
            configuration: try GatewayConfiguration(file: folder.file("gateway.yaml")),
            plan: nil,
            clock: MonotonicClock(),
            logger: logger,
            accessLog: log
        )
        let (front, back) = (Place(), Place())
        var settings = ProxySettings()
        settings.drainTimeout = 0.05
        settings.connectTimeout = 30
        func server(
            _ director: any ProxyDirector,
            _ waker: ProxyWaker?,
            _ bound: @escaping @Sendable (EndpointAddress) -> Void
        ) -> ProxyServer {
            ProxyServer(
                listeners: [ProxyListener(EndpointAddress(host: "127.0.0.1", port: 0))],
                director: director,
                settings: settings,
                group: MultiThreadedEventLoopGroup.singleton,
                waker: waker,
                logger: logger,
                onListening: bound
            )
        }
        var services: [any Service] = [
            server(gateway, gateway.waker) { address in front.take(address) },
            server(Echo(), nil) { address in back.take(address) },
        ]
        if let log { services.append(log) }
        let lifecycle = ServiceGroup(services: services, logger: logger)
        let client = HTTPClient()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await lifecycle.run() }
            let address = try await eventually("the gateway listens") { front.address }
            let engine = try await eventually("the engine listens") { back.address }
            do {
                try await body(World(gateway: gateway, address: address, engine: engine, client: client))
            } catch {
                Issue.record("\(error)")
            }
            await lifecycle.triggerGracefulShutdown()
            try await group.waitForAll()
        }
        try await client.shutdown()
        #expect(gateway.status().in_flight == 0)
        #expect(gateway.withState { $0.open.count } == 0)
    }
}
