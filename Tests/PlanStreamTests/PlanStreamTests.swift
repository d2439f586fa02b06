import FleetModel
import Foundation
import GRPCCore
import Leadership
import NIOCore
import SwiftProtobuf
import Synchronization
import TestKit
import Testing
import WireProtocol
import WireTransport

@testable import PlanStream

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
    func dropped(_ gateway: GatewayName) { self.note("dropped") }
    func resending(to gateway: GatewayName, reason: String) { self.note("resending: \(reason)") }
    func unreadable(_ error: WireError) { self.note("unreadable \(error.field)") }
}

/// A gateway that keeps the fence and the plan, and nothing else.
private final class Holder: PlanReceiver {
    struct State {
        var fence = PlanFence()
        var held: EncodedPlan?
        var plan: Plan?
        var heartbeats = 0
        var lost = 0
        var unfit: [String] = []
    }
    let state = Mutex(State())

    var held: EncodedPlan? { self.state.withLock { $0.held } }
    func receive(_ plan: Plan, encoded: EncodedPlan) -> String? {
        self.state.withLock { state in
            if case .past(let held) = state.fence.admit(plan.version) { return "older than \(held)" }
            (state.held, state.plan) = (encoded, plan)
            return nil
        }
    }
    func heartbeat() { self.state.withLock { $0.heartbeats += 1 } }
    func unfit(_ reason: String) { self.state.withLock { $0.unfit.append(reason) } }
    func lost(hub: EndpointAddress, reason: String) { self.state.withLock { $0.lost += 1 } }

    func hold(_ plan: Plan) throws {
        let encoded = try EncodedPlan(plan)
        self.state.withLock { state in
            state.fence = PlanFence(held: plan.version)
            (state.held, state.plan) = (encoded, plan)
        }
    }
}

/// A hub that says what it is told to, byte by byte.
private final class Forger: DirectMethod {
    let path = "/isobar.v1.Plans/Subscribe"
    let calls = NewestWins<NIOLoopBound<any DirectCall>>()
    let heard = Mutex<[Isobar_V1_GatewayMessage]>([])

    private final class Stream: DirectStream {
        let forger: Forger
        init(forger: Forger) { self.forger = forger }
        func received(_ message: ByteBuffer) {
            guard let heard = try? Isobar_V1_GatewayMessage(serializedBytes: Array(message.readableBytesView)) else {
                return
            }
            self.forger.heard.withLock { $0.append(heard) }
        }
        func writable() {}
        func ended() {}
    }

    func open(_ call: any DirectCall) -> any DirectStream {
        self.calls.send(NIOLoopBound(call, eventLoop: call.eventLoop))
        return Stream(forger: self)
    }

    func say(_ message: Isobar_V1_HubMessage) async throws {
        let call = try await eventually("a gateway has come") { self.calls.current }
        let framed = DirectMessage.framed(try message.serializedBytes())
        call.eventLoop.execute { call.value.write(framed) }
    }
}

/// A hub's clock, moved by hand.
private final class HandClock: Sendable {
    private let time = Mutex<Seconds>(0)
    var now: Seconds { self.time.withLock { $0 } }
    func move(by seconds: Seconds) { self.time.withLock { $0 += seconds } }
}

@Suite("The plan stream")
struct PlanStreamTests {
    private let notes = Notes()
    private let holder = Holder()
    private let clock = HandClock()
    private let reports = NewestWins<DemandReport>()
    private let board: PlanBoard
    private var service: PlanService<Notes> { PlanService(board: self.board, audience: self.notes) }

    init() throws {
        let clock = self.clock
        self.board = PlanBoard(clock: { clock.now })
        try self.board.announce(nil)
    }

