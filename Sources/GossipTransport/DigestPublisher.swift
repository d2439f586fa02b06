package import FleetModel
import Foundation
package import GRPCCore
package import WireProtocol

/// What happened on an agent's stream to one hub replica.
package enum PublisherEvent: Sendable {
    case registered(incarnation: UInt64)
    case accepted(FrameID)
    case refused(FrameID, reason: String)
    /// The stream ended; it is made anew after the pause, in seconds.
    case lost(reason: String, retryIn: Seconds)
}

/// An agent's end of its stream to one hub replica.
package struct DigestPublisher<Transport: ClientTransport>: Sendable {
    private let client: Isobar_V1_Digests.Client<Transport>
    private let onEvent: @Sendable (PublisherEvent) -> Void

    package init(client: GRPCClient<Transport>, onEvent: @escaping @Sendable (PublisherEvent) -> Void) {
        self.client = Isobar_V1_Digests.Client(wrapping: client)
        self.onEvent = onEvent
    }

    /// Asks for an incarnation and its key until the hub gives them.
    ///
    /// - Throws: `CancellationError` when cancelled, or the hub's refusal of the names.
    package func register(cluster: ClusterName, region: RegionName, agent: AgentName) async throws -> AgentRegistration
    {
        var request = Isobar_V1_RegisterAgent()
        request.cluster = cluster.text
        request.region = region.text
        request.agent = agent.text
        var options = CallOptions.defaults
        options.timeout = .seconds(2)
        var backoff = Backoff()
        var dice = SystemRandomNumberGenerator()
        while true {
            do {
                let registration = try await self.client.register(request, options: options)
                self.onEvent(.registered(incarnation: registration.incarnation))
                return AgentRegistration(incarnation: registration.incarnation, key: Array(registration.key))
            } catch let error as RPCError where error.code != .invalidArgument {
                try Task.checkCancellation()
                let pause = backoff.pause(using: &dice)
                self.onEvent(.lost(reason: "register: \(error.message)", retryIn: pause))
                try await Task.sleep(for: .seconds(pause))
            }
        }
    }

    /// Publishes the newest sealed frame, always, over as many streams as it takes; ends when cancelled.
    package func run(frames: NewestWins<[UInt8]>) async {
        var backoff = Backoff()
        var dice = SystemRandomNumberGenerator()
        while !Task.isCancelled {
            let pause = backoff.pause(using: &dice)
            do {
                try await self.publish(frames.values())
                self.onEvent(.lost(reason: "the hub ended the stream", retryIn: pause))
                backoff.reset()
            } catch {
                if Task.isCancelled { return }
                self.onEvent(.lost(reason: "\(error)", retryIn: pause))
            }
            try? await Task.sleep(for: .seconds(pause))
        }
    }

    private func publish(_ frames: AsyncStream<[UInt8]>) async throws {
        try await self.client.publish { writer in
            for await frame in frames {
                var message = Isobar_V1_SealedFrame()
                message.sealed = Data(frame)
                try await writer.write(message)
            }
        } onResponse: { response in
            for try await acknowledgement in response.messages {
                guard let id = try? acknowledgement.id.model() else { continue }
                self.onEvent(
                    acknowledgement.refusal.isEmpty
                        ? .accepted(id) : .refused(id, reason: acknowledgement.refusal)
                )
            }
        }
    }
}
