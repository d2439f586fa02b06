package import FleetModel

/// One pool's digest in 60 bytes: fixed-point numbers at fixed places, little-endian.
///
/// docs/reference/digest.md has every field with its unit, resolution and range; a test holds the two together.
/// The first byte is the version, which differs only when old readers cannot go on. The second is the length: a newer
/// writer adds fields behind the last one, and an older reader skips what it does not know.
package enum PackedDigest {
    /// The version that is written, and the only one that is read.
    package static let version: UInt8 = 1
    /// The most bytes that a digest may have, with all fields of any later writer of this version.
    package static let longest = 96
    /// The bytes of the first writer of this version: what every writer has.
    package static let shortest = 60
    /// The bytes of all fields that are known here.
    package static let length = PackedField.allCases.reduce(2) { max($0, $1.offset + $1.width) }

    /// The bytes of a digest, without the name of its pool.
    ///
    /// A number over its field's range is written as the greatest one, a number above zero is never written as zero,
    /// and one that is negative or no number is written as unknown.
    package static func bytes(of digest: PoolDigest) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Self.length)
        bytes[0] = Self.version
        bytes[1] = UInt8(Self.length)
        func put(_ field: PackedField, _ steps: UInt64) {
            for place in 0..<field.width {
                bytes[field.offset + place] = UInt8(truncatingIfNeeded: steps >> (8 * UInt64(place)))
            }
        }
        func put(_ field: PackedField, _ value: Double?) { put(field, field.steps(of: value)) }
        func put(_ field: PackedField, _ value: Int?) { put(field, value.map(Double.init)) }

        put(.state, digest.state.code)
        put(.trouble, digest.trouble?.code ?? 0)
        put(.endpointsReady, digest.endpointsReady)
        put(.endpointsKnown, digest.endpointsKnown)
        put(.running, digest.running)
        put(.waiting, digest.waiting)
        put(.kvMean, digest.kvMean.map { min($0, 1) })
        put(.kvMax, digest.kvMax.map { min($0, 1) })
        put(.errorShare, digest.errorShare.map { min($0, 1) })
        put(.readingAge, digest.readingAge)
        put(.capacity, digest.capacity)
        put(.freeSeats, digest.freeSeats)
        put(.unloadedTTFT, digest.unloadedTTFT)
        put(.queueScale, digest.queueScale)
        put(.requestRate, digest.requestRate)
        put(.promptTokenRate, digest.promptTokenRate)
        put(.generationTokenRate, digest.generationTokenRate)
        put(.loraSet, digest.loraSet)
        return bytes
    }

    /// Reads the bytes of a digest, all of it and nothing else, of a pool whose name travels beside them.
    ///
    /// - Throws: ``WireError`` naming the field that does not hold what it should.
    package static func digest(of pool: PoolName, from bytes: [UInt8]) throws(WireError) -> PoolDigest {
        guard bytes.count >= 2 else {
            throw WireError(field: "digests.packed", reason: "\(bytes.count) bytes, less than a version and a length")
        }
        guard bytes[0] == Self.version else {
            let reason = "version \(bytes[0]), and this program reads version \(Self.version); update the older one"
            throw WireError(field: "digests.packed", reason: reason)
        }
        guard bytes.count == Int(bytes[1]), (Self.shortest...Self.longest).contains(bytes.count) else {
            let reason =
                "\(bytes.count) bytes that say to be \(bytes[1]), instead of \(Self.shortest) to \(Self.longest)"
            throw WireError(field: "digests.packed", reason: reason)
        }
        func steps(_ field: PackedField) -> UInt64 {
            (0..<field.width).reduce(0) { $0 | UInt64(bytes[field.offset + $1]) << (8 * UInt64($1)) }
        }
        func quantity(_ field: PackedField) -> Double? { field.value(of: steps(field)) }
        func count(_ field: PackedField) -> Int? { quantity(field).map { Int($0) } }
        func known(_ field: PackedField) throws(WireError) -> Int {
            guard let value = count(field) else { throw WireError(field: field.path, reason: "is unknown") }
            return value
        }
        func share(_ field: PackedField) throws(WireError) -> Double? {
            guard let value = quantity(field) else { return nil }
            guard value <= 1 else { throw WireError(field: field.path, reason: "\(value) is no share from 0 to 1") }
            return value
        }
        guard let state = ClusterState.allCases.first(where: { $0.code == steps(.state) }) else {
            throw WireError(field: PackedField.state.path, reason: "\(steps(.state)) is no cluster state")
        }
        return PoolDigest(
            pool: pool,
            state: state,
            // A later writer may know more troubles; the state says what to do in any case.
            trouble: PoolTrouble.allCases.first { $0.code == steps(.trouble) },
            endpointsReady: try known(.endpointsReady),
            endpointsKnown: try known(.endpointsKnown),
            readingAge: quantity(.readingAge),
            running: count(.running),
            waiting: count(.waiting),
            kvMean: try share(.kvMean),
            kvMax: try share(.kvMax),
            errorShare: try share(.errorShare),
            capacity: quantity(.capacity),
            freeSeats: count(.freeSeats),
            unloadedTTFT: quantity(.unloadedTTFT),
            queueScale: quantity(.queueScale),
            requestRate: quantity(.requestRate),
            promptTokenRate: quantity(.promptTokenRate),
            generationTokenRate: quantity(.generationTokenRate),
            loraSet: steps(.loraSet)
        )
    }
}

