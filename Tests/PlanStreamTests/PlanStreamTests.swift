import FleetModel
import GRPCCore
import GRPCInProcessTransport
import Leadership
import PlanStream
import Synchronization
import TestKit
import Testing
import WireProtocol

/// A hub that writes down what gateways say.
private final class Notes: PlanAudience {
    let lines = Mutex<[String]>([])
    private func note(_ line: String) { self.lines.withLock { $0.append(line) } }
    func has(_ line: String) -> Bool { self.lines.withLock { $0.contains(line) } }

    func subscribed(_ gateway: GatewayName, region: RegionName, held: PlanVersion?) {
        self.note("subscribed \(gateway) holding \(held?.description ?? "nothing")")
    }
    func acknowledged(_ gateway: GatewayName, _ version: PlanVersion) { self.note("acknowledged \(version)") }
    func refused(_ gateway: GatewayName, _ version: PlanVersion, reason: String) {
        self.note("refused \(version): \(reason)")
    }
    func reported(_ report: DemandReport) { self.note("demand \(report.demand.first?.rate ?? 0)") }
    func left(_ gateway: GatewayName) { self.note("left") }
    func unreadable(_ error: WireError) { self.note("unreadable \(error.field)") }
}

/// A gateway that keeps the fence and nothing else.
private final class Holder: PlanReceiver {
    struct State {
        var fence = PlanFence()
        var heartbeats = 0
        var lost = 0
    }
    let state = Mutex(State())

    var held: PlanVersion? { self.state.withLock { $0.fence.held } }
    func receive(_ plan: Plan, encoded: EncodedPlan) -> String? {
        self.state.withLock { state in
            if case .past(let held) = state.fence.admit(plan.version) { return "older than \(held)" }
            return nil
        }
    }
    func heartbeat() { self.state.withLock { $0.heartbeats += 1 } }
    func lost(hub: EndpointAddress, reason: String, retryIn: Seconds) { self.state.withLock { $0.lost += 1 } }
}

@Suite("The plan stream")
struct PlanStreamTests {
    private let notes = Notes()
    private let holder = Holder()
    private let announcements = NewestWins(Announcement(plan: nil))
    private let reports = NewestWins<DemandReport>()

    /// Runs a hub and a gateway over an in-process transport while `story` is told.
    private func tell(_ story: @escaping @Sendable () async throws -> Void) async throws {
        let transport = InProcessTransport()
        let server = GRPCServer(
            transport: transport.server,
            services: [PlanService(announcements: self.announcements, audience: self.notes)]
        )
        let client = GRPCClient(transport: transport.client)
        let subscriber = PlanSubscriber(
            hub: try EndpointAddress("127.0.0.1:1"),
            client: client,
            gateway: try GatewayName("gw"),
            region: try RegionName("us-east"),
            reports: self.reports,
            receiver: self.holder
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.serve() }
            group.addTask { try await client.runConnections() }
            group.addTask { await subscriber.run() }
            try await story()
            client.beginGracefulShutdown()
            server.beginGracefulShutdown()
            group.cancelAll()
        }
    }

    private func announce(_ epoch: UInt64, _ generation: UInt64) throws {
        self.announcements.send(
            Announcement(plan: try EncodedPlan(try Fixtures.plan(epoch: epoch, generation: generation)))
        )
    }

    @Test("a new plan reaches the gateway and is acknowledged; the same one again is a heartbeat")
    func pushes() async throws {
        try await self.tell { [self] in
            try self.announce(1, 1)
            try await eventually("the plan is acknowledged") { self.notes.has("acknowledged 1.1") }
            try self.announce(1, 1)
            try await eventually("a heartbeat comes") { self.holder.state.withLock { $0.heartbeats } > 0 }
            try self.announce(1, 2)
            try await eventually("the next plan is acknowledged") { self.notes.has("acknowledged 1.2") }
            #expect(self.holder.held == PlanVersion(epoch: 1, generation: 2))
        }
    }

    @Test("a plan of an old term is refused with the reason, and the gateway keeps what it holds")
    func fences() async throws {
        try await self.tell { [self] in
            try self.announce(5, 9)
            try await eventually("the plan is acknowledged") { self.notes.has("acknowledged 5.9") }
            try self.announce(4, 100)
            try await eventually("the old one is refused") { self.notes.has("refused 4.100: older than 5.9") }
            #expect(self.holder.held == PlanVersion(epoch: 5, generation: 9))
        }
    }

    @Test("demand goes up on the same stream, newest first")
    func demand() async throws {
        let pool = try PoolName("llama")
        try await self.tell { [self] in
            for rate in 1...3 {
                self.reports.send(
                    DemandReport(
                        gateway: try GatewayName("gw"),
                        region: try RegionName("us-east"),
                        demand: [BandDemand(pool: pool, band: .standard, rate: Double(rate))],
                        roundTrips: [:]
                    )
                )
            }
            try await eventually("the newest report arrives") { self.notes.has("demand 3.0") }
            #expect(self.notes.has("subscribed gw holding nothing"))
        }
    }
}
