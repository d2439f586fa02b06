package import FleetModel
package import GRPCCore
import Synchronization
package import WireProtocol

/// What a hub replica does with reports that another replica passes on; called from many streams at once.
package protocol ReplicaAudience: Sendable {
    func shared(_ report: DemandReport)
    /// A message could not be read; it was dropped and the stream goes on.
    func unreadable(_ error: WireError)
}

/// The receiving end of what replicas share.
package struct ReplicaService<Audience: ReplicaAudience>: Isobar_V1_Replicas.SimpleServiceProtocol {
    private let audience: Audience

    package init(audience: Audience) { self.audience = audience }

    package func share(
        request: RPCAsyncSequence<Isobar_V1_DemandReport, any Error>,
        context: ServerContext
    ) async throws -> Isobar_V1_SharedDemand {
        var summary = Isobar_V1_SharedDemand()
        for try await message in request {
            do throws(WireError) {
                self.audience.shared(try message.model())
                summary.reports += 1
            } catch {
                self.audience.unreadable(error)
            }
        }
        return summary
    }
}

/// Reports on their way to one replica: the newest of each gateway, so that a slow replica gets fewer and none is old.
///
/// Bounded by the number of gateways that the owner lets in.
package final class DemandOutbox: Sendable {
    private let waiting = Mutex<[GatewayName: DemandReport]>([:])
    private let bell = NewestWins<Void>()

    package init() {}

    package func put(_ report: DemandReport) {
        self.waiting.withLock { $0[report.gateway] = report }
        self.bell.send(())
    }

    private func take() -> [DemandReport] {
        self.waiting.withLock { waiting in
            defer { waiting = [:] }
            return waiting.values.sorted { $0.gateway < $1.gateway }
        }
    }

    /// Sends reports to a replica, over as many streams as it takes; ends when cancelled.
    ///
    /// - Parameters:
    ///   - client: The connection to the replica.
    ///   - lost: Told why a stream ended; it is made anew after a pause.
    package func run<Transport: ClientTransport>(
        to client: GRPCClient<Transport>,
        lost: @Sendable (String) -> Void
    ) async {
        let replica = Isobar_V1_Replicas.Client(wrapping: client)
        var backoff = Backoff()
        var dice = SystemRandomNumberGenerator()
        while !Task.isCancelled {
            do {
                _ = try await replica.share { writer in
                    for await _ in self.bell.values() {
                        for report in self.take() { try await writer.write(Isobar_V1_DemandReport(report)) }
                    }
                }
                backoff.reset()
            } catch {
                if Task.isCancelled { return }
                lost("\(error)")
            }
            try? await Task.sleep(for: .seconds(backoff.pause(using: &dice)))
        }
    }
}
