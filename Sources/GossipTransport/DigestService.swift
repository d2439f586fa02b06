package import FleetModel
package import GRPCCore
package import WireProtocol

/// What the hub does with the messages of agents; called from many streams at once.
package protocol DigestReceiver: Sendable {
    /// Gives an agent that starts its incarnation, greater than any before it in its cluster.
    func register(cluster: ClusterName, region: RegionName, agent: AgentName) async throws -> UInt64

    /// Takes one frame.
    ///
    /// - Returns: `nil` when it was taken, or why it was dropped.
    func receive(_ frame: DigestFrame) -> String?

    /// A message could not be read; it was dropped and the stream goes on.
    func refused(_ error: WireError)
}

/// The hub's end of the agents' streams.
package struct DigestService<Receiver: DigestReceiver>: Isobar_V1_Digests.SimpleServiceProtocol {
    private let receiver: Receiver

    package init(receiver: Receiver) { self.receiver = receiver }

    package func register(
        request: Isobar_V1_RegisterAgent,
        context: ServerContext
    ) async throws -> Isobar_V1_Registration {
        try context.requirePeer(toSpeakFor: request.cluster)
        do {
            var registration = Isobar_V1_Registration()
            registration.incarnation = try await self.receiver.register(
                cluster: try ClusterName(request.cluster),
                region: try RegionName(request.region),
                agent: try AgentName(request.agent)
            )
            return registration
        } catch let error as InvalidName {
            throw RPCError(code: .invalidArgument, message: error.description)
        }
    }

    package func publish(
        request: RPCAsyncSequence<Isobar_V1_Frame, any Error>,
        response: RPCWriter<Isobar_V1_FrameAcknowledgement>,
        context: ServerContext
    ) async throws {
        for try await message in request {
            var acknowledgement = Isobar_V1_FrameAcknowledgement()
            acknowledgement.id = message.id
            // One bad message is dropped here, inside the loop: it must not end the stream.
            do throws(WireError) {
                if let stranger = context.peer?.refusal(speakingFor: message.id.cluster) {
                    acknowledgement.refusal = stranger
                } else {
                    acknowledgement.refusal = self.receiver.receive(try message.model()) ?? ""
                }
            } catch {
                self.receiver.refused(error)
                acknowledgement.refusal = error.description
            }
            try await response.write(acknowledgement)
        }
    }
}
