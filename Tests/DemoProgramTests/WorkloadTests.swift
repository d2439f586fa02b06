import FleetModel
import Testing
import WorkloadTraces

@testable import DemoProgram

@Suite struct WorkloadTests {
    private let regions = Geography.standard.regions
    private let usEast = RegionName(unchecked: "us-east")

    private func arrivals(_ workload: Workload, until end: Seconds) -> [Arrival] {
        var workload = workload
        var arrivals: [Arrival] = []
        while true {
            let next = workload.next()
            if next.time >= end { return arrivals }
            arrivals.append(next)
        }
    }

    @Test func theSameSeedSendsTheSameRequestsAndAnotherSeedOthers() {
        let one = arrivals(Workload(.synthetic, rate: 8, regions: regions, bursts: [], seed: 1), until: 60)
        let same = arrivals(Workload(.synthetic, rate: 8, regions: regions, bursts: [], seed: 1), until: 60)
        let other = arrivals(Workload(.synthetic, rate: 8, regions: regions, bursts: [], seed: 2), until: 60)
        #expect(one == same)
        #expect(one != other)
        #expect(one.map(\.number) == Array(0..<UInt64(one.count)))
    }

    @Test func aRateIsKeptOverAllRegionsAndSharedByTheirDemand() {
        let sent = arrivals(Workload(.synthetic, rate: 8, regions: regions, bursts: [], seed: 1), until: 1_000)
        #expect(abs(Double(sent.count) / 1_000 - 8) < 0.3)
        for region in regions {
            let share = Double(sent.count { $0.source == region.name }) / Double(sent.count)
            #expect(abs(share - region.demand) < 0.03)
        }
    }

    @Test func aTraceKeepsItsOwnTimesAndBeginsAgain() {
        let rows = [0.0, 1, 3].map { TraceRow(time: $0, promptTokens: 10, outputTokens: Int($0) + 1) }
        let sent = arrivals(Workload(.trace(rows), rate: nil, regions: regions, bursts: [], seed: 1), until: 9)
        #expect(sent.map(\.time) == [0, 1, 3, 4.5, 5.5, 7.5])
        #expect(sent.map(\.outputTokens) == [1, 2, 4, 1, 2, 4])
    }

    @Test func aTraceWithARateKeepsItsLengthsInOrder() {
        let rows = (1...5).map { TraceRow(time: Double($0) * 100, promptTokens: $0, outputTokens: $0) }
        let sent = arrivals(Workload(.trace(rows), rate: 5, regions: regions, bursts: [], seed: 3), until: 100)
        #expect(abs(Double(sent.count) - 500) < 80)
        #expect(sent.prefix(6).map(\.promptTokens) == [1, 2, 3, 4, 5, 1])
    }

    @Test func aBurstMultipliesOneRegionForItsTimeAndLeavesTheOthersAlone() {
        let burst = Burst(region: usEast, factor: 2.5, start: 200, length: 400)
        let plain = arrivals(Workload(.synthetic, rate: 8, regions: regions, bursts: [], seed: 1), until: 1_000)
        let loaded = arrivals(Workload(.synthetic, rate: 8, regions: regions, bursts: [burst], seed: 1), until: 1_000)
        func count(_ arrivals: [Arrival], _ region: RegionName, _ times: Range<Seconds>) -> Int {
            arrivals.count { $0.source == region && times.contains($0.time) }
        }
        for region in regions.map(\.name) where region != usEast {
            #expect(count(loaded, region, 0..<1_000) == count(plain, region, 0..<1_000))
        }
        #expect(count(loaded, usEast, 0..<200) == count(plain, usEast, 0..<200))
        #expect(count(loaded, usEast, 601..<1_000) == count(plain, usEast, 601..<1_000))
        let factor = Double(count(loaded, usEast, 200..<601)) / Double(count(plain, usEast, 200..<600))
        #expect(abs(factor - 2.5) < 0.15)
        #expect(zip(loaded, loaded.dropFirst()).allSatisfy { $0.time <= $1.time })
    }

    @Test func aBurstBelowOneThinsARegion() {
        let lull = Burst(region: usEast, factor: 0, start: 0, length: 50)
        let sent = arrivals(Workload(.synthetic, rate: 8, regions: regions, bursts: [lull], seed: 1), until: 60)
        #expect(sent.allSatisfy { $0.source != usEast || $0.time >= 50 })
        #expect(sent.contains { $0.source == usEast })
    }
}

@Suite struct GeographyTests {
    @Test func gatewaysAreOrderedByDistance() {
        let geography = Geography.standard
        let names = geography.byDistance(from: RegionName(unchecked: "europe-west")).map(\.text)
        #expect(names == ["europe-west", "us-east", "asia-east"])
        #expect(geography.roundTrip(RegionName(unchecked: "asia-east"), RegionName(unchecked: "us-east")) == 0.162)
    }
}
