import FleetModel
import TestKit

@testable import GossipCore

/// Hubs in lockstep, without a network: messages arrive at once, unless their link is cut.
struct Mesh {
    static let east = RegionName(unchecked: "us-east")

    var dice = SeededGenerator(seed: 7)
    var hubs: [HubMesh] = []
    var now: Seconds = 0
    /// Pairs of hubs that do not hear each other.
    var cut: Set<[Int]> = []
    var learned: [[CarriedFrame]]
    var changes: [[LivenessChange]]

    init(hubs count: Int, settings: GossipSettings = GossipSettings()) {
        let ids = (0..<count).compactMap { HubID($0) }
        self.learned = Array(repeating: [], count: count)
        self.changes = Array(repeating: [], count: count)
        for id in ids {
            self.hubs.append(
                HubMesh(hub: id, region: Self.east, others: ids, settings: settings, now: 0, dice: &self.dice)
            )
        }
    }

    static func frame(
        _ agent: UInt32,
        _ incarnation: UInt32,
        _ sequence: UInt32,
        reach: HubSet = HubSet(),
        bytes: [UInt8] = [1, 2, 3]
    ) -> SealedFrame {
        let stamp = FrameStamp(incarnation: incarnation, sequence: sequence)
        return SealedFrame(
            header: FrameHeader(agent: AgentID(agent), stamp: stamp, interval: 1, reach: reach),
            bytes: bytes
        )
    }

    /// An agent sends a frame to one hub.
    @discardableResult
    mutating func push(_ frame: SealedFrame, to hub: Int, age: Seconds = 0) -> HubMesh.Effects {
        let push = FramePush(carried: CarriedFrame(frame: frame, age: age), sentAt: self.now)
        let effects = self.hubs[hub].receive(.push(push), from: .agent(frame.header.agent), now: self.now)
        self.take(effects, hub: hub)
        return effects
    }

    private mutating func take(_ effects: HubMesh.Effects, hub: Int) {
        self.learned[hub] += effects.learned
        self.changes[hub] += effects.changes
        for outgoing in effects.messages {
            guard case .hub(let to) = outgoing.to else { continue }
            let target = Int(to.number)
            guard !self.cut.contains([min(hub, target), max(hub, target)]) else { continue }
            let answer = self.hubs[target].receive(outgoing.message, from: .hub(self.hubs[hub].hub), now: self.now)
            self.take(answer, hub: target)
        }
    }

    /// Lets time pass; agents that speak send a frame each second to the hub named for them.
    mutating func pass(
        _ seconds: Seconds,
        speakers: [UInt32: (incarnation: UInt32, hub: Int)] = [:],
        asleep: Set<Int> = []
    ) {
        let end = self.now + seconds
        var next = self.now.rounded(.down) + 1
        while self.now < end - 1e-9 {
            self.now += 0.05
            if self.now >= next {
                for (agent, speaker) in speakers.sorted(by: { $0.key < $1.key }) {
                    let sequence = UInt32(next) &+ 100
                    self.push(Self.frame(agent, speaker.incarnation, sequence), to: speaker.hub)
                }
                next += 1
            }
            for hub in self.hubs.indices where !asleep.contains(hub) && self.now >= self.hubs[hub].nextWake {
                self.take(self.hubs[hub].tick(now: self.now), hub: hub)
            }
        }
    }
}
