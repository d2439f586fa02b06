import FleetModel
import TestKit
import Testing

@Suite("Shares of clusters")
struct ClusterSharesTests {
    private static let names = (0..<20).map { ClusterName(unchecked: "c-\($0)") }

    @Test(
        "are the same and in one order, however they were put in, changed and taken out",
        arguments: 1...20 as ClosedRange<UInt64>
    )
    func likeDictionary(seed: UInt64) throws {
        var dice = SeededGenerator(seed: seed)
        var (shares, truth) = (ClusterShares(), [ClusterName: Double]())
        for step in 0..<200 {
            let name = try #require(Self.names.randomElement(using: &dice))
            let weight = Int.random(in: 0..<3, using: &dice) == 0 ? nil : Double(step)
            (shares[name], truth[name]) = (weight, weight)
            #expect(shares.map(\.cluster) == truth.keys.sorted())
            #expect(Self.names.allSatisfy { shares[$0] == truth[$0] })
        }
        var again = ClusterShares(minimumCapacity: truth.count)
        for (name, weight) in truth { again[name] = weight }
        #expect(again == shares && Set([again, shares]).count == 1)
    }

    @Test("name the clusters that have one in either of two rows")
    func both() {
        let (a, b, c) = (Self.names[0], Self.names[1], Self.names[2])
        #expect(([b: 1, a: 0] as ClusterShares).clusters(with: [c: 0.5, b: 0.5]) == [a, b, c])
        #expect("\([b: 0.25, a: 0.75] as ClusterShares)" == "c-0 0.75, c-1 0.25")
    }
}
