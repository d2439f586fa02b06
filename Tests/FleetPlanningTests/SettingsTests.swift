import FleetModel
import FleetPlanning
import GossipCore
import Resources
import Testing

@Suite("Resources in force")
struct SettingsTests {
    private let pool = PoolName(namespace: "default", name: "chat")
    private let west = RegionName(unchecked: "west")
    private let east = RegionName(unchecked: "east")

    private func mind() throws -> HubMind {
        var mind = HubMind()
        for region in [self.west, self.east] {
            let digest = PoolDigest(
                pool: self.pool,
                state: .active,
                endpointsReady: 2,
                endpointsKnown: 2,
                capacity: 10,
                unloadedTTFT: 0.1
            )
            try mind.digests.receive(
                DigestFrame(
                    id: FrameID(cluster: ClusterName(unchecked: region.text), incarnation: 1, sequence: 1),
                    region: region,
                    agent: AgentName(unchecked: "agent"),
                    interval: 1,
                    digests: [digest]
                ),
                now: 0
            )
            let report = DemandReport(
                gateway: GatewayName(unchecked: region.text),
                region: region,
                demand: [BandDemand(pool: self.pool, band: .standard, rate: 4)],
                roundTrips: [region == self.west ? self.east : self.west: 0.08]
            )
            _ = mind.demand.receive(report, now: 0)
        }
        return mind
    }

    private func settings(_ kind: ResourceKind, _ name: String, _ spec: [String: ResourceValue]) throws -> FleetSettings
    {
        FleetSettings(ResourceSet([Resource(key: try ResourceKey(kind, name: name), spec: .fields(spec))]))
    }

    private func weights(_ mind: inout HubMind) throws -> ClusterShares {
        let plan = mind.plan(version: PlanVersion(epoch: 1, generation: 1), parent: nil, now: 0)
        return try #require(plan?[self.pool]?.weights(from: self.west, band: .standard))
    }

    @Test("a drain takes a cluster out of the next plan, and its end brings it back step by step")
    func drain() throws {
        var mind = try self.mind()
        let (near, far) = (ClusterName(unchecked: "west"), ClusterName(unchecked: "east"))
        #expect(try self.weights(&mind)[near] ?? 0 > 0.5)
        mind.settings = try self.settings(.drain, "d", ["cluster": .text("west"), "reason": .text("new kernels")])
        let made = mind.generation(version: PlanVersion(epoch: 1, generation: 2), parent: nil, now: 0)
        #expect(made?.plan[self.pool]?.weights(from: self.west, band: .standard) == [far: 1])
        #expect(made?.plan[self.pool]?.clusters.map(\.state) == [.active, .draining])
        #expect(made?.because == [["Drain d takes west out: new kernels"]])
        mind.settings = FleetSettings()
        let first = try self.weights(&mind)[near] ?? 0
        let second = try self.weights(&mind)[near] ?? 0
        #expect(first > 0 && first <= 0.11 && second > first)
    }

    @Test("a policy is the solver's, a cluster's scale is its capacity's, an objective travels with the plan")
    func others() throws {
        var mind = try self.mind()
        mind.settings = try self.settings(.policy, "p", ["residency": .fields(["west": .list([.text("east")])])])
        #expect(try self.weights(&mind) == [ClusterName(unchecked: "east"): 1])

        mind = try self.mind()
        mind.settings = try self.settings(.cluster, "west", ["region": .text("west"), "capacityScale": .number(0.5)])
        let made = mind.generation(version: PlanVersion(epoch: 1, generation: 2), parent: nil, now: 0)
        #expect(made?.plan[self.pool]?.clusters.map(\.capacity) == [10, 5])
        #expect(made?.because == [["Cluster west counts at 50 % of its capacity"]])

        let reference: ResourceValue = .fields(["name": .text("chat")])
        mind.settings = try self.settings(.objective, "vip", ["priority": .number(3), "poolRef": reference])
        let plan = mind.plan(version: PlanVersion(epoch: 1, generation: 3), parent: nil, now: 0)
        #expect(plan?[self.pool]?.objectives == ["vip": .premium])
    }

    @Test("with declared pools only, what no resource declares is not planned")
    func declared() throws {
        var mind = try self.mind()
        mind.plansDeclaredOnly = true
        #expect(mind.plan(version: PlanVersion(epoch: 1, generation: 1), parent: nil, now: 0) == nil)
        mind.settings = try self.settings(.pool, "chat", [:])
        #expect(mind.plan(version: PlanVersion(epoch: 1, generation: 1), parent: nil, now: 0)?.pools.count == 1)
    }

    @Test("a forecast tells what a drain would do and changes nothing")
    func forecast() throws {
        var mind = try self.mind()
        let plan = mind.plan(version: PlanVersion(epoch: 1, generation: 1), parent: nil, now: 0)
        let before = try #require(plan?[self.pool]?.weights(from: self.west, band: .standard))
        var untouched = mind
        let drain = try self.settings(.drain, "d", ["cluster": .text("west")])
        let forecast = try #require(mind.forecast(with: drain, inForce: plan, now: 0).first)
        let moved = try #require(forecast.weights.first { $0.source == self.west && $0.cluster.text == "west" })
        #expect(forecast.weights.allSatisfy { $0.band == .standard }, "bands without requests are not told")
        #expect(moved.now == before[ClusterName(unchecked: "west")])
        #expect(moved.next == 0 && moved.settled == 0)
        #expect(forecast.costAfter > forecast.costBefore)
        #expect(try self.weights(&mind) == self.weights(&untouched))
        #expect(mind.forecast(with: mind.settings, inForce: plan, now: 0).isEmpty)
    }
}
