import FleetModel
import GossipTransport
import ServiceLifecycle
import Synchronization
import TestKit
import Testing
import WireProtocol
import WireTransport

@Suite("Sockets under the services")
struct WireTransportTests {
    @Test("off loopback is refused before anything listens or connects, with the fix")
    func loopbackOnly() throws {
        let outside = try EndpointAddress("10.0.0.1:7400")
        let listen = #expect(throws: WireRefusal.self) { _ = try WireServer(listen: outside, services: []) }
        #expect(listen?.description.hasPrefix("listen: 10.0.0.1:7400: links off loopback need mutual TLS") == true)
        #expect(throws: WireRefusal.self) { _ = try WireClient(to: outside, field: "hub", role: .hub) }
    }

    @Test("a port that is taken is one clear line")
    func portTaken() async throws {
        let bound = NewestWins<EndpointAddress>()
        let first = try WireServer(listen: try EndpointAddress("127.0.0.1:1").anyPort, services: []) { bound.send($0) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await first.run() }
            let address = try await eventually("the first listens") { bound.current }
            let second = try WireServer(listen: address, services: [])
            let error = await #expect(throws: WireRefusal.self) { try await second.run() }
            #expect(error?.field == "listen")
            #expect(error?.address == address.description)
            #expect(error?.description.contains("in use") == true)
            group.cancelAll()
        }
    }

    @Test("a client that came before its server finds it, and finds it again after a restart")
    func reconnects() async throws {
        let batches = NewestWins<[SampleBatch]>()
        let batch = SampleBatch(
            cluster: try ClusterName("a"),
            region: try RegionName("us-east"),
            pool: try PoolName("llama"),
            samples: []
        )
        let bound = NewestWins<EndpointAddress>()
        func server(_ address: EndpointAddress) throws -> WireServer {
            try WireServer(listen: address, services: [SampleService(batches: batches, now: { 0 })]) { bound.send($0) }
        }
        let count = Mutex(0)
        try await withThrowingTaskGroup(of: Void.self) { group in
            let first = try server(try EndpointAddress("127.0.0.1:1").anyPort)
            let stop = Mutex(false)
            let isStopped = Mutex(false)
            group.addTask {
                try await withThrowingTaskGroup(of: Void.self) { inner in
                    inner.addTask { try await first.run() }
                    try await eventually("told to stop") { stop.withLock { $0 } }
                    inner.cancelAll()
                }
                isStopped.withLock { $0 = true }
            }
            let address = try await eventually("it listens") { bound.current }
            let client = try WireClient(to: address, field: "agents", role: .agent)
            let watcher = SampleWatcher(client: client.client, gateway: try GatewayName("gw"), now: { 0 }) { event in
                if case .batch = event { count.withLock { $0 += 1 } }
            }
            group.addTask { try await client.run() }
            group.addTask { await watcher.run() }
            batches.send([batch])
            try await eventually("a batch arrives") { count.withLock { $0 } >= 1 }
            stop.withLock { $0 = true }
            try await eventually("the first is gone") { isStopped.withLock { $0 } }
            let before = count.withLock { $0 }
            let second = try server(address)
            group.addTask { try await second.run() }
            try await eventually("a batch arrives again") { count.withLock { $0 } > before }
            group.cancelAll()
        }
    }
}

extension EndpointAddress {
    fileprivate var anyPort: EndpointAddress { EndpointAddress(host: self.host, port: 0) }
}
