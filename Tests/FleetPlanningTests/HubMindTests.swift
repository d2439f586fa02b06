import FleetModel
import FleetPlanning
import GossipCore
import Testing

@Suite struct HubMindTests {
    private let pool = PoolName(namespace: "default", name: "chat")
    private let west = RegionName(unchecked: "west")
    private let east = RegionName(unchecked: "east")

    private func frame(_ region: RegionName, _ sequence: UInt64, ready: Int = 2, errors: Double? = nil) -> DigestFrame {
        DigestFrame(
            id: FrameID(cluster: ClusterName(unchecked: region.text), incarnation: 1, sequence: sequence),
            region: region,
            agent: AgentName(unchecked: "agent"),
            interval: 1,
            digests: [
                PoolDigest(
                    pool: self.pool,
                    state: ready > 0 ? .active : .down,
                    endpointsReady: ready,
                    endpointsKnown: 2,
                    errorShare: errors,
                    capacity: Double(ready) * 5
                )
            ]
        )
    }

    private func report(unreachable: Set<RegionName> = []) -> DemandReport {
        DemandReport(
            gateway: GatewayName(unchecked: "west-1"),
            region: self.west,
            demand: [BandDemand(pool: self.pool, band: .standard, rate: 4)],
            roundTrips: [self.east: 0.08],
            unreachable: unreachable
        )
    }

    @Test func `there is no plan before an agent has spoken`() {
        var mind = HubMind()
        _ = mind.demand.receive(self.report(), now: 0)
        #expect(mind.plan(version: PlanVersion(epoch: 1, generation: 1), parent: nil, now: 0) == nil)
    }

    @Test func `what a cluster fails is no capacity, and the other gets its requests`() throws {
        var mind = HubMind()
        try mind.digests.receive(self.frame(self.west, 1, errors: 0.75), now: 0)
        try mind.digests.receive(self.frame(self.east, 1, errors: 0), now: 0)
        _ = mind.demand.receive(self.report(), now: 0)
        let made = mind.plan(version: PlanVersion(epoch: 1, generation: 1), parent: nil, now: 0)
        let plan = try #require(made?[self.pool])
        #expect(plan.clusters.first { $0.region == self.west }?.capacity == 2.5)
        #expect(plan.clusters.first { $0.region == self.east }?.capacity == 10)
        // Four requests a second are more than it can serve, near as it is.
        let row = try #require(plan.rows.first { $0.source == self.west && $0.band == .standard })
        #expect(row.weights[ClusterName(unchecked: "east")] ?? 0 > 0.3, "\(row)")
    }

    @Test func `a cluster that nobody reaches is down only when its agent is silent as well`() throws {
        var mind = HubMind()
        try mind.digests.receive(self.frame(self.west, 1), now: 0)
        try mind.digests.receive(self.frame(self.east, 1), now: 0)
        _ = mind.demand.receive(self.report(unreachable: [self.east]), now: 0)
        func stateOfEast(now: Seconds) throws -> ClusterState {
            _ = mind.demand.receive(self.report(unreachable: [self.east]), now: now)
            let made = mind.plan(version: PlanVersion(epoch: 1, generation: 1), parent: nil, now: now)
            return try #require(made?[self.pool]?.clusters.first { $0.region == self.east }).state
        }
        #expect(try stateOfEast(now: 1) == .active)
        #expect(try stateOfEast(now: 3) == .down)
    }

    @Test func `a hub that was started again waits for the clusters it knows, though not for ever`() throws {
        let first = PlanVersion(epoch: 1, generation: 1)
        var before = HubMind()
        try before.digests.receive(self.frame(self.west, 1), now: 0)
        try before.digests.receive(self.frame(self.east, 1), now: 0)
        let made = before.plan(version: first, parent: nil, now: 0)
        let plan = try #require(made)

        var after = HubMind()
        after.resume(from: plan, now: 100)
        let next = PlanVersion(epoch: 2, generation: 2)
        try after.digests.receive(self.frame(self.west, 2), now: 100.5)
        let early = after.plan(version: next, parent: first, now: 100.5)
        #expect(early == nil)
        var alone = after
        try after.digests.receive(self.frame(self.east, 2), now: 101)
        let whole = after.plan(version: next, parent: first, now: 101)
        #expect(whole?[self.pool]?.clusters.count == 2)
        let late = alone.plan(version: next, parent: first, now: 100 + HubMind.reunion)
        #expect(late?[self.pool]?.clusters.count == 1)
    }

    @Test func `a queue and a free seat of a silent cluster are not told for ever`() throws {
        var mind = HubMind()
        var frame = self.frame(self.east, 1)
        frame.digests[0].waiting = 7
        frame.digests[0].freeSeats = 3
        try mind.digests.receive(frame, now: 0)
        func told(now: Seconds) -> [Int] {
            let plan = mind.plan(version: PlanVersion(epoch: 1, generation: 1), parent: nil, now: now)
            return (plan?[self.pool]?.clusters ?? []).flatMap { [$0.waiting, $0.freeSeats] }
        }
        #expect(told(now: 1) == [7, 3])
        #expect(told(now: 5.1) == [0, 0])
    }

    @Test func `two agents of one cluster are one cluster to the plan`() throws {
        var mind = HubMind()
        try mind.digests.receive(self.frame(self.east, 1), now: 0)
        var twin = self.frame(self.east, 1)
        twin.agent = AgentName(unchecked: "twin")
        twin.id.incarnation = 2
        try mind.digests.receive(twin, now: 0)
        let plan = mind.plan(version: PlanVersion(epoch: 1, generation: 1), parent: nil, now: 0.5)
        let clusters = plan?[self.pool]?.clusters ?? []
        #expect(clusters.map(\.name.text) == ["east"])
        #expect(clusters.first?.capacity == 10)
    }

    @Test func `a lost endpoint is an alarm, a found one is not`() {
        #expect(self.frame(self.west, 1).isAlarming(after: nil))
        #expect(self.frame(self.west, 2, ready: 1).isAlarming(after: self.frame(self.west, 1)))
        #expect(!self.frame(self.west, 2).isAlarming(after: self.frame(self.west, 1, ready: 1)))
        #expect(self.frame(self.west, 2, ready: 0).isAlarming(after: self.frame(self.west, 1)))
    }
}
