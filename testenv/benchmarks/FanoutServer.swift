import ArgumentParser
import FleetModel
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Glibc
import Logging
import PlanStream
import ServiceLifecycle
import Synchronization
import WireProtocol
import WireTransport

/// A hub's announcing side alone, told by lines on its standard input what to announce; what it cost comes back as a
/// line of JSON each.
///
/// The clock stops with the last acknowledgement, and the processor time is that of this process only.
struct FanoutServer: AsyncParsableCommand {
    enum Kind: String, ExpressibleByArgument, CaseIterable {
        /// As the hub does it.
        case direct
        /// As gRPC's own service would: a task, a queue and an encoding for each subscriber, and a body each time.
        case naive
    }

    static let configuration = CommandConfiguration(
        commandName: "fanout-server",
        abstract: "Announce plans to many gateways, as told line by line; see bench-fanout."
    )

    @Option var kind = Kind.direct
    @Option(help: "Regions, each a scope of its own.") var regions = 50
    @Option(help: "Clusters in the plan.") var clusters = 32
    @Option(help: "Folder of certificates, made by isobar pki; plain text without.") var pki: String?

    func run() async throws {
        let counter = AnswerCounter()
        let clock = LeapingClock()
        let board = PlanBoard(clock: { clock.now })
        let naive = NewestWins<EncodedPlan>()
        let kind = self.kind
        let scope = PlanScope(region: FanoutPlans.region(0))
        var plans = FanoutPlans(regions: self.regions, clusters: self.clusters)
        try await withThrowingTaskGroup(of: Void.self) { group in
            switch kind {
            case .direct:
                let links = try self.credentials()
                let server = try WireServer(
                    listen: EndpointAddress(host: "127.0.0.1", port: 0),
                    services: [],
                    methods: [PlanService(board: board, audience: counter)],
                    credentials: links,
                    onListening: { Self.say(["port": Double($0.port)]) }
                )
                if let links { group.addTask { try await links.run() } }
                group.addTask { try await server.run() }
            case .naive:
                let server = NaivePlans.server(plans: naive, counter: counter, pki: self.pki)
                group.addTask { try await server.serve() }
                Self.say(["port": Double(try await server.transport.listeningAddress.ipv4?.port ?? 0)])
            }
            func announce(_ plan: Plan, to count: Int) async throws -> [String: Double] {
                let encoded = try EncodedPlan(plan)
                let one = try encoded.slice(for: scope)
                let start = Usage()
                counter.begin(plan.version, count: count)
                switch kind {
                case .direct: try board.announce(encoded)
                // The slice of one region, for all of them: as many bytes, and none of the cutting.
                case .naive: naive.send(one)
                }
                let end = await counter.finished()
                return [
                    "seconds": end.time - start.time, "cpu": end.processor - start.processor,
                    "body": Double(one.envelope.body.count),
                ]
            }
            _ = try await announce(plans.next(.body), to: 0)
            for await line in Self.lines() {
                let words = line.split(separator: " ")
                switch words.first {
                case "settle":
                    counter.begin(plans.plan.version, count: Int(words[1]) ?? 0, counting: true)
                    _ = await counter.finished()
                    Self.say(["settled": 1])
                case "announce":
                    let change = FanoutPlans.Change(rawValue: String(words[1])) ?? .body
                    let before = board.traffic.bytes
                    var said = try await announce(plans.next(change), to: Int(words[2]) ?? 0)
                    said["bytes"] = Double(board.traffic.bytes - before)
                    Self.say(said)
                case "beat":
                    let (start, before) = (Usage(), board.traffic.heartbeats)
                    clock.leap(10)
                    board.confirm()
                    try await Task.sleep(for: .seconds(1))
                    Self.say([
                        "cpu": Usage().processor - start.processor, "beats": Double(board.traffic.heartbeats - before),
                    ])
                case "memory":
                    Self.say(["rss": Self.residentBytes()])
                default: break
                }
            }
            // Whoever started it is done.
            group.cancelAll()
        }
    }

    private func credentials() throws -> LinkCredentials? {
        let logger = Logger(label: "fanout", factory: { _ in SwiftLogNoOpLogHandler() })
        return try self.pki.map { folder in
            try LinkCredentials(
                files: LinkFiles(
                    certificate: "\(folder)/hub-bench.crt",
                    key: "\(folder)/hub-bench.key",
                    authority: "\(folder)/ca.crt"
                ),
                logger: logger
            )
        }
    }

    private static func lines() -> AsyncStream<String> {
        let (lines, inbox) = AsyncStream.makeStream(of: String.self)
        // A thread of its own: one of the pool's would be missing there.
        Thread.detachNewThread {
            while let line = readLine() { inbox.yield(line) }
            inbox.finish()
        }
        return lines
    }

