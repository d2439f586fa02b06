import FleetModel
import GossipCore
import GossipTransport
import Logging
import Observability
import ServiceLifecycle
import StateStore
import WireProtocol

/// This replica's end of the gossip: it begins to listen once the store has given its number and the keys of frames,
/// and asks the store nothing after that.
struct MeshLoop: Service {
    let hub: Hub
    let store: any StateStore
    let region: RegionName?

    func run() async {
        await cancelWhenGracefulShutdown {
            guard let (number, keys) = await self.load() else { return }
            let mesh = MeshHub(
                hub: number,
                region: self.region,
                keys: keys,
                transport: self.hub.streams,
                owner: self.hub,
                now: { self.hub.clock.now }
            )
            self.hub.begin(mesh)
            self.hub.streams.introduce(Introduction(.hub(number), name: self.hub.name, region: self.region)) { proof in
                try? keys.open(proof).header
            }
            self.hub.logger.info("gossip begins", metadata: ["hub": "\(number.number)"])
            await withDiscardingTaskGroup { group in
                group.addTask { await mesh.run() }
                group.addTask { await self.part(from: mesh) }
            }
        }
    }

    /// However long the store is away: frames that nobody can open are of no use.
    private func load() async -> (HubID, FrameKeys)? {
        var backoff = Backoff()
        var dice = SystemRandomNumberGenerator()
        while !Task.isCancelled {
            do {
                let keys = try await self.hub.frameKeys()
                return (try await HubNumbers(store: self.store).number(of: self.hub.name), keys)
            } catch {
                if Task.isCancelled { return nil }
                self.hub.logger.warning("gossip cannot begin yet", metadata: ["reason": "\(error)"])
                try? await Task.sleep(for: .seconds(backoff.pause(using: &dice)))
            }
        }
        return nil
    }

    /// How long a replica that is gone from the store may be silent before it counts for nothing, in seconds.
    static let partAfter: Seconds = 60

    /// Takes replicas out of the mesh that are neither in the store nor heard.
    private func part(from mesh: MeshHub) async {
        while !Task.isCancelled {
            try? await Task.sleep(for: .seconds(5))
            let known = Set((self.hub.members.current ?? []).map(\.name))
            let now = self.hub.clock.now
            for member in mesh.withMesh({ $0.members(now: now) }) {
                guard member.silence ?? .infinity > Self.partAfter, let name = mesh.name(of: member.hub),
                    !known.contains(name)
                else { continue }
                mesh.withMesh { $0.part(member.hub) }
                self.hub.logger.info("replica left the mesh", metadata: ["replica": "\(name)"])
            }
        }
    }
}
