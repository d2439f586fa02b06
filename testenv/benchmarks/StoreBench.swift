import ArgumentParser
import EtcdCare
import EtcdProcess
import FleetModel
import FleetPlanning
import Foundation
import GossipCore
import HubProgram
import Leadership
import LoopbackPorts
import PlanStream
import ProcessKit
import StateStore
import StateStoreEtcd
import StateStoreSQLite
import Synchronization

/// A day of plans, one a second, as fast as the store takes them: what the hub's own code leaves behind.
///
/// The plans are solved by the hub's own solver. The day is that of a fleet of 8 clusters in 4 regions, and runs in
/// memory, since what is left behind does not depend on the disk; what a plan writes, and how long that takes, is
/// measured on the disk with some hundreds of plans of a fleet of 30 clusters in 10 regions with 4 pools.
struct StoreBench: AsyncParsableCommand, Bench {
    static let name = "store"
    static let configuration = CommandConfiguration(
        commandName: "store",
        abstract: "A day of plans in SQLite and in etcd: how large the store grows, and what it writes."
    )

    @Option(help: "How many plans, one for each second.")
    var plans = 86_400
    @Option(help: ArgumentHelp("Where the day runs; in memory when the system has such a folder.", valueName: "folder"))
    var memory = FileManager.default.fileExists(atPath: "/dev/shm") ? "/dev/shm" : NSTemporaryDirectory()
    @Option(help: ArgumentHelp("A folder on a disk.", valueName: "folder"))
    var disk = NSTemporaryDirectory()

    private static let onDisk = 300
    private static let mebibyte = 1_048_576.0

    func measure() -> [Figure] { [] }

    func run() async throws {
        let fleets = (small: try PlannedDay(pools: 1, regions: 4, clusters: 8), large: try PlannedDay())
        var figures = [
            Figure(figure: "plan of the day, encoded", value: Double(try fleets.small.bytes(0)) / 1024, unit: "KiB"),
            Figure(figure: "plan on the disk, encoded", value: Double(try fleets.large.bytes(0)) / 1024, unit: "KiB"),
        ]
        figures += try await self.day("SQLite", fleets) { folder, body in
            let store = try SQLiteStore(path: "\(folder)/hub.sqlite")
            let own = ProcessInfo.processInfo.processIdentifier
            try await Self.running(store) { try await body(store, own) }
        }
        figures += try await self.day("etcd", fleets) { folder, body in
            try await Self.withEtcd(folder) { store, process in
                try await Self.running(store) { try await body(store, process) }
            }
        }
        self.report(figures)
    }

    private typealias Body = @Sendable (any StateStore, Int32) async throws -> Void

    /// A day in memory and a few minutes on the disk.
    private func day(
        _ name: String,
        _ fleets: (small: PlannedDay, large: PlannedDay),
        _ with: @Sendable (_ folder: String, _ body: @escaping Body) async throws -> Void
    ) async throws -> [Figure] {
        let box = FigureBox()
        try await Self.inFolder(of: self.memory) { folder in
            try await with(folder) { store, process in
                let marks = 8
                var sizes: [Double] = []
                let clock = ContinuousClock()
                let took = try await clock.measure {
                    try await fleets.small.run(store, plans: self.plans, marks: marks) { done in
                        let size = Double(await store.health().members.compactMap(\.size).max() ?? 0) / Self.mebibyte
                        sizes.append(size)
                        let hours = Double(done) / 3_600
                        box.add("\(name): file after \(String(format: "%.0f", hours)) h", size, "MiB")
                    }
                }
                box.add("\(name): plans taken, in memory", Double(self.plans) / (took / .seconds(1)), "plans/s")
                let growth = (sizes.last ?? 0) / (sizes.first ?? 1)
                box.add("\(name): file at the end, beside that after an eighth", growth, "×", goal: 1.25)
                box.add("\(name): whole folder at the end", Double(Self.size(of: folder)) / Self.mebibyte, "MiB")
                if let resident = Self.resident(process), name == "etcd" {
                    box.add("etcd: memory of its process at the end", Double(resident) / 1024, "MiB")
                }
            }
        }
        try await Self.inFolder(of: self.disk) { folder in
            try await with(folder) { store, process in
                // The first ones make files.
                try await fleets.large.run(store, plans: 20, marks: 1) { _ in }
                let before = Self.written(process)
                let clock = ContinuousClock()
                let took = try await clock.measure {
                    try await fleets.large.run(store, plans: Self.onDisk, marks: 1) { _ in }
                }
                box.add(
                    "\(name): one plan and its history, on the disk",
                    took / .milliseconds(1) / Double(Self.onDisk),
                    "ms"
                )
                if let before, let after = Self.written(process) {
                    let bytes = Double(after - before) / Double(Self.onDisk) / 1024
                    box.add("\(name): written to the disk at one plan a second", bytes, "KiB/s")
                }
            }
        }
        return box.all
    }

