import FleetModel
import Testing

@testable import EtcdCare

@Suite("Tidying of members")
struct HousekeepingTests {
    private static let mebibyte: Int64 = 1 << 20

    private static func member(
        _ id: UInt64,
        size: Int64,
        used: Int64,
        leader: UInt64 = 1,
        full: Bool = false
    ) throws
        -> EtcdStanding
    {
        EtcdStanding(
            address: try EndpointAddress("10.0.0.\(id):2379"),
            id: id,
            leader: leader,
            size: size * self.mebibyte,
            used: used * self.mebibyte,
            version: "3.4.23",
            faults: full ? ["memberID:\(id) alarm:NOSPACE "] : []
        )
    }

    @Test("one member at a time, the leader last and after it has handed over, with pauses between")
    func order() throws {
        var house = Housekeeping(quota: 2 << 30)
        let grown = try (1...3).map { try Self.member(UInt64($0), size: 300, used: 20) }
        #expect(house.next(grown, now: 0) == .defragment(grown[1].address))
        var after = grown
        after[1] = try Self.member(2, size: 20, used: 20)
        #expect(house.next(after, now: 29) == nil, "the member that was stopped catches up first")
        #expect(house.next(after, now: 30) == .defragment(grown[2].address))
        after[2] = try Self.member(3, size: 20, used: 20)
        #expect(house.next(after, now: 60) == .moveLeader(from: grown[0].address, to: 2))
        let moved = try [
            Self.member(1, size: 300, used: 20, leader: 2), Self.member(2, size: 20, used: 20, leader: 2),
            Self.member(3, size: 20, used: 20, leader: 2),
        ]
        #expect(house.next(moved, now: 90) == .defragment(grown[0].address))
    }

    @Test("not when it is not worth it, nor while a member is away or nobody leads")
    func not() throws {
        var house = Housekeeping(quota: 2 << 30)
        #expect(house.next([try Self.member(1, size: 60, used: 1)], now: 0) == nil, "60 MiB are not worth a stop")
        #expect(house.next([try Self.member(1, size: 900, used: 500)], now: 0) == nil, "more than half is in use")
        let grown = try Self.member(1, size: 900, used: 100)
        #expect(house.next([grown, nil], now: 0) == nil)
        #expect(house.next([try Self.member(1, size: 900, used: 100, leader: 0)], now: 0) == nil)
        let split = [grown, try Self.member(2, size: 20, used: 20, leader: 2)]
        #expect(house.next(split, now: 0) == nil, "they do not agree on who leads")
        #expect(house.next([grown], now: 0) == .defragment(grown.address), "one alone has nobody to hand over to")
    }

    @Test("a full member is made smaller however little comes back, and then takes writes again")
    func full() throws {
        var house = Housekeeping(quota: 64 * Self.mebibyte)
        let full = try Self.member(1, size: 64, used: 40, full: true)
        #expect(house.next([full], now: 0) == .defragment(full.address))
        let made = try Self.member(1, size: 10, used: 10, full: true)
        #expect(house.next([made], now: 40) == .disarm(member: 1, at: full.address))
        #expect(house.next([try Self.member(1, size: 63, used: 63, full: true)], now: 80) == nil, "it is really full")
    }
}

@Suite("What the store lets go of")
struct CompactionTests {
    @Test("changes older than ten minutes go, each minute, and nothing younger")
    func marks() {
        var compaction = Compaction()
        var dropped: [Int64] = []
        for minute in 0..<30 {
            // Two revisions a second.
            let now = Double(minute) * 60
            if let before = compaction.note(Int64(minute) * 120, now: now) { dropped.append(before) }
        }
        #expect(dropped == (0..<20).map { Int64($0) * 120 })
    }

    @Test("after a gap, the newest that is old enough counts")
    func gap() {
        var compaction = Compaction()
        #expect(compaction.note(10, now: 0) == nil)
        #expect(compaction.note(20, now: 60) == nil)
        #expect(compaction.note(30, now: 700) == 20)
        #expect(compaction.note(31, now: 760) == nil)
        #expect(compaction.note(40, now: 1_300) == 30)
    }
}

@Suite("Pauses before a member is started again")
struct RestartPauseTests {
    @Test("double up to half a minute, and begin anew after a minute that went well")
    func doubles() {
        var pauses = RestartPause()
        #expect((0..<8).map { _ in pauses.pause(ran: 1) } == [0.5, 1, 2, 4, 8, 16, 30, 30])
        #expect(pauses.pause(ran: 60) == 0.5)
        #expect(pauses.pause(ran: 59) == 1)
    }
}
