package import FleetModel

/// How one member is, as it says itself.
package struct EtcdStanding: Hashable, Sendable {
    package var address: EndpointAddress
    package var id: UInt64
    /// The member that it follows, or itself; 0 when it knows none.
    package var leader: UInt64
    /// Bytes of its file.
    package var size: Int64
    /// Bytes of it that hold something.
    package var used: Int64
    package var version: String
    /// What it says is wrong, in its own words.
    package var faults: [String]

    package init(
        address: EndpointAddress,
        id: UInt64,
        leader: UInt64,
        size: Int64,
        used: Int64,
        version: String,
        faults: [String]
    ) {
        self.address = address
        self.id = id
        self.leader = leader
        self.size = size
        self.used = used
        self.version = version
        self.faults = faults
    }

    /// Whether it takes no more writes, for want of room.
    package var isFull: Bool { self.faults.contains { $0.contains("NOSPACE") } }
}

/// When a member's file is made smaller, as a value.
///
/// Compacted room is used again, so a file that has grown does no harm; giving it back stops a member for a moment. So
/// it is done one member at a time, only while all are well, only when it is worth it, and the leader last, after it
/// has handed over.
package struct Housekeeping: Sendable {
    package enum Step: Hashable, Sendable {
        case defragment(EndpointAddress)
        /// Let another one lead, to come to this one's turn.
        case moveLeader(from: EndpointAddress, to: UInt64)
        /// Take writes again.
        case disarm(member: UInt64, at: EndpointAddress)
    }

    /// Bytes that must come back.
    package static let worthwhile: Int64 = 64 << 20
    /// The share of the file that must come back.
    package static let share = 0.5
    /// Between two steps, in seconds: the member that was stopped catches up.
    package static let pause: Seconds = 30
    /// The part of the quota below which a member that was full takes writes again.
    package static let roomy = 0.8

    private let quota: Int64
    private var nextAt: Seconds = -.infinity

    package init(quota: Int64) { self.quota = quota }

    /// - Parameters:
    ///   - members: How they are; `nil` for one that does not answer.
    ///   - now: On the caller's clock.
    /// - Returns: The one thing to do now, or nothing.
    package mutating func next(_ members: [EtcdStanding?], now: Seconds) -> Step? {
        let well = members.compactMap(\.self)
        guard now >= self.nextAt, well.count == members.count, let leader = well.first?.leader, leader != 0,
            well.allSatisfy({ $0.leader == leader })
        else { return nil }
        let step = Self.step(well, leader, quota: self.quota)
        if step != nil { self.nextAt = now + Self.pause }
        return step
    }

    private static func step(_ members: [EtcdStanding], _ leader: UInt64, quota: Int64) -> Step? {
        let due = members.filter(self.isDue)
        if let follower = due.first(where: { $0.id != leader }) { return .defragment(follower.address) }
        if let own = due.first {
            // With one member there is nobody to hand over to.
            guard let next = members.first(where: { $0.id != leader }) else { return .defragment(own.address) }
            return .moveLeader(from: own.address, to: next.id)
        }
        let full = members.first { $0.isFull && Double($0.size) < Double(quota) * self.roomy }
        return full.map { .disarm(member: $0.id, at: $0.address) }
    }

    private static func isDue(_ member: EtcdStanding) -> Bool {
        let free = member.size - member.used
        // Of a member that takes no writes any more, everything that comes back is worth it; and it counts what was
        // compacted last as used until it writes again.
        if member.isFull { return free >= 1 << 20 }
        return free >= self.worthwhile && Double(free) >= Double(member.size) * self.share
    }
}
