package import FleetModel

/// Round trips between regions: measured where a link of the gossip joins them, estimated by coordinates elsewhere.
package struct RoundTripMatrix: Sendable {
    /// What is known of a pair of regions.
    package struct Entry: Hashable, Sendable {
        /// In seconds.
        package var roundTrip: Seconds
        package var isMeasured: Bool
    }

    private struct Pair: Hashable, Comparable {
        var a: RegionName
        var b: RegionName

        init(_ one: RegionName, _ other: RegionName) {
            (self.a, self.b) = one < other ? (one, other) : (other, one)
        }

        static func < (lhs: Self, rhs: Self) -> Bool { (lhs.a, lhs.b) < (rhs.a, rhs.b) }
    }

    private struct Measured {
        var value: RegionRoundTrip
        var at: Seconds
        /// Measured by this hub or by an agent that told it, so that it is this hub's to tell others.
        var isOwn: Bool
    }

    /// A measurement counts for this long, in seconds: distances between regions do not change often.
    package static let lifetime: Seconds = 3_600

    /// More pairs than this are refused.
    package static let pairsMax = 65_536

    private var measured: [Pair: Measured] = [:]
    private var coordinates: [RegionName: NetworkCoordinate] = [:]

    package init() {}

    /// Takes a measurement.
    ///
    /// - Parameters:
    ///   - value: Two regions and what was measured between them, in either direction.
    ///   - isOwn: Whether it was measured here, or told by an agent, and not by another hub.
    ///   - now: The receiver's clock.
    package mutating func take(_ value: RegionRoundTrip, isOwn: Bool, now: Seconds) {
        guard value.minimum >= 0, value.minimum <= value.smooth, value.smooth < 60 else { return }
        let pair = Pair(value.source, value.target)
        if let held = self.measured[pair] {
            // Several links join the same two regions; the shortest tells the distance, the others their queues too.
            if held.value.minimum < value.minimum, now - held.at < RoundTripEstimate.window { return }
        } else {
            guard self.measured.count < Self.pairsMax else { return }
        }
        self.measured[pair] = Measured(value: value, at: now, isOwn: isOwn)
    }

    /// What this hub has to tell the others, sorted.
    package func own(now: Seconds) -> [RegionRoundTrip] {
        self.measured.filter { $0.value.isOwn && now - $0.value.at < Self.lifetime }
            .sorted { $0.key < $1.key }.map(\.value.value)
    }

    /// One step of every measured pair's spring; called about once a second, it settles within a minute.
    package mutating func settle(now: Seconds) {
        for (pair, measured) in self.measured.sorted(by: { $0.key < $1.key })
        where pair.a != pair.b && now - measured.at < Self.lifetime {
            var a = self.coordinates[pair.a] ?? NetworkCoordinate(seed: pair.a)
            var b = self.coordinates[pair.b] ?? NetworkCoordinate(seed: pair.b)
            let before = a
            a.move(toward: b, roundTrip: measured.value.minimum)
            b.move(toward: before, roundTrip: measured.value.minimum)
            self.coordinates[pair.a] = a
            self.coordinates[pair.b] = b
        }
    }

    /// The round trip of two regions: measured within the hour, or estimated, or `nil` when one of them was never
    /// measured against anything.
    package func roundTrip(_ a: RegionName, _ b: RegionName, now: Seconds) -> Entry? {
        if let measured = self.measured[Pair(a, b)], now - measured.at < Self.lifetime {
            return Entry(roundTrip: measured.value.minimum, isMeasured: true)
        }
        guard let from = self.coordinates[a], let to = self.coordinates[b] else { return nil }
        return Entry(roundTrip: from.distance(to: to), isMeasured: false)
    }

    /// Every region that was measured against another, sorted.
    package var regions: [RegionName] {
        self.measured.keys.reduce(into: Set<RegionName>()) { $0.formUnion([$1.a, $1.b]) }.sorted()
    }
}

/// A place in a space in which distances are round trips: three dimensions, and a height for the way to the backbone.
///
/// Source: Dabek, Cox, Kaashoek, Morris, "Vivaldi: a decentralized network coordinate system", SIGCOMM 2004, with
/// height vectors and c_e = c_c = 0.25. Here one hub holds all coordinates, so both ends of a spring move at once.
package struct NetworkCoordinate: Hashable, Sendable {
    private static let correction = 0.25
    private static let heightFloor: Seconds = 0.000_1

    private var x: Seconds
    private var y: Seconds
    private var z: Seconds
    private var height: Seconds = NetworkCoordinate.heightFloor
    /// How wrong it may be, as a share of the distance: 1 knows nothing.
    package private(set) var error = 1.0

    /// Begins a millisecond from the origin, each region in its own direction, so that springs have a direction.
    package init(seed: RegionName) {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in seed.text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        func part(_ shift: UInt64) -> Seconds { (Double((hash >> shift) & 0xffff) / 65_535 - 0.5) / 1_000 }
        (self.x, self.y, self.z) = (part(0), part(16), part(32))
    }

    /// The estimated round trip, in seconds.
    package func distance(to other: Self) -> Seconds {
        self.flat(to: other) + self.height + other.height
    }

    private func flat(to other: Self) -> Seconds {
        let (dx, dy, dz) = (self.x - other.x, self.y - other.y, self.z - other.z)
        return (dx * dx + dy * dy + dz * dz).squareRoot()
    }

    /// Gives way to one spring.
    mutating func move(toward other: Self, roundTrip: Seconds) {
        guard roundTrip > 0 else { return }
        let estimate = self.distance(to: other)
        let weight = self.error / max(self.error + other.error, 1e-9)
        let wrong = min(1, abs(estimate - roundTrip) / roundTrip)
        self.error = max(0.02, wrong * Self.correction * weight + self.error * (1 - Self.correction * weight))
        let force = Self.correction * weight * (roundTrip - estimate)
        let length = max(self.flat(to: other), 1e-6)
        self.x += force * (self.x - other.x) / length
        self.y += force * (self.y - other.y) / length
        self.z += force * (self.z - other.z) / length
        self.height = max(Self.heightFloor, self.height + force * (self.height + other.height) / max(estimate, 1e-6))
    }
}
