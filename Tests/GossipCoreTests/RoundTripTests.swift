import FleetModel
import TestKit
import Testing

@testable import GossipCore

@Suite struct RoundTripTests {
    @Test func `the mean is smooth, and the least is of the last minute or two`() throws {
        var estimate = RoundTripEstimate()
        #expect(estimate.minimum == nil)
        for second in 0..<300 {
            let queue = second % 10 == 0 ? 0 : 0.05
            estimate.measure((second < 150 ? 0.1 : 0.2) + queue, now: Seconds(second))
        }
        #expect(try #require(estimate.minimum) == 0.2, "the way has become longer")
        #expect((0.22...0.25).contains(try #require(estimate.smooth)))
        estimate.measure(-1, now: 300)
        estimate.measure(1_000, now: 300)
        #expect(try #require(estimate.minimum) == 0.2)
    }

    @Test func `regions that never met are placed by those that both know`() throws {
        // Twenty places on a line of 0 to 190 ms, five of which measure all others.
        let names = (0..<20).map { RegionName(unchecked: "r\($0)") }
        func truth(_ a: Int, _ b: Int) -> Seconds { Seconds(abs(a - b)) * 0.01 + 0.004 }
        var matrix = RoundTripMatrix()
        for hub in [0, 4, 9, 14, 19] {
            for other in names.indices where other != hub {
                let time = truth(hub, other)
                let value = RegionRoundTrip(source: names[other], target: names[hub], smooth: time * 1.2, minimum: time)
                matrix.take(value, isOwn: true, now: 0)
            }
        }
        for second in 0..<120 { matrix.settle(now: Seconds(second)) }
        #expect(matrix.roundTrip(names[0], names[7], now: 120) == .init(roundTrip: truth(0, 7), isMeasured: true))
        var errors: [Double] = []
        for a in names.indices {
            for b in names.indices where a < b {
                let entry = try #require(matrix.roundTrip(names[a], names[b], now: 120))
                if !entry.isMeasured { errors.append(abs(entry.roundTrip - truth(a, b)) / truth(a, b)) }
            }
        }
        #expect(errors.count > 80)
        #expect(errors.sorted()[errors.count / 2] < 0.15, "median \(errors.sorted()[errors.count / 2])")
        #expect(matrix.roundTrip(names[0], RegionName(unchecked: "moon"), now: 120) == nil)
    }

    @Test func `of two links between the same regions the shorter tells the distance`() throws {
        var matrix = RoundTripMatrix()
        let (a, b) = (RegionName(unchecked: "a"), RegionName(unchecked: "b"))
        matrix.take(RegionRoundTrip(source: a, target: b, smooth: 0.12, minimum: 0.1), isOwn: true, now: 0)
        matrix.take(RegionRoundTrip(source: b, target: a, smooth: 0.3, minimum: 0.2), isOwn: true, now: 10)
        #expect(try #require(matrix.roundTrip(b, a, now: 11)).roundTrip == 0.1)
        matrix.take(RegionRoundTrip(source: b, target: a, smooth: 0.3, minimum: 0.2), isOwn: true, now: 100)
        #expect(try #require(matrix.roundTrip(b, a, now: 101)).roundTrip == 0.2, "the short way is gone")
    }

    @Test func `hubs tell each other what they and their agents measured`() throws {
        var mesh = Mesh(hubs: 2)
        mesh.hubs[0].know(AgentID(1), region: Mesh.east, address: "", incarnation: 1)
        let value = RegionRoundTrip(source: Mesh.east, target: RegionName(unchecked: "far"), smooth: 0.3, minimum: 0.25)
        let push = FramePush(
            carried: CarriedFrame(frame: Mesh.frame(1, 1, 1), age: 0),
            sentAt: 0,
            roundTrips: [value]
        )
        _ = mesh.hubs[0].receive(.push(push), from: .agent(AgentID(1)), now: 0)
        mesh.pass(6)
        let told = try #require(mesh.hubs[1].roundTrips.roundTrip(Mesh.east, RegionName(unchecked: "far"), now: 6))
        #expect(told == .init(roundTrip: 0.25, isMeasured: true))
    }
}
