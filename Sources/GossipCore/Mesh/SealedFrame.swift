package import FleetModel

/// The number by which frames name an agent replica.
///
/// The hub gives it at registration, and never twice.
package struct AgentID: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let number: UInt32

    package init(_ number: UInt32) { self.number = number }

    package var description: String { "agent \(self.number)" }

    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.number < rhs.number }
}

/// The number of a hub replica: 0 to 15.
package struct HubID: Hashable, Sendable, Comparable, CustomStringConvertible {
    package static let countMax = 16

    package let number: UInt8

    /// `nil` unless 0 to 15.
    package init?(_ number: Int) {
        guard (0..<Self.countMax).contains(number) else { return nil }
        self.number = UInt8(number)
    }

    package var description: String { "hub \(self.number)" }

    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.number < rhs.number }
}

/// A set of hub replicas, two bytes on the wire.
package struct HubSet: Hashable, Sendable {
    package var bits: UInt16

    package init(bits: UInt16 = 0) { self.bits = bits }

    package var isEmpty: Bool { self.bits == 0 }
    package var count: Int { self.bits.nonzeroBitCount }

    package func contains(_ hub: HubID) -> Bool { self.bits & (1 << UInt16(hub.number)) != 0 }

    package mutating func insert(_ hub: HubID) { self.bits |= 1 << UInt16(hub.number) }

    package func subtracting(_ other: HubSet) -> HubSet { HubSet(bits: self.bits & ~other.bits) }

    package func union(_ other: HubSet) -> HubSet { HubSet(bits: self.bits | other.bits) }
}

/// (incarnation, sequence) of one agent's frame: the order of its register.
package struct FrameStamp: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// Older than every frame.
    package static let none = FrameStamp(order: 0)

    /// The incarnation above the sequence: greater means newer.
    package let order: UInt64

    package init(order: UInt64) { self.order = order }

    /// - Parameters:
    ///   - incarnation: From the store; grows with every start of the agent.
    ///   - sequence: Grows with every frame of one incarnation.
    package init(incarnation: UInt32, sequence: UInt32) {
        self.order = UInt64(incarnation) << 32 | UInt64(sequence)
    }

    package var incarnation: UInt32 { UInt32(truncatingIfNeeded: self.order >> 32) }
    package var sequence: UInt32 { UInt32(truncatingIfNeeded: self.order) }

    package var description: String { "\(self.incarnation).\(self.sequence)" }

    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.order < rhs.order }
}

/// The clear part of a frame.
///
/// The seal covers it, so nobody on the way can change it.
package struct FrameHeader: Hashable, Sendable {
    package var agent: AgentID
    package var stamp: FrameStamp
    /// When the next frame comes at the latest, in seconds.
    package var interval: Seconds
    /// The hubs that acknowledged this agent lately.
    package var reach: HubSet

    package init(agent: AgentID, stamp: FrameStamp, interval: Seconds, reach: HubSet = HubSet()) {
        self.agent = agent
        self.stamp = stamp
        self.interval = interval
        self.reach = reach
    }
}

/// An agent's digests as they travel: sealed once for each stamp, and the same bytes on every path.
package struct SealedFrame: Hashable, Sendable {
    package var header: FrameHeader
    /// Header, encrypted digests and tag: opaque here.
    package var bytes: [UInt8]

    package init(header: FrameHeader, bytes: [UInt8]) {
        self.header = header
        self.bytes = bytes
    }
}

/// A frame on its way, with the time that it has spent there.
package struct CarriedFrame: Hashable, Sendable {
    package var frame: SealedFrame
    /// Since the agent made it: what each hop held it, and half of each link's least round trip, in seconds.
    ///
    /// Not under the seal, since it changes on the way.
    package var age: Seconds

    package init(frame: SealedFrame, age: Seconds) {
        self.frame = frame
        self.age = age
    }
}
