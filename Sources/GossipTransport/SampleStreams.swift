package import FleetModel
package import GRPCCore
package import WireProtocol

/// An agent's end of the streams to the gateways of its region.
package struct SampleService: Isobar_V1_Samples.SimpleServiceProtocol {
    private let batches: NewestWins<[SampleBatch]>
    private let now: @Sendable () -> Seconds

    /// - Parameters:
    ///   - batches: The newest readings, one batch a pool.
    ///   - now: The clock by which the samples were taken.
    package init(batches: NewestWins<[SampleBatch]>, now: @escaping @Sendable () -> Seconds) {
        self.batches = batches
        self.now = now
    }

    package func watch(
        request: Isobar_V1_WatchSamples,
        response: RPCWriter<Isobar_V1_SampleBatch>,
        context: ServerContext
    ) async throws {
        for await batches in self.batches.values() {
            for batch in batches { try await response.write(Isobar_V1_SampleBatch(batch, now: self.now())) }
        }
    }
}

/// What happened on a gateway's stream from one agent.
package enum WatcherEvent: Sendable {
    case batch(SampleBatch)
    /// A message could not be read; it was dropped and the stream goes on.
    case refused(WireError)
    /// The stream ended; another one is made after a pause.
    case lost(reason: String)
}

/// A gateway's end of its stream from one agent.
package struct SampleWatcher<Transport: ClientTransport>: Sendable {
    private let client: Isobar_V1_Samples.Client<Transport>
    private let gateway: GatewayName
    private let mayShow: @Sendable (ClusterName) -> Bool
    private let now: @Sendable () -> Seconds
    private let onEvent: @Sendable (WatcherEvent) -> Void

    /// - Parameters:
    ///   - client: The connection to the agent.
    ///   - gateway: Who watches.
    ///   - mayShow: Whether the agent at the other end may show a cluster's samples.
    ///   - now: The clock on which the samples' times are to stand.
    ///   - onEvent: Called with every batch and every fault; it must not block.
    package init(
        client: GRPCClient<Transport>,
        gateway: GatewayName,
        mayShow: @escaping @Sendable (ClusterName) -> Bool = { _ in true },
        now: @escaping @Sendable () -> Seconds,
        onEvent: @escaping @Sendable (WatcherEvent) -> Void
    ) {
        self.client = Isobar_V1_Samples.Client(wrapping: client)
        self.gateway = gateway
        self.mayShow = mayShow
        self.now = now
        self.onEvent = onEvent
    }

    /// Watches over as many streams as it takes; ends when cancelled.
    package func run() async {
        var backoff = Backoff()
        var dice = SystemRandomNumberGenerator()
        var request = Isobar_V1_WatchSamples()
        request.gateway = self.gateway.text
        while !Task.isCancelled {
            let isHeard = Once()
            do {
                try await self.client.watch(request) { response in
                    for try await message in response.messages {
                        isHeard.happens()
                        do throws(WireError) {
                            let batch = try message.model(now: self.now())
                            guard self.mayShow(batch.cluster) else {
                                throw WireError(field: "cluster", reason: "\(batch.cluster) is not the sender's own")
                            }
                            self.onEvent(.batch(batch))
                        } catch {
                            self.onEvent(.refused(error))
                        }
                    }
                }
                self.onEvent(.lost(reason: "the agent ended the stream"))
            } catch {
                if Task.isCancelled { return }
                self.onEvent(.lost(reason: "\(error)"))
            }
            // An agent that has spoken is no reason to wait long.
            if isHeard.happened { backoff.reset() }
            try? await Task.sleep(for: .seconds(backoff.pause(using: &dice)))
        }
    }
}
