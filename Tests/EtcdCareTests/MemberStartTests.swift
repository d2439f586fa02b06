import FleetModel
import Testing

@testable import EtcdCare

@Suite("How a member comes into its cluster")
struct MemberStartTests {
    private static func site(_ number: Int) throws -> EtcdSite {
        EtcdSite(
            replica: try ReplicaName("hub-\(number)"),
            client: try EndpointAddress("10.0.0.\(number):2379"),
            peer: try EndpointAddress("10.0.0.\(number):2380")
        )
    }

    private static func settings(_ own: Int = 0, of count: Int = 3) throws -> EtcdLaunch.Settings {
        EtcdLaunch.Settings(
            site: try self.site(own),
            sites: try (0..<count).map(self.site),
            data: "/data",
            certificates: nil,
            quota: 1 << 30,
            election: 1
        )
    }

    private static func peer(_ number: Int, id: UInt64? = nil, name: String? = nil, isKnown: Bool = true) -> EtcdPeer {
        EtcdPeer(
            id: id ?? UInt64(number + 100),
            name: name ?? "hub-\(number)",
            peers: ["http://10.0.0.\(number):2380"],
            clients: isKnown ? ["http://10.0.0.\(number):2379"] : []
        )
    }

    private func start(_ step: MemberStart.Step) -> (state: EtcdLaunch.State, members: [EtcdLaunch.Member])? {
        guard case .start(let launch) = step else { return nil }
        return (launch.state, launch.members)
    }

    @Test("members of a new fleet look for each other for two seconds, then make the cluster together")
    func founding() throws {
        let start = MemberStart(try Self.settings())
        #expect(start.next(hasData: false, answers: [.silent, .silent], waited: 0) == .wait)
        #expect(start.next(hasData: false, answers: [.silent, .silent], waited: 1.9) == .wait)
        let made = try #require(self.start(start.next(hasData: false, answers: [.silent, .silent], waited: 2)))
        #expect(made.state == .new)
        #expect(made.members.map(\.name) == ["hub-0", "hub-1", "hub-2"])
        #expect(made.members.map(\.peer) == (0..<3).map { "http://10.0.0.\($0):2380" })
        let alone = MemberStart(try Self.settings(of: 1))
        #expect(self.start(alone.next(hasData: false, answers: [], waited: 0))?.state == .new)
    }

    @Test("one that comes late to a cluster that the others have made takes its place in it")
    func late() throws {
        let start = MemberStart(try Self.settings())
        let known = [Self.peer(0, isKnown: false), Self.peer(1), Self.peer(2)]
        let made = try #require(self.start(start.next(hasData: false, answers: [.members(known), .silent], waited: 0)))
        #expect(made.state == .new)
    }

    @Test("one with data goes on, whether others answer or not")
    func restart() throws {
        let start = MemberStart(try Self.settings())
        let known = [Self.peer(0), Self.peer(1), Self.peer(2)]
        #expect(self.start(start.next(hasData: true, answers: [.silent, .silent], waited: 0))?.state == .existing)
        #expect(
            self.start(start.next(hasData: true, answers: [.members(known), .silent], waited: 0))?.state == .existing
        )
    }

    @Test("one that has lost its data is removed, added anew, and learns from the others")
    func replaced() throws {
        let start = MemberStart(try Self.settings())
        let before = [Self.peer(0, id: 7), Self.peer(1), Self.peer(2)]
        #expect(start.next(hasData: false, answers: [.members(before), .silent], waited: 0) == .remove(id: 7))
        let without = [Self.peer(1), Self.peer(2)]
        #expect(
            start.next(hasData: false, answers: [.members(without), .members(before)], waited: 0) == .remove(id: 7),
            "one of the others has not heard of it yet: removing it twice does no harm"
        )
        #expect(
            start.next(hasData: false, answers: [.members(without), .members(without)], waited: 0)
                == .add(peer: "http://10.0.0.0:2380")
        )
        let added = without + [Self.peer(0, id: 8, name: "", isKnown: false)]
        let made = try #require(self.start(start.next(hasData: false, answers: [.members(added), .silent], waited: 0)))
        #expect(made.state == .existing)
        #expect(made.members.map(\.name) == ["hub-0", "hub-1", "hub-2"])
    }

    @Test("a replica whose address has changed is removed by its name")
    func moved() throws {
        let start = MemberStart(try Self.settings())
        let old = EtcdPeer(id: 9, name: "hub-0", peers: ["http://10.9.9.9:2380"], clients: ["http://10.9.9.9:2379"])
        let step = start.next(hasData: false, answers: [.members([old, Self.peer(1), Self.peer(2)])], waited: 0)
        #expect(step == .remove(id: 9))
    }

    @Test("two may join at once: each names the other, which has no name yet")
    func twoJoin() throws {
        let start = MemberStart(try Self.settings())
        let known = [
            Self.peer(0, id: 8, name: "", isKnown: false), Self.peer(1, id: 5, name: "", isKnown: false), Self.peer(2),
        ]
        let made = try #require(self.start(start.next(hasData: false, answers: [.members(known)], waited: 0)))
        #expect(made.members.map(\.name) == ["hub-0", "hub-2", "member-5"])
    }

    @Test("data of a member that was removed is refused, with what to do")
    func removed() throws {
        let start = MemberStart(try Self.settings())
        let known = [Self.peer(1), Self.peer(2)]
        #expect(start.next(hasData: true, answers: [.members(known), .silent], waited: 0) == .wait)
        guard case .refuse(let reason) = start.next(hasData: true, answers: [.members(known), .silent], waited: 3)
        else {
            Issue.record("it was not refused")
            return
        }
        #expect(reason.contains("/data") && reason.contains("move the folder away"))
    }
}
