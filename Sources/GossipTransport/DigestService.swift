package import FleetModel
import Foundation
package import GRPCCore
import SwiftProtobuf
package import WireProtocol

/// What the hub does with the messages of agents; called from many streams at once.
package protocol DigestReceiver: Sendable {
    /// Gives an agent that starts its incarnation, greater than any before it in its cluster, and the key of it.
    func register(cluster: ClusterName, region: RegionName, agent: AgentName) async throws -> AgentRegistration

    /// Opens a sealed frame.
    ///
    /// - Throws: ``SealFault``, or whatever keeps the hub from its keys.
    func open(_ sealed: [UInt8]) async throws -> OpenedFrame

    /// Takes one frame.
    ///
    /// - Returns: `nil` when it was taken, or why it was dropped.
    func receive(_ frame: DigestFrame) -> String?

    /// A message could not be read; it was dropped and the stream goes on.
    func refused(_ error: WireError)
}

/// What an agent gets when it registers.
package struct AgentRegistration: Hashable, Sendable {
    package var incarnation: UInt64
    /// Seals the frames of this incarnation.
    package var key: [UInt8]

    package init(incarnation: UInt64, key: [UInt8]) {
        self.incarnation = incarnation
        self.key = key
    }
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
            let given = try await self.receiver.register(
                cluster: try ClusterName(request.cluster),
                region: try RegionName(request.region),
                agent: try AgentName(request.agent)
            )
            var registration = Isobar_V1_Registration()
            registration.incarnation = given.incarnation
            registration.key = Data(given.key)
            return registration
        } catch let error as InvalidName {
            throw RPCError(code: .invalidArgument, message: error.description)
        }
    }

    package func publish(
        request: RPCAsyncSequence<Isobar_V1_SealedFrame, any Error>,
        response: RPCWriter<Isobar_V1_FrameAcknowledgement>,
        context: ServerContext
    ) async throws {
        for try await message in request {
            let sealed = Array(message.sealed)
            var acknowledgement = Isobar_V1_FrameAcknowledgement()
            if let claim = FrameKeys.claim(of: sealed) { acknowledgement.id = Isobar_V1_FrameID(claim) }
            // One bad message is dropped here, inside the loop: it must not end the stream.
            do {
                acknowledgement.refusal = try await self.take(sealed, from: context.peer) ?? ""
            } catch let error as WireError {
                self.receiver.refused(error)
                acknowledgement.refusal = error.description
            } catch {
                acknowledgement.refusal = "\(error)"
            }
            try await response.write(acknowledgement)
        }
    }

    /// - Returns: Why the frame was dropped, or `nil`.
    private func take(_ sealed: [UInt8], from peer: LinkPeer?) async throws -> String? {
        let opened = try await self.receiver.open(sealed)
        if let stranger = peer?.refusal(speakingFor: opened.id.cluster.text) { return stranger }
        let frame: DigestFrame
        do {
            frame = try Isobar_V1_Frame(serializedBytes: opened.payload).model()
        } catch let error as WireError {
            throw error
        } catch {
            throw WireError(field: "sealed", reason: "holds no frame")
        }
        guard frame.id == opened.id else { throw WireError(field: "id", reason: "\(frame.id) under \(opened.id)") }
        return self.receiver.receive(frame)
    }
}
