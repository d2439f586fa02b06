package import FleetModel
import Foundation
package import GRPCCore
package import WireProtocol

/// Why a hub has no place for an agent, for whoever runs it: names what to do.
package struct RegistrationRefusal: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// What a hub does for agents that start; called from many calls at once.
package protocol AgentRegistry: Sendable {
    /// Gives an agent its number, an incarnation greater than any before it in its cluster, and the key of it.
    ///
    /// - Throws: ``RegistrationRefusal``, or what its store throws.
    func register(cluster: ClusterName, region: RegionName, agent: AgentName) async throws -> AgentRegistration
}

/// The hub's end of registrations.
package struct RegistryService<Registry: AgentRegistry>: Isobar_V1_Registry.SimpleServiceProtocol {
    private let registry: Registry

    package init(registry: Registry) { self.registry = registry }

    package func register(
        request: Isobar_V1_RegisterAgent,
        context: ServerContext
    ) async throws -> Isobar_V1_Registration {
        try context.requirePeer(toSpeakFor: request.cluster)
        do {
            let given = try await self.registry.register(
                cluster: try ClusterName(request.cluster),
                region: try RegionName(request.region),
                agent: try AgentName(request.agent)
            )
            var registration = Isobar_V1_Registration()
            registration.agent = given.agent
            registration.incarnation = given.incarnation
            registration.key = Data(given.key)
            return registration
        } catch let error as InvalidName {
            throw RPCError(code: .invalidArgument, message: error.description)
        } catch let error as RegistrationRefusal {
            throw RPCError(code: .resourceExhausted, message: error.description)
        } catch {
            // The agent shows it to whoever runs it, and tries again.
            throw RPCError(code: .unavailable, message: "\(error)")
        }
    }
}

/// An agent's end of its registration with one hub replica.
package struct Registrar<Transport: ClientTransport>: Sendable {
    private let client: Isobar_V1_Registry.Client<Transport>

    package init(client: GRPCClient<Transport>) { self.client = Isobar_V1_Registry.Client(wrapping: client) }

    /// Asks until the hub answers.
    ///
    /// - Parameters:
    ///   - cluster: The cluster that the agent speaks for.
    ///   - region: Where it is.
    ///   - agent: The agent's name among those of its cluster.
    ///   - failed: Told why a try failed.
    /// - Returns: The incarnation and its key.
    /// - Throws: `CancellationError` when cancelled, or the hub's refusal of the names.
    package func register(
        cluster: ClusterName,
        region: RegionName,
        agent: AgentName,
        failed: @Sendable (String) -> Void
    ) async throws -> AgentRegistration {
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
                let given = try await self.client.register(request, options: options)
                return AgentRegistration(agent: given.agent, incarnation: given.incarnation, key: Array(given.key))
            } catch let error as RPCError where error.code != .invalidArgument {
                try Task.checkCancellation()
                failed("register: \(error.message)")
                try await Task.sleep(for: .seconds(backoff.pause(using: &dice)))
            }
        }
    }
}
