import FleetModel
import GRPCCore
import GossipTransport
import Logging
import Observability
import PlanStream
import ServiceLifecycle
import WireProtocol
import WireTransport

/// This replica's connection to every other one: what its gateways report goes over it, and the gossip.
///
/// So the leader hears every gateway, whichever replicas the gateway holds, and whoever leads next has heard it too.
struct ReplicaMesh: Service {
    let hub: Hub
    let own: ReplicaMember

    func run() async {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                var known: Set<ReplicaMember> = []
                for await members in self.hub.members.values() {
                    let others = Set(members).subtracting([self.own])
                    for member in others.subtracting(known).sorted(by: { $0.name < $1.name }) {
                        group.addTask { await self.share(with: member) }
                    }
                    known = others
                }
            }
        }
    }

    /// Until the replica is gone from the store.
    private func share(with member: ReplicaMember) async {
        let client: WireClient
        do {
            client = try WireClient(
                to: try EndpointAddress(member.address),
                field: "advertise of \(member.name)",
                role: .hub,
                credentials: self.hub.links
            )
        } catch {
            self.hub.logger.error("replica not reached", metadata: ["replica": "\(member.name)", "reason": "\(error)"])
            return
        }
        let outbox = self.hub.outbox(to: member)
        defer { self.hub.close(outboxTo: member) }
        await withTaskGroup(of: Void.self) { group in
            // It ends when it is cancelled, below; an error would come back with every stream.
            group.addTask { try? await client.run() }
            group.addTask {
                await outbox.run(to: client.client) { reason in
                    self.hub.logger.debug(
                        "replica stream lost",
                        metadata: ["replica": "\(member.name)", "reason": "\(reason)"]
                    )
                }
            }
            let streams = self.hub.streams
            group.addTask { await GossipTalk(streams, withHubOver: member.name).run(over: client.client) }
            group.addTask {
                for await members in self.hub.members.values() where !members.contains(member) { return }
            }
            await group.next()
            group.cancelAll()
        }
    }
}
