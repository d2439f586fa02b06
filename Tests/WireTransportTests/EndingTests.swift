import FleetModel
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Logging
import ServiceLifecycle
import TestKit
import Testing
import WireProtocol

@testable import WireTransport

/// Whatever happens at once, everything ends: a program with a part that waits for ever is never started again.
@Suite("Ending at the wrong moment", .timeLimit(.minutes(2)))
struct EndingTests {
    private static let rounds = 150

    @Test("a call that begins as its client is cancelled is answered")
    func clients() async throws {
        var dice = SeededGenerator(seed: 7)
        for _ in 0..<Self.rounds {
            let pause = Int.random(in: 0..<40, using: &dice)
            // Nobody listens at port 1. An address is what its balancer starts with at once, a name is looked up before.
            let client = GRPCClient(
                transport: try HTTP2ClientTransport.Posix(
                    target: .ipv4(address: "127.0.0.1", port: 1),
                    transportSecurity: .plaintext
                )
            )
            await withTaskGroup(of: Void.self) { group in
                group.addTask { try? await client.keepConnections() }
                for _ in 0..<pause { await Task.yield() }
                group.cancelAll()
                for _ in 0..<4 {
                    group.addTask {
                        try? await Isobar_V1_Plans.Client(wrapping: client).subscribe { _ in
                        } onResponse: { response in
                            for try await _ in response.messages {}
                        }
                    }
                }
            }
        }
    }

    @Test("a server that is told to end as it begins ends, be it cancelled or shut down")
    func servers() async throws {
        var dice = SeededGenerator(seed: 7)
        for round in 0..<Self.rounds {
            let pause = Int.random(in: 0..<40, using: &dice)
            let wire = try WireServer(listen: EndpointAddress(host: "127.0.0.1", port: 0), services: [])
            let services = ServiceGroup(services: [wire], logger: Logger(label: "test"))
            await withTaskGroup(of: Void.self) { group in
                group.addTask { try? await services.run() }
                for _ in 0..<pause { await Task.yield() }
                if round % 2 == 0 { await services.triggerGracefulShutdown() } else { group.cancelAll() }
            }
        }
    }
}