    private static func say(_ values: [String: Double]) {
        let text = values.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\($0.value)" }.joined(separator: ",")
        // Not by `print`: to flush it waits for standard input, which a thread is always reading.
        FileHandle.standardOutput.write(Data("{\(text)}\n".utf8))
    }

    private static func residentBytes() -> Double {
        let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
        let pages = text.split(separator: " ").dropFirst().first.flatMap { Double($0) } ?? 0
        return pages * Double(getpagesize())
    }
}

/// The machine's clock, with leaps.
private final class LeapingClock: Sendable {
    private let start = ContinuousClock.now
    private let ahead = Mutex<Seconds>(0)

    var now: Seconds { (ContinuousClock.now - self.start) / .seconds(1) + self.ahead.withLock { $0 } }

    func leap(_ seconds: Seconds) { self.ahead.withLock { $0 += seconds } }
}

/// Time, and this process's processor time, in seconds.
struct Usage: Sendable {
    let time: Double
    let processor: Double

    init() {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        self.time = Double(now.tv_sec) + Double(now.tv_nsec) * 1e-9
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now)
        self.processor = Double(now.tv_sec) + Double(now.tv_nsec) * 1e-9
    }
}

/// Counts acknowledgements of one version.
private final class AnswerCounter: PlanAudience {
    private struct State {
        var version = PlanVersion(epoch: 0, generation: 0)
        var missing = 0
        var seen: [PlanVersion: Int] = [:]
        var end: Usage?
        var waiter: CheckedContinuation<Usage, Never>?
    }

    private let state = Mutex(State())

    /// Expects answers; with `counting`, those that came before count.
    func begin(_ version: PlanVersion, count: Int, counting: Bool = false) {
        self.state.withLock { state in
            let before = counting ? state.seen[version] ?? 0 : 0
            state.version = version
            state.missing = count - before
            state.end = state.missing <= 0 ? Usage() : nil
        }
    }

    func finished() async -> Usage {
        await withCheckedContinuation { continuation in
            let end = self.state.withLock { state -> Usage? in
                if state.end == nil { state.waiter = continuation }
                return state.end
            }
            if let end { continuation.resume(returning: end) }
        }
    }

    func acknowledged(_ gateway: GatewayName, _ version: PlanVersion) { self.acknowledged(version) }

    func acknowledged(_ version: PlanVersion) {
        let (waiter, end) = self.state.withLock { state -> (CheckedContinuation<Usage, Never>?, Usage?) in
            state.seen[version, default: 0] += 1
            guard version == state.version, state.missing > 0 else { return (nil, nil) }
            state.missing -= 1
            guard state.missing == 0 else { return (nil, nil) }
            let end = Usage()
            state.end = end
            defer { state.waiter = nil }
            return (state.waiter, end)
        }
        if let waiter, let end { waiter.resume(returning: end) }
    }

    func subscribed(_ gateway: GatewayName, region: RegionName, held: PlanVersion?) {}
    func refused(_ gateway: GatewayName, _ version: PlanVersion, reason: String) {}
    func reported(_ report: DemandReport) {}
    func left(_ gateway: GatewayName) {}
    func dropped(_ gateway: GatewayName) {}
    func resending(to gateway: GatewayName, reason: String) {}
    func unreadable(_ error: WireError) {}
}

/// The plan stream as a service of gRPC's own, on gRPC's own server as it comes.
private struct NaivePlans: Isobar_V1_Plans.SimpleServiceProtocol {
    let plans: NewestWins<EncodedPlan>
    let counter: AnswerCounter

    static func server(
        plans: NewestWins<EncodedPlan>,
        counter: AnswerCounter,
        pki: String?
    ) -> GRPCServer<HTTP2ServerTransport.Posix> {
        let security = pki.map { folder -> HTTP2ServerTransport.Posix.TransportSecurity in
            .mTLS(
                certificateChain: [.file(path: "\(folder)/hub-bench.crt", format: .pem)],
                privateKey: .file(path: "\(folder)/hub-bench.key", format: .pem)
            ) { $0.trustRoots = .certificates([.file(path: "\(folder)/ca.crt", format: .pem)]) }
        }
        return GRPCServer(
            transport: .http2NIOPosix(
                address: .ipv4(host: "127.0.0.1", port: 0),
                transportSecurity: security ?? .plaintext
            ),
            services: [NaivePlans(plans: plans, counter: counter)]
        )
    }

    func subscribe(
        request: RPCAsyncSequence<Isobar_V1_GatewayMessage, any Error>,
        response: RPCWriter<Isobar_V1_HubMessage>,
        context: ServerContext
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for await plan in self.plans.values() {
                    var message = Isobar_V1_HubMessage()
                    message.plan = plan.envelope
                    try await response.write(message)
                }
            }
            for try await message in request {
                if case .acknowledgement(let answer) = message.kind { self.counter.acknowledged(answer.version.model) }
            }
            group.cancelAll()
        }
    }
}
