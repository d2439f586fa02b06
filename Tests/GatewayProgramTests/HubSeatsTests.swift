import FleetModel
import Testing

@testable import GatewayProgram

@Suite("The hubs that a gateway holds")
struct HubSeatsTests {
    @Test("are two of all, never the same one twice, whichever is lost")
    func two() throws {
        for hubs in 2...5 {
            var seats = HubSeats(hubs: hubs, gateway: try GatewayName("gw-\(hubs)"))
            var seen: Set<Int> = Set(seats.taken)
            for loss in 0..<20 {
                seats.move(loss * 7 % 3 == 0 ? 0 : 1)
                #expect(Set(seats.taken).count == 2)
                seen.formUnion(seats.taken)
            }
            #expect(seen == Set(0..<hubs), "a hub was never tried")
        }
    }

    @Test("are as many as there are when there are fewer; a lost one is then tried again")
    func fewer() throws {
        #expect(HubSeats(hubs: 0, gateway: try GatewayName("gw")).taken == [])
        var one = HubSeats(hubs: 1, gateway: try GatewayName("gw"))
        one.move(0)
        #expect(one.taken == [0])
        var two = HubSeats(hubs: 2, gateway: try GatewayName("gw"))
        let before = two.taken
        two.move(1)
        #expect(two.taken == before)
    }

    @Test("spread over the hubs")
    func spread() throws {
        var count = [0, 0, 0]
        for number in 0..<300 {
            for hub in HubSeats(hubs: 3, gateway: try GatewayName("gw-\(number)")).taken { count[hub] += 1 }
        }
        #expect(count.allSatisfy { $0 > 150 }, "\(count)")
    }
}