/// The fields of a packed digest, in the order of their places.
package enum PackedField: String, CaseIterable, Sendable {
    case state, trouble, endpointsReady, endpointsKnown, running, waiting, kvMean, kvMax, errorShare, readingAge
    case capacity, freeSeats, unloadedTTFT, queueScale, requestRate, promptTokenRate, generationTokenRate, loraSet

    /// Where the field begins.
    package var offset: Int {
        switch self {
        case .state: 2
        case .trouble: 3
        case .endpointsReady: 4
        case .endpointsKnown: 6
        case .running: 8
        case .waiting: 12
        case .kvMean: 16
        case .kvMax: 18
        case .errorShare: 20
        case .readingAge: 22
        case .capacity: 24
        case .freeSeats: 28
        case .unloadedTTFT: 32
        case .queueScale: 36
        case .requestRate: 40
        case .promptTokenRate: 44
        case .generationTokenRate: 48
        case .loraSet: 52
        }
    }

    /// How many bytes it has.
    package var width: Int {
        switch self {
        case .state, .trouble: 1
        case .endpointsReady, .endpointsKnown, .kvMean, .kvMax, .errorShare, .readingAge: 2
        case .running, .waiting, .capacity, .freeSeats, .unloadedTTFT, .queueScale, .requestRate, .promptTokenRate,
            .generationTokenRate:
            4
        case .loraSet: 8
        }
    }

    /// Steps in one unit: the resolution is one step, in requests, seconds, per second, or of a share.
    package var stepsPerUnit: Double {
        switch self {
        case .state, .trouble, .endpointsReady, .endpointsKnown, .running, .waiting, .freeSeats, .loraSet: 1
        case .kvMean, .kvMax, .errorShare: 10_000
        case .readingAge, .capacity, .requestRate: 1_000
        case .unloadedTTFT, .queueScale: 1_000_000
        case .promptTokenRate, .generationTokenRate: 10
        }
    }

    /// All bits set: nobody knows.
    private var unknown: UInt64 { UInt64.max >> (64 - 8 * UInt64(self.width)) }

    /// The greatest number that the field holds.
    package var greatest: Double { Double(self.unknown - 1) / self.stepsPerUnit }

    /// What an error calls it.
    var path: String { "digests.packed.\(self.rawValue)" }

    fileprivate func steps(of value: Double?) -> UInt64 {
        guard let value, value >= 0 else { return self.unknown }
        let steps = (value * self.stepsPerUnit).rounded()
        guard steps < Double(self.unknown) else { return self.unknown - 1 }
        return value > 0 ? max(1, UInt64(steps)) : 0
    }

    fileprivate func value(of steps: UInt64) -> Double? {
        steps == self.unknown ? nil : Double(steps) / self.stepsPerUnit
    }
}

extension ClusterState {
    fileprivate var code: UInt64 {
        switch self {
        case .active: 1
        case .draining: 2
        case .down: 3
        }
    }
}

extension PoolTrouble {
    fileprivate var code: UInt64 {
        switch self {
        case .unread: 1
        case .blind: 2
        }
    }
}
