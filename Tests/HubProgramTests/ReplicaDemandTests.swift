import FleetModel
import FleetPlanning
import GossipCore
import Logging
import Observability
import StateStore
import TestKit
import Testing
import WireProtocol
import WireTransport

@testable import HubProgram
@testable import PlanStream

@Suite("Demand at whichever replica")
struct ReplicaDemandTests {
    private static func hub(_ name: String, _ store: any StateStore) -> Hub {
        Hub(
            name: name,
            store: store,
            clock: MonotonicClock(),
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        )
    }

    private static func report(_ gateway: Int, _ rate: Double) throws -> DemandReport {
        DemandReport(
            gateway: try GatewayName("gw-\(gateway)"),
            region: try RegionName("asia-east"),
            demand: [BandDemand(pool: try PoolName("llama"), band: .standard, rate: rate)],
            roundTrips: [try RegionName("us-east"): 0.15]
        )
    }

    /// The plan that a hub would make now, of one cluster in another region than the gateways.
    private static func plan(of hub: Hub) throws -> Plan? {
        let cluster = try ClusterName("us-east-a")
        let digest = PoolDigest(
            pool: try PoolName("llama"),
            state: .active,
            endpointsReady: 2,
            endpointsKnown: 2,
            capacity: 10,
            loraSet: 0
        )
        let now = hub.clock.now
        return hub.withState { state in
            let frame = DigestFrame(
                id: FrameID(cluster: cluster, incarnation: 1, sequence: UInt64(now * 1e6) + 1),
                region: RegionName(unchecked: "us-east"),
                agent: AgentName(unchecked: "a"),
                interval: 1,
                digests: [digest]
            )
            _ = try? state.mind.digests.receive(frame, now: now)
            return state.mind.plan(version: PlanVersion(epoch: 1, generation: 1), parent: nil, now: now)
        }
    }

    @Test("what gateways report to a follower is in the leader's next plan, once for each gateway, and ends with them")
    func shared() async throws {
        let store = MemoryStore()
        let (leader, follower) = (Self.hub("leader", store), Self.hub("follower", store))
        let bound = NewestWins<EndpointAddress>()
        let server = try WireServer(
            listen: EndpointAddress(host: "127.0.0.1", port: 0),
            services: [ReplicaService(audience: leader)],
            onListening: { bound.send($0) }
        )
        let own = ReplicaMember(name: "follower", address: "127.0.0.1:1")
        let source = try RegionName("asia-east")
        func rate() throws -> Double? {
            let pool = try PoolName("llama")
            return leader.withState { $0.mind.demand.demand(of: pool)[source]?[.standard] }
        }
        #expect(try Self.plan(of: leader)?.pools[0].rows.contains { $0.source == source } == false)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            let address = try await eventually("the leader listens") { bound.current }
            follower.members.send([own, ReplicaMember(name: "leader", address: address.description)])
            group.addTask { await ReplicaMesh(hub: follower, own: own).run() }
            try await eventually("the follower has an outbox") { follower.withState { !$0.outboxes.isEmpty } }
            // Each gateway reports many times: the newest counts, and none is queued behind another.
            for round in 1...100 {
                for gateway in 0..<20 { follower.reported(try Self.report(gateway, Double(round))) }
            }
            try await eventually("the leader has the newest of each") { try rate() == 20 * 100 }
            let row = try #require(try Self.plan(of: leader)?.pools[0].rows.first { $0.source == source })
            #expect(row.weights == [try ClusterName("us-east-a"): 1])
            let sent = leader.withState { $0.counts.reportsShared }
            #expect(sent >= 20 && sent <= 2_000)
            // The same gateways at the leader itself are no other gateways.
            for gateway in 0..<20 { leader.reported(try Self.report(gateway, 50)) }
            #expect(try rate() == 20 * 50)
            try await eventually("silent gateways are no demand any more") {
                _ = try Self.plan(of: leader)
                return try rate() == nil
            }
            group.cancelAll()
        }
    }

    @Test("a stream that ends is not the gateway's end while it has another one here")
    func twoStreams() throws {
        let hub = Self.hub("hub", MemoryStore())
        let (gateway, region) = (try GatewayName("gw-1"), try RegionName("asia-east"))
        hub.subscribed(gateway, region: region, held: nil)
        hub.subscribed(gateway, region: region, held: nil)
        hub.reported(try Self.report(1, 5))
        hub.left(gateway)
        let pool = try PoolName("llama")
        #expect(hub.withState { $0.mind.demand.demand(of: pool)[region]?[.standard] } == 5)
        #expect(hub.status().gateways.map(\.gateway) == ["gw-1"])
        hub.left(gateway)
        #expect(hub.withState { $0.mind.demand.demand(of: pool)[region] } == nil)
        #expect(hub.status().gateways.isEmpty)
    }
}

@Suite("How far a gateway is behind")
struct AnnouncedPlansTests {
    @Test("is the time since the first plan after the one it acknowledged")
    func lag() {
        var plans = AnnouncedPlans()
        func version(_ generation: UInt64) -> PlanVersion { PlanVersion(epoch: 1, generation: generation) }
        #expect(plans.lag(behind: nil, now: 5) == nil)
        for generation in 1...4 as ClosedRange<UInt64> { plans.announced(version(generation), at: Double(generation)) }
        #expect(plans.lag(behind: version(4), now: 10) == nil)
        #expect(plans.lag(behind: version(2), now: 10) == 7)
        #expect(plans.lag(behind: nil, now: 10) == 9)
        #expect(plans.lag(behind: version(9), now: 10) == nil)
        for generation in 5...2_000 as ClosedRange<UInt64> { plans.announced(version(generation), at: 20) }
        #expect(plans.times.count <= AnnouncedPlans.countMax)
    }
}
