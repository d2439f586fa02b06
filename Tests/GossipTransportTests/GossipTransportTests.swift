import FleetModel
import Foundation
import GRPCCore
import GRPCInProcessTransport
import GossipTransport
import Synchronization
import TestKit
import Testing
import WireProtocol

@Suite("Samples between processes")
struct GossipTransportTests {
    private func tell(
        services: [any RegistrableRPCService],
        _ story: @escaping @Sendable (GRPCClient<InProcessTransport.Client>) async throws -> Void
    ) async throws {
        let transport = InProcessTransport()
        let server = GRPCServer(transport: transport.server, services: services)
        let client = GRPCClient(transport: transport.client)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.serve() }
            group.addTask { try await client.runConnections() }
            try await story(client)
            client.beginGracefulShutdown()
            server.beginGracefulShutdown()
            group.cancelAll()
        }
    }

    @Test("samples reach every gateway of the region, as old as they are")
    func samples() async throws {
        let batches = NewestWins<[SampleBatch]>()
        let endpoint = try EndpointAddress("127.0.0.1:8000")
        let batch = SampleBatch(
            cluster: try ClusterName("a"),
            region: try RegionName("us-east"),
            pool: try PoolName("llama"),
            samples: [
                EndpointSample(
                    endpoint: endpoint,
                    load: EndpointLoad(running: 2, waiting: 1, kvUse: 0.5),
                    takenAt: 99
                )
            ]
        )
        try await self.tell(services: [SampleService(batches: batches, now: { 100 })]) { client in
            let received = Mutex<[SampleBatch]>([])
            let watcher = SampleWatcher(client: client, gateway: try GatewayName("gw"), now: { 7 }) { event in
                if case .batch(let batch) = event { received.withLock { $0.append(batch) } }
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await watcher.run() }
                batches.send([batch])
                try await eventually("the batch arrives") { received.withLock { !$0.isEmpty } }
                #expect(received.withLock { $0[0].samples[0].takenAt } == 6)
                group.cancelAll()
            }
        }
    }
}