    private static func inFolder(of parent: String, _ body: (String) async throws -> Void) async throws {
        let folder = "\(parent)/isobar-bench-store-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await body(folder)
    }

    private static func running(_ store: any StateStore, _ body: () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await store.run() }
            defer { group.cancelAll() }
            let deadline = ContinuousClock.now + .seconds(30)
            while await store.health().members.contains(where: { !$0.isReachable }), ContinuousClock.now < deadline {
                try await Task.sleep(for: .milliseconds(50))
            }
            try await body()
        }
    }

    /// One member, as a hub runs it.
    private static func withEtcd(_ folder: String, _ body: (EtcdStore, Int32) async throws -> Void) async throws {
        let ports = try FreePorts.take(2)
        let site = EtcdSite(
            replica: ReplicaName(unchecked: "hub-0"),
            client: EndpointAddress(host: "127.0.0.1", port: ports[0]),
            peer: EndpointAddress(host: "127.0.0.1", port: ports[1])
        )
        let settings = EtcdLaunch.Settings(
            site: site,
            sites: [site],
            data: "\(folder)/etcd",
            certificates: nil,
            quota: 2 << 30,
            election: 1
        )
        let launch = EtcdLaunch(
            settings: settings,
            state: .new,
            members: [.init(name: "hub-0", peer: settings.url(site.peer))]
        )
        let program = try await EtcdProgram.find("etcd")
        let data = try EtcdData(path: settings.data)
        let store = try EtcdStore(EtcdSettings(endpoints: [site.client], patience: .seconds(5)))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { _ = try await EtcdProcess(program: program, data: data).run(launch) { _ in } }
            defer { group.cancelAll() }
            var process: Int32?
            while process == nil {
                process = data.process
                try await Task.sleep(for: .milliseconds(20))
            }
            try await body(store, process ?? 0)
        }
    }

    private static func size(of folder: String) -> Int {
        let walk = FileManager.default.enumerator(atPath: folder)
        return (walk?.compactMap { $0 as? String } ?? []).reduce(0) { sum, name in
            let size = try? FileManager.default.attributesOfItem(atPath: "\(folder)/\(name)")[.size] as? NSNumber
            return sum + (size?.intValue ?? 0)
        }
    }

    /// Bytes that a process has had written to disks, as Linux counts them.
    private static func written(_ process: Int32) -> Int? { self.number("write_bytes:", in: "/proc/\(process)/io") }

    /// KiB of memory.
    private static func resident(_ process: Int32) -> Int? { self.number("VmRSS:", in: "/proc/\(process)/status") }

    private static func number(_ word: String, in file: String) -> Int? {
        guard let text = try? String(contentsOfFile: file, encoding: .utf8) else { return nil }
        let line = text.split(separator: "\n").first { $0.hasPrefix(word) }
        return line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) }
    }
}

/// Figures that come one by one.
private final class FigureBox: Sendable {
    private let figures = Mutex<[Figure]>([])

    func add(_ figure: String, _ value: Double, _ unit: String, goal: Double? = nil) {
        self.figures.withLock { $0.append(Figure(figure: figure, value: value, unit: unit, goal: goal)) }
    }

    var all: [Figure] { self.figures.withLock { $0 } }
}

/// The plans of a day, made by the hub's own solver, and the hub's own way of storing them.
struct PlannedDay: Sendable {
    private let generations: [HubMind.Generation]

