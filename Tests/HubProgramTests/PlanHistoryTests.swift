import FleetModel
import FleetPlanning
import GossipCore
import OperatorLink
import PlanStream
import Resources
import StateStore
import TestKit
import Testing
import WeightSolver
import WireProtocol

@testable import HubProgram

@Suite("Plan history")
struct PlanHistoryTests {
    private let pool = PoolName(namespace: "default", name: "chat")

    /// Two regions with a cluster each, and demand in both.
    private func mind(capacity: Double = 10, sequence: UInt64 = 1, now: Seconds = 0) throws -> HubMind {
        var mind = HubMind()
        try self.hear(&mind, capacity: capacity, sequence: sequence, now: now)
        return mind
    }

    private func hear(_ mind: inout HubMind, capacity: Double, sequence: UInt64, now: Seconds) throws {
        for region in ["west", "east"].map({ RegionName(unchecked: $0) }) {
            let digest = PoolDigest(
                pool: self.pool,
                state: .active,
                endpointsReady: 2,
                endpointsKnown: 2,
                capacity: region.text == "west" ? capacity : 10,
                unloadedTTFT: 0.1
            )
            try mind.digests.receive(
                DigestFrame(
                    id: FrameID(cluster: ClusterName(unchecked: region.text), incarnation: 1, sequence: sequence),
                    region: region,
                    agent: AgentName(unchecked: "agent"),
                    interval: 1,
                    digests: [digest]
                ),
                now: now
            )
            let report = DemandReport(
                gateway: GatewayName(unchecked: region.text),
                region: region,
                demand: [BandDemand(pool: self.pool, band: .standard, rate: 6)],
                roundTrips: [RegionName(unchecked: region.text == "west" ? "east" : "west"): 0.08]
            )
            _ = mind.demand.receive(report, now: now)
        }
    }

    private func keep(
        _ history: PlanHistory,
        _ mind: inout HubMind,
        _ number: UInt64,
        now: Seconds,
        change: UInt64 = 0
    )
        async throws -> Isobar_V1_PlanEnvelope
    {
        let version = PlanVersion(epoch: 1, generation: number)
        let made = mind.generation(version: version, parent: nil, now: now)
        let generation = try #require(made)
        let encoded = try EncodedPlan(generation.plan)
        let isKept = try await history.keep(
            generation,
            encoded,
            cause: "tick",
            change: change,
            oldestDigest: 0,
            now: now
        )
        #expect(isKept)
        return encoded.envelope
    }

    @Test("a kept generation is solved again to the same bytes, also by a hub that was started anew")
    func replay() async throws {
        let store = MemoryStore()
        let history = PlanHistory(store: store, software: "test")
        var mind = try self.mind()
        var sent: [Isobar_V1_PlanEnvelope] = []
        for number in 1...6 as ClosedRange<UInt64> {
            try self.hear(&mind, capacity: 10 - Double(number), sequence: number + 1, now: Double(number))
            sent.append(try await self.keep(history, &mind, number, now: Double(number)))
        }
        let reader = PlanHistory(store: store, software: "test")
        for number in 1...6 as ClosedRange<UInt64> {
            let kept = try await reader.recall(number)
            var plan = try kept.plan.model()
            let asked = try #require(kept.questions.first)
            let question = try SolverQuestion(bytes: [UInt8](asked.question))
            let answer = question.answer()
            #expect(answer.rows == plan.pools[0].rows)
            plan.pools[0].failover = answer.failoverRows
            #expect(try EncodedPlan(plan).envelope == sent[Int(number) - 1])
        }
    }

    @Test("the last generations are kept, and of those before only the ones in which something happened")
    func bounded() async throws {
        let store = MemoryStore()
        let history = PlanHistory(store: store, software: "test")
        var mind = try self.mind()
        for number in 1...140 as ClosedRange<UInt64> {
            // Nothing changes but for one resource, in the tenth.
            _ = try await self.keep(history, &mind, number, now: 0, change: number < 10 ? 0 : 1)
        }
        let summaries = try await history.summaries(limit: .max)
        let generations = summaries.map(\.version.generation)
        #expect(generations.first == 140 && generations.count < PlanHistory.recent + 30)
        #expect(Set(generations).isSuperset(of: 81...140) && !generations.contains(20))
        #expect(summaries.last { $0.what == "resources changed" }?.version.generation == 10)
        #expect(try await store.list(prefix: "history/").count == summaries.count)
        let error = await #expect(throws: OperatorRefusal.self) { try await history.recall(20) }
        #expect(error?.reason.contains("10 or 81") == true, "\(error?.reason ?? "")")
    }
}

@Suite("Findings")
struct FindingTests {
    private static func status() -> Isobar_V1_FleetStatus {
        var status = Isobar_V1_FleetStatus()
        status.tick = 1
        status.store.kind = "sqlite"
        status.store.healthy = true
        status.plan.epoch = 1
        status.planAge = 0.5
        status.planTimeToLive = 60
        var cluster = Isobar_V1_ClusterStatus()
        (cluster.cluster, cluster.region, cluster.agent) = ("us-east-a", "us-east", "us-east-a-0")
        (cluster.age, cluster.endpointsReady, cluster.endpointsKnown) = (0.5, 2, 2)
        status.clusters = [cluster]
        var gateway = Isobar_V1_GatewayStatus()
        (gateway.gateway, gateway.region, gateway.inSync) = ("gw", "us-east", true)
        status.gateways = [gateway]
        var region = Isobar_V1_RegionStatus()
        (region.region, region.clusters, region.gateways) = ("us-east", 1, 1)
        status.regions = [region]
        var pool = Isobar_V1_PoolStatus()
        (pool.pool, pool.clusters, pool.demand) = ("default/llama", 1, 5)
        status.pools = [pool]
        return status
    }

    private static func seen(_ status: Isobar_V1_FleetStatus, _ set: ResourceSet = ResourceSet()) -> [String] {
        Findings.all(status, set).filter { $0.level != "ok" }.map { "\($0.level) \($0.check) \($0.subject)" }
    }

    @Test("a fleet that is well has one finding a check, all of them ok")
    func well() {
        #expect(Self.seen(Self.status()) == [])
        #expect(Findings.all(Self.status(), ResourceSet()).count == 7)
    }

    @Test("what is wrong is named, with what to do")
    func wrong() throws {
        var status = Self.status()
        status.clusters[0].age = 7
        status.clusters[0].endpointsReady = 1
        status.gateways[0].inSync = false
        status.regions[0].unreachable = true
        status.pools[0].overflow = 2
        status.planAge = 70
        status.store.healthy = false
        status.store.fault = "disk is full"
        let declared = Resource(
            key: try ResourceKey(.cluster, name: "asia-a"),
            spec: .fields(["region": .text("asia")])
        )
        let drain = Resource(key: try ResourceKey(.drain, name: "d"), spec: .fields(["cluster": .text("nope")]))
        let set = ResourceSet([declared, drain])
        #expect(
            Self.seen(status, set) == [
                "failed store sqlite", "failed plan 1.0", "warning agents us-east-a", "warning agents us-east-a",
                "failed agents asia-a", "warning gateways gw", "failed pools default/llama", "failed regions us-east",
                "warning resources Drain d",
            ]
        )
        #expect(Findings.all(status, set).filter { $0.level != "ok" }.allSatisfy { !$0.fix.isEmpty })
    }

    @Test("a fleet without agents or gateways says so")
    func empty() {
        var status = Isobar_V1_FleetStatus()
        status.store.healthy = true
        #expect(Self.seen(status) == ["failed plan ", "failed agents ", "warning gateways "])
    }
}
