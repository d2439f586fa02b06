import ArgumentParser
import FleetModel
import Glibc
import RequestRouting

/// How long one pick takes, and how often it asks for memory: 40 clusters, of which one with 1,000 endpoints stands in
/// the gateway's own region.
///
/// Requests come without a session, with one, and with the hash of their prompt's beginning, one after the other, and
/// each is finished; every thousand picks the agent's samples come anew. Each pick is timed alone.
struct PickBench: ParsableCommand, Bench {
    static let name = "pick"
    static let configuration = CommandConfiguration(
        commandName: "pick",
        abstract: "One request's choice: 1,000 endpoints, 40 clusters."
    )

    private static let count = 200_000
    private static let goal = 10.0

    func run() { self.report() }

    func measure() -> [Figure] {
        var scene = PickScene(endpoints: 1_000, clusters: 40)
        for _ in 0..<3 { scene.run(Self.count, into: nil) }
        var times = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: Self.count)
        defer { times.deallocate() }
        scene.run(Self.count, into: times)
        times.sort()
        func time(_ share: Double) -> Double { Double(times[Int(share * Double(Self.count - 1))]) / 1_000 }
        var figures = [
            Figure(figure: "one pick, 1000 endpoints, 40 clusters, p50", value: time(0.5), unit: "us"),
            Figure(figure: "the same, p99", value: time(0.99), unit: "us", goal: Self.goal),
            Figure(figure: "the same, p99.9", value: time(0.999), unit: "us"),
        ]
        if Allocations.counter != nil {
            let each = Double(scene.allocations) / Double(Self.count)
            figures.append(Figure(figure: "allocations a pick with its end, warm", value: each, unit: "", goal: 0))
        }
        return figures
    }
}

/// A router with a plan, and requests for it.
private struct PickScene {
    private var router: Router
    private var dice = QuickDice(seed: 5)
    private var requests: [PickRequest] = []
    private var batch: SampleBatch
    private var now: Seconds = 1
    /// Calls for memory by the picks and ends of the last run.
    private(set) var allocations: UInt64 = 0

    init(endpoints: Int, clusters: Int) {
        let home = RegionName(unchecked: "region-0")
        let pool = PoolName(namespace: "default", name: "llama")
        let names = (0..<clusters).map { ClusterName(unchecked: "cluster-\($0)") }
        let peers = Dictionary(
            uniqueKeysWithValues: (1..<clusters).map {
                (RegionName(unchecked: "region-\($0)"), [EndpointAddress(host: "10.1.0.\($0)", port: 8080)])
            }
        )
        self.router = Router(region: home, peers: peers)
        // Half at home, the rest anywhere.
        var weights = ClusterShares(minimumCapacity: clusters)
        for (place, name) in names.enumerated() { weights[name] = place == 0 ? 0.5 : 0.5 / Double(clusters - 1) }
        let plan = PoolPlan(
            pool: pool,
            clusters: names.enumerated().map { index, name in
                PlanCluster(
                    name: name,
                    region: RegionName(unchecked: "region-\(index)"),
                    state: .active,
                    capacity: 20_000,
                    unloadedTTFT: 0.05,
                    waiting: 0,
                    freeSeats: 10_000,
                    frame: FrameID(cluster: name, incarnation: 1, sequence: 1),
                    price: 0
                )
            },
            rows: Band.allCases.map { PlanRow(source: home, band: $0, weights: weights) },
            failover: [],
            cost: 0,
            gap: 0
        )
        self.router.adopt(
            Plan(version: PlanVersion(epoch: 1, generation: 1), parent: nil, timeToLive: 1e9, pools: [plan]),
            now: self.now
        )
        self.batch = SampleBatch(cluster: names[0], region: home, pool: pool, samples: [])
        for index in 0..<endpoints {
            self.batch.samples.append(
                EndpointSample(
                    endpoint: EndpointAddress(host: "10.0.\(index / 250).\(index % 250)", port: 8000),
                    load: EndpointLoad(running: index % 64, waiting: index % 7, kvUse: 0.5),
                    takenAt: self.now
                )
            )
        }
        self.router.observe(self.batch, now: self.now)
        for number in 0..<1_024 {
            var request = PickRequest(pool: pool, band: .standard, promptTokens: 700)
            if number % 3 == 1 { request.session = self.dice.next() }
            if number % 3 == 2 { request.prefix = self.dice.next() }
            self.requests.append(request)
        }
    }

    /// Picks and ends so many requests; with `times`, each pick's nanoseconds.
    mutating func run(_ count: Int, into times: UnsafeMutableBufferPointer<UInt64>?) {
        self.allocations = 0
        let counter = Allocations.counter
        for number in 0..<count {
            if number % 1_000 == 0 {
                self.now += 0.1
                for index in self.batch.samples.indices { self.batch.samples[index].takenAt = self.now }
                self.router.observe(self.batch, now: self.now)
            }
            let request = self.requests[number % 1_024]
            let allocated = counter?.pointee ?? 0
            let start = Self.nanoseconds
            do throws(PickRefusal) {
                let pick = try self.router.pick(request, now: self.now, using: &self.dice)
                if let times { times[number] = Self.nanoseconds - start }
                self.router.began(pick)
                self.router.finished(pick, .answered, now: self.now)
                self.allocations += (counter?.pointee ?? 0) - allocated
            } catch {
                preconditionFailure("the scene has endpoints for every request")
            }
        }
    }

    private static var nanoseconds: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