    /// Twelve seconds of a fleet whose demand moves.
    init(pools: Int = 4, regions: Int = 10, clusters: Int = 30) throws {
        var mind = HubMind()
        let pools = try (0..<pools).map { try PoolName("default/model-\($0)") }
        let regions = try (0..<regions).map { try RegionName("region-\($0)") }
        let clusters = try (0..<clusters).map { try ClusterName("cluster-\($0)") }
        var made: [HubMind.Generation] = []
        for second in 0..<12 {
            let now = Double(second)
            for (place, cluster) in clusters.enumerated() {
                let digests = pools.map { pool in
                    PoolDigest(
                        pool: pool,
                        state: .active,
                        endpointsReady: 8,
                        endpointsKnown: 8,
                        readingAge: 0.2,
                        running: 40 + (place + second) % 20,
                        waiting: (place * second) % 7,
                        kvMean: 0.4,
                        kvMax: 0.6,
                        capacity: 20 + Double(place % 5),
                        freeSeats: 100,
                        unloadedTTFT: 0.08 + 0.01 * Double(place % 3),
                        queueScale: 0.4,
                        requestRate: 8
                    )
                }
                let frame = DigestFrame(
                    id: FrameID(cluster: cluster, incarnation: 1, sequence: UInt64(second + 1)),
                    region: regions[place % regions.count],
                    agent: try AgentName("\(cluster)-0"),
                    interval: 1,
                    digests: digests
                )
                _ = try mind.digests.receive(frame, now: now)
            }
            for (place, region) in regions.enumerated() {
                let report = DemandReport(
                    gateway: try GatewayName("gateway-\(place)"),
                    region: region,
                    demand: pools.map { pool in
                        let swing = sin(Double(second) / 10 + Double(place))
                        return BandDemand(pool: pool, band: .standard, rate: 30 + 10 * swing)
                    },
                    roundTrips: Dictionary(
                        uniqueKeysWithValues: regions.enumerated().filter { $0.element != region }.map {
                            ($0.element, 0.02 * Double(1 + abs($0.offset - place)))
                        }
                    )
                )
                _ = mind.demand.receive(report, now: now)
            }
            let version = PlanVersion(epoch: 1, generation: UInt64(second + 1))
            if let generation = mind.generation(version: version, parent: nil, now: now) { made.append(generation) }
        }
        self.generations = made
    }

    /// The size of a plan as the store has it.
    func bytes(_ place: Int) throws -> Int { try EncodedPlan(self.generations[place].plan).bytes().count }

    /// Leads, and has plans stored as a hub does, one for each second of its day.
    ///
    /// - Parameters:
    ///   - store: Where to.
    ///   - plans: How many.
    ///   - marks: How often to tell how far it is.
    ///   - mark: Told how many are done.
    /// - Throws: ``StoreError``.
    func run(_ store: any StateStore, plans: Int, marks: Int, _ mark: (Int) async -> Void) async throws {
        let ballot = Ballot(store: store, member: ReplicaMember(name: "hub-0", address: ""), now: { 0 })
        guard case .granted(let lease, _, _) = try await ballot.perform(.grant(timeToLive: 60)),
            case .seen(let leader?, _) = try await ballot.perform(.campaign(lease: lease)), leader.lease == lease
        else { throw StoreError(operation: "lead", reason: "somebody else leads") }
        var (record, _) = try await PlanRecord.open(store, term: leader.epoch)
        let history = PlanHistory(store: store, software: "bench")
        var compaction = Compaction()
        var renewed = ContinuousClock.now
        for second in 0..<plans {
            var generation = self.generations[second % self.generations.count]
            generation.plan.version = record.chain.next
            generation.plan.parent = record.chain.head
            let encoded = try EncodedPlan(generation.plan)
            guard case .committed = try await record.accept(encoded) else {
                throw StoreError(operation: "accept", reason: "the plan of second \(second) was not taken")
            }
            let now = Double(second)
            _ = try await history.keep(generation, encoded, cause: "tick", change: 0, oldestDigest: 1, now: now)
            if second % Int(Compaction.pause) == 0 {
                let revision = try await store.read(prefix: Ballot.leaderKey).revision
                if let old = compaction.note(revision, now: now) { try await store.compact(before: old) }
            }
            if ContinuousClock.now - renewed > .seconds(5) {
                renewed = .now
                _ = try await ballot.perform(.renew(lease: lease))
            }
            if (second + 1) % max(1, plans / marks) == 0 { await mark(second + 1) }
        }
        _ = try await ballot.perform(.end(lease: lease))
    }
}