    /// Runs a hub and a gateway over a real socket while `story` is told.
    private func tell(
        _ method: any DirectMethod,
        scope: PlanScope? = nil,
        _ story: @escaping @Sendable () async throws -> Void
    ) async throws {
        let bound = NewestWins<EndpointAddress>()
        let server = try WireServer(
            listen: EndpointAddress(host: "127.0.0.1", port: 0),
            services: [],
            methods: [method],
            onListening: { bound.send($0) }
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            let address = try await eventually("the hub listens") { bound.current }
            let client = try WireClient(to: address, field: "hub", role: .hub)
            let subscriber = PlanSubscriber(
                hub: address,
                client: client.client,
                gateway: try GatewayName("gw"),
                scope: try scope ?? PlanScope(region: RegionName("us-east")),
                reports: self.reports,
                receiver: self.holder
            )
            group.addTask { try await client.run() }
            group.addTask { await subscriber.run() }
            try await story()
            client.client.beginGracefulShutdown()
            group.cancelAll()
        }
    }

    private func announce(_ plan: Plan) throws { try self.board.announce(try EncodedPlan(plan)) }

    /// The fixture's plan with a cost of its own, so that each is another plan.
    private static func plan(_ epoch: UInt64, _ generation: UInt64, cost: Seconds = 0.15) throws -> Plan {
        var plan = try Fixtures.plan(epoch: epoch, generation: generation)
        plan.pools[0].cost = cost
        return plan
    }

    /// A plan wide enough that what changes is less than the whole.
    private static func wide(_ generation: UInt64) throws -> Plan {
        var plan = try self.plan(1, generation, cost: Double(generation))
        let cluster = plan.pools[0].clusters[0]
        plan.pools[0].clusters += try (0..<20).map { number in
            var another = cluster
            another.name = try ClusterName("z-\(10 + number)")
            another.frame = FrameID(cluster: another.name, incarnation: 1, sequence: 1)
            return another
        }
        return plan
    }

    // MARK: Laws

    @Test("a new plan reaches the gateway and is acknowledged; then there is a sign of life at times")
    func pushes() async throws {
        try await self.tell(self.service) { [self] in
            try self.announce(try Self.plan(1, 1))
            try await eventually("the plan is acknowledged") { self.notes.has("acknowledged 1.1") }
            self.board.confirm()
            self.clock.move(by: PlanSubscription.heartbeatPeriod)
            self.board.confirm()
            try await eventually("a heartbeat comes") { self.holder.state.withLock { $0.heartbeats } == 1 }
            try self.announce(try Self.plan(1, 2))
            try await eventually("the next plan is acknowledged") { self.notes.has("acknowledged 1.2") }
            #expect(self.holder.held?.version == PlanVersion(epoch: 1, generation: 2))
            #expect(self.board.traffic.heartbeats == 1)
        }
    }

    @Test("a plan of an old term is refused with the reason, and the gateway keeps what it holds")
    func fences() async throws {
        try await self.tell(self.service) { [self] in
            try self.announce(try Self.plan(5, 9))
            try await eventually("the plan is acknowledged") { self.notes.has("acknowledged 5.9") }
            try self.announce(try Self.plan(4, 100, cost: 0.5))
            try await eventually("the old one is refused") { self.notes.has("refused 4.100: older than 5.9") }
            #expect(self.holder.held?.version == PlanVersion(epoch: 5, generation: 9))
            try self.announce(try Self.plan(5, 10))
            try await eventually("the next one is taken") { self.notes.has("acknowledged 5.10") }
        }
    }

    @Test("a gateway gets its region's rows of its pools, first whole and then what has changed")
    func slices() async throws {
        let scope = PlanScope(region: try RegionName("us-east"), pools: [try PoolName("default/llama")])
        try await self.tell(self.service, scope: scope) { [self] in
            var plan = try Self.wide(1)
            var other = plan.pools[0]
            other.pool = try PoolName("default/qwen")
            plan.pools.append(other)
            try self.announce(plan)
            try await eventually("the plan is acknowledged") { self.notes.has("acknowledged 1.1") }
            let held = try #require(self.holder.state.withLock { $0.plan })
            #expect(held.pools.map(\.pool) == scope.pools)
            #expect(Set(held.pools[0].rows.map(\.source)) == [scope.region])
            #expect(held.pools[0].clusters == plan.pools[0].clusters)
            for generation in 2...5 as ClosedRange<UInt64> {
                plan.version.generation = generation
                plan.pools[0].clusters[3].waiting = Int(generation)
                let drift = Double(generation) / 100
                plan.pools[0].rows[0].weights = [
                    plan.pools[0].clusters[0].name: 0.2 + drift, plan.pools[0].clusters[1].name: 0.8 - drift,
                ]
                try self.announce(plan)
                try await eventually("it is acknowledged") { self.notes.has("acknowledged 1.\(generation)") }
                let whole = try EncodedPlan(plan).slice(for: scope)
                #expect(self.holder.held?.hash == whole.hash)
                #expect(try self.holder.state.withLock { $0.plan } == whole.plan())
            }
            let traffic = self.board.traffic
            #expect(traffic.bodies == 1 && traffic.deltas == 4 && traffic.streams == 1)
            #expect(traffic.bytes < 3_000 + 4 * 600)
        }
    }

