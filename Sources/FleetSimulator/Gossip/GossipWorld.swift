package import FleetModel
package import GossipCore
import TestKit

/// A fleet for the gossip alone: how many, how far apart, and how bad the network between them.
package struct GossipWorld: Hashable, Sendable {
    /// What a lost packet means.
    package enum Transport: String, Hashable, Sendable, CaseIterable {
        /// As over TCP: nothing is lost and nothing overtakes, but a lost message holds up its stream until it is sent
        /// again, after a round trip and 0.2 s for a lone packet, after 1.25 round trips for a longer message.
        case streams
        /// The same, and every packet of a long message may be lost by itself.
        case packets
        /// The message is gone, and messages overtake each other.
        case datagrams
    }

    package var agents = 1_000
    package var regions = 50
    package var hubs = 5
    /// The share of messages that is lost, or of packets, as ``transport`` says.
    package var loss = 0.0
    /// Between regions on opposite sides of the globe, in seconds.
    package var roundTripMax: Seconds = 0.3
    /// The share of each agent's links to hubs that is cut, rounded to whole links.
    package var cutDirect = 0.0
    /// The share of agents whose links are left alone.
    ///
    /// Where all links of the others are cut, somebody has to reach a hub for them.
    package var spared = 0.0
    package var transport = Transport.streams
    package var pools = 4
    /// Bytes of one sealed digest.
    package var digestBytes = 96
    /// Measured time, in seconds, after ``warmup``.
    package var duration: Seconds = 60
    package var warmup: Seconds = 30
    /// When links are cut: agents have registered and know relays by then.
    package var cutAt: Seconds = 10
    /// Agents that die, spread over the measured time.
    package var kills = 10
    /// After the warm-up, half of the regions cannot reach the other half for this long, in seconds.
    package var partition: Seconds = 0
    package var seed: UInt64 = 1
    package var settings = GossipSettings()

    package init() {}

    /// Bytes of one sealed frame: header with a cluster's name of ten bytes, digests and tag.
    package var frameBytes: Int { 36 + self.pools * self.digestBytes + 16 }

    /// Links of one agent that are cut.
    package var linksCut: Int { Int((self.cutDirect * Double(self.hubs)).rounded()) }
}

/// What a link adds to a message, in bytes.
enum Wire {
    /// gRPC's prefix, an HTTP/2 DATA header, a TLS 1.3 record, and IPv4 and TCP with timestamps.
    static let message = 5 + 9 + 22 + 52
    /// One more TCP segment, or a TCP acknowledgement that no answer carries.
    static let segment = 52
    static let segmentBytes = 1_448

    /// All bytes that a message causes.
    ///
    /// A hub answers pushes and forwards at once, and an agent pings: the answer carries the TCP acknowledgement.
    static func bytes(of message: GossipMessage) -> (bytes: Int, segments: Int) {
        let size = message.size
        let segments = max(1, (size + 36 + Self.segmentBytes - 1) / Self.segmentBytes)
        let acknowledgements: Int
        switch message {
        case .push, .forward, .ping: acknowledgements = 0
        default: acknowledgements = (segments + 1) / 2
        }
        return (size + Self.message + Self.segment * (segments - 1 + acknowledgements), segments)
    }
}

/// Places on a globe, and the hubs as far from each other as can be.
struct GossipMap: Sendable {
    /// One way, by region, in seconds.
    let oneWay: [[Seconds]]
    let hubRegions: [Int]
    let names: [RegionName]

    init(_ world: GossipWorld, dice: inout SeededGenerator) {
        let places = (0..<world.regions).map { _ in
            let z = Double.random(in: -1...1, using: &dice)
            let angle = Double.random(in: 0..<(2 * Double.pi), using: &dice)
            let radius = max(0, 1 - z * z).squareRoot()
            return (x: radius * Math.cos(angle), y: radius * Math.sin(angle), z: z)
        }
        let far = world.roundTripMax / 2
        let near = min(0.003, far)
        self.oneWay = places.indices.map { a in
            places.indices.map { b in
                if a == b { return min(0.000_4, far) }
                let (dx, dy) = (places[a].x - places[b].x, places[a].y - places[b].y)
                let dz = places[a].z - places[b].z
                let half = (dx * dx + dy * dy + dz * dz).squareRoot() / 2
                return near + (far - near) * 2 * Math.asin(min(1, half)) / Double.pi
            }
        }
        let oneWay = self.oneWay
        var hubs = [0]
        while hubs.count < world.hubs {
            let next = places.indices.max { a, b in
                (hubs.map { oneWay[a][$0] }.min() ?? 0, a) < (hubs.map { oneWay[b][$0] }.min() ?? 0, b)
            }
            hubs.append(next ?? 0)
        }
        self.hubRegions = Array(hubs.prefix(world.hubs))
        self.names = places.indices.map { RegionName(unchecked: "region-\($0)") }
    }
}