    @Test("who holds the plan is sent nothing, who holds its parent the delta, who holds another one the body")
    func resumes() async throws {
        let scope = PlanScope(region: try RegionName("us-east"))
        let first = try EncodedPlan(try Self.wide(1)).slice(for: scope)
        try self.announce(try Self.wide(1))
        try self.holder.hold(try first.plan())
        try await self.tell(self.service, scope: scope) { [self] in
            try await eventually("it has come") { self.notes.has("subscribed gw holding 1.1") }
            self.clock.move(by: 60)
            self.board.confirm()
            try await eventually("it hears that it is up to date") { self.holder.state.withLock { $0.heartbeats } > 0 }
            #expect(self.board.traffic.bodies == 0)
        }
        try self.announce(try Self.wide(2))
        try await self.tell(self.service, scope: scope) { [self] in
            try await eventually("the next is acknowledged") { self.notes.has("acknowledged 1.2") }
            #expect(self.board.traffic.bodies == 0 && self.board.traffic.deltas == 1)
        }
        var other = try Self.wide(2)
        other.pools[0].rows.removeAll()
        try self.holder.hold(other)
        self.notes.lines.withLock { $0 = [] }
        try await self.tell(self.service, scope: scope) { [self] in
            try await eventually("it is acknowledged") { self.notes.has("acknowledged 1.2") }
            #expect(self.board.traffic.bodies == 1)
            #expect(self.holder.held?.hash == (try EncodedPlan(try Self.wide(2)).slice(for: scope).hash))
        }
    }

    @Test("a delta that stands on another plan, or was damaged, is never used: the body is asked for and heals it")
    func heals() async throws {
        let forger = Forger()
        let scope = PlanScope(region: try RegionName("us-east"))
        let plans = try (1...3).map { try EncodedPlan(try Self.wide($0)).slice(for: scope) }
        @Sendable func resends() -> Int {
            forger.heard.withLock { $0.count { if case .resend = $0.kind { true } else { false } } }
        }
        @Sendable func acknowledged(_ generation: UInt64) -> Bool {
            forger.heard.withLock { $0.contains { $0.acknowledgement.version.generation == generation } }
        }
        try await self.tell(forger, scope: scope) { [self] in
            var (body, delta) = (Isobar_V1_HubMessage(), Isobar_V1_HubMessage())
            delta.delta = plans[1].delta(from: plans[0])
            try await forger.say(delta)
            try await eventually("without a plan there is nothing to change") { resends() == 1 }
            body.plan = plans[0].envelope
            try await forger.say(body)
            try await eventually("the body is taken") { acknowledged(1) }
            var damaged = delta
            damaged.delta.pools[0].pool.cost += 1
            try await forger.say(damaged)
            try await eventually("what it makes is not what the hub means") { resends() == 2 }
            damaged = delta
            damaged.delta.pools[0].clusterPlaces = [77]
            try await forger.say(damaged)
            try await eventually("a place that is not there") { resends() == 3 }
            damaged = delta
            damaged.delta = plans[2].delta(from: plans[1])
            try await forger.say(damaged)
            try await eventually("it stands on a plan that is not held") { resends() == 4 }
            #expect(self.holder.held?.hash == plans[0].hash)
            try await forger.say(delta)
            try await eventually("the right one is taken") { acknowledged(2) }
            #expect(self.holder.held?.hash == plans[1].hash && self.holder.state.withLock { $0.unfit.count } == 4)
            body.plan = plans[2].envelope
            body.plan.body[20] ^= 1
            try await forger.say(body)
            try await eventually("a damaged body is refused") {
                forger.heard.withLock { $0.contains { $0.refusal.reason == "the hash does not match the body" } }
            }
            #expect(self.holder.held?.hash == plans[1].hash)
        }
    }

    @Test("a hub that is asked for the body sends it")
    func resends() async throws {
        let scope = PlanScope(region: try RegionName("us-east"))
        try self.announce(try Self.wide(1))
        // The same name and hash as the hub's, and not what they stand for: what a bug at either end would look like.
        try await self.tell(self.service, scope: scope) { [self] in
            try await eventually("the plan is acknowledged") { self.notes.has("acknowledged 1.1") }
            var other = try Self.wide(1)
            other.pools[0].gap = 0.5
            try self.holder.hold(other)
            try self.announce(try Self.wide(2))
            try await eventually("the next is acknowledged") { self.notes.has("acknowledged 1.2") }
            #expect(self.notes.has("resending: the delta stands on another plan"))
            #expect(self.board.traffic.resent == 1 && self.board.traffic.bodies == 2)
            #expect(self.holder.held?.hash == (try EncodedPlan(try Self.wide(2)).slice(for: scope).hash))
        }
    }

    @Test("a gateway that answers no plan is given up, counted, and comes back")
    func slow() async throws {
        try await self.tell(self.service) { [self] in
            try await eventually("it has come") { self.notes.has("subscribed gw holding nothing") }
            try self.announce(try Self.plan(1, 1))
            try await eventually("the plan is acknowledged") { self.notes.has("acknowledged 1.1") }
            self.clock.move(by: 60)
            self.board.confirm()
            try await eventually("an answered plan is no reason") { self.holder.state.withLock { $0.heartbeats } > 0 }
            #expect(self.board.traffic.dropped == 0)
        }
        let mute = Mute()
        try await self.tell(Muted(self.service, mute)) { [self] in
            try await eventually("it has come") { self.notes.has("subscribed gw holding 1.1") }
            mute.isOn.withLock { $0 = true }
            try self.announce(try Self.plan(1, 2))
            try await eventually("it has the plan") { self.holder.held?.version.generation == 2 }
            self.board.confirm()
            #expect(self.board.traffic.dropped == 0)
            self.clock.move(by: PlanSubscription.patience + 1)
            self.board.confirm()
            try await eventually("it is given up") { self.board.traffic.dropped == 1 && self.notes.has("dropped") }
            mute.isOn.withLock { $0 = false }
            try await eventually("it comes back with what it holds") { self.notes.has("subscribed gw holding 1.2") }
        }
    }

    @Test("demand goes up on the same stream, newest first")
    func demand() async throws {
        let pool = try PoolName("llama")
        try await self.tell(self.service) { [self] in
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

/// Whether a hub is deaf.
private final class Mute: Sendable {
    let isOn = Mutex(false)
}

/// A hub that does not hear acknowledgements, while it is told so.
private struct Muted: DirectMethod {
    let service: PlanService<Notes>
    let mute: Mute
    var path: String { self.service.path }

    init(_ service: PlanService<Notes>, _ mute: Mute) {
        self.service = service
        self.mute = mute
    }

    private final class Stream: DirectStream {
        let stream: any DirectStream
        let mute: Mute
        init(_ stream: any DirectStream, _ mute: Mute) {
            self.stream = stream
            self.mute = mute
        }
        func received(_ message: ByteBuffer) {
            let heard = try? Isobar_V1_GatewayMessage(serializedBytes: Array(message.readableBytesView))
            if self.mute.isOn.withLock({ $0 }), case .acknowledgement? = heard?.kind { return }
            self.stream.received(message)
        }
        func writable() { self.stream.writable() }
        func ended() { self.stream.ended() }
    }

    func open(_ call: any DirectCall) -> any DirectStream { Stream(self.service.open(call), self.mute) }
}
