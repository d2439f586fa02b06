import FleetModel
import RequestRouting
import TestKit
import Testing

@Suite struct SessionTests {
    private let pool = PoolName(namespace: "default", name: "chat")
    private let west = RegionName(unchecked: "west")
    private let east = RegionName(unchecked: "east")

    private func address(_ number: Int) -> EndpointAddress { EndpointAddress(host: "west", port: number) }

    /// A gateway in the west with two endpoints, and a plan that shares requests evenly with the east.
    private func router(waitingInTheEast: Int = 0, settings: RoutingSettings = RoutingSettings()) -> Router {
        let clusters = [("east", self.east, waitingInTheEast), ("west", self.west, 0)]
        let plan = PoolPlan(
            pool: self.pool,
            clusters: clusters.map { name, region, waiting in
                PlanCluster(
                    name: ClusterName(unchecked: name),
                    region: region,
                    state: .active,
                    capacity: 10,
                    unloadedTTFT: 0.1,
                    waiting: waiting,
                    freeSeats: waiting > 0 ? 0 : 100,
                    frame: FrameID(cluster: ClusterName(unchecked: name), incarnation: 1, sequence: 1),
                    price: 0.1
                )
            },
            rows: [
                PlanRow(
                    source: self.west,
                    band: .standard,
                    weights: [ClusterName(unchecked: "east"): 0.5, ClusterName(unchecked: "west"): 0.5]
                )
            ],
            failover: [],
            cost: 0,
            gap: 0
        )
        var router = Router(
            region: self.west,
            peers: [self.east: [EndpointAddress(host: "east", port: 1)]],
            settings: settings
        )
        router.adopt(
            Plan(version: PlanVersion(epoch: 1, generation: 1), parent: nil, timeToLive: 60, pools: [plan]),
            now: 0
        )
        router.observe(
            SampleBatch(
                cluster: ClusterName(unchecked: "west"),
                region: self.west,
                pool: self.pool,
                samples: (1...2).map {
                    EndpointSample(
                        endpoint: self.address($0),
                        load: EndpointLoad(running: 0, waiting: 0, kvUse: 0),
                        takenAt: 0
                    )
                }
            ),
            now: 0
        )
        return router
    }

    @Test func `a session stays in one cluster and at one endpoint`() throws {
        for session: UInt64 in 0..<20 {
            var router = self.router()
            var dice = SeededGenerator(seed: session)
            var targets: Set<EndpointAddress> = []
            for _ in 0..<10 {
                let request = PickRequest(pool: self.pool, band: .standard, promptTokens: 400, session: session)
                let pick = try router.pick(request, now: 0, using: &dice)
                router.finished(pick, .answered, now: 0)
                targets.insert(pick.target)
            }
            #expect(targets.count == 1)
        }
    }

    @Test func `sessions are shared out by the plan's weights`() throws {
        var router = self.router()
        var dice = SeededGenerator(seed: 1)
        var remote = 0
        for session: UInt64 in 0..<2_000 {
            let pick = try router.pick(
                PickRequest(pool: self.pool, band: .standard, session: session &* 7_919),
                now: 0,
                using: &dice
            )
            router.finished(pick, .answered, now: 0)
            remote += pick.isRemote ? 1 : 0
        }
        // Three standard deviations of 2,000 fair throws.
        #expect(abs(remote - 1_000) < 68)
    }

    @Test func `a session leaves a cluster whose queue costs more than its cache saves`() throws {
        let start = self.router(waitingInTheEast: 50)
        var dice = SeededGenerator(seed: 1)
        var remote = 0
        for session: UInt64 in 0..<400 {
            // As if it were the only one, so that the west stays empty.
            var router = start
            let pick = try router.pick(
                PickRequest(pool: self.pool, band: .standard, session: session),
                now: 0,
                using: &dice
            )
            remote += pick.isRemote ? 1 : 0
        }
        // A quarter draws the full cluster twice.
        #expect(abs(remote - 100) < 40)
    }

    @Test func `a prompt that has not begun keeps others away until its first token`() throws {
        var router = self.router()
        var dice = SeededGenerator(seed: 1)
        func pick(_ router: inout Router, tokens: Int) throws -> Pick {
            let request = PickRequest(
                pool: self.pool,
                band: .standard,
                isHop: true,
                cluster: ClusterName(unchecked: "west"),
                promptTokens: tokens
            )
            return try router.pick(request, now: 0, using: &dice)
        }
        let long = try pick(&router, tokens: 4_000)
        for _ in 0..<20 {
            let short = try pick(&router, tokens: 100)
            #expect(short.target != long.target)
        }
        router.began(long)
        let next = try pick(&router, tokens: 100)
        #expect(next.target == long.target)
    }

    @Test func `the longest length that a client can claim overflows nothing`() throws {
        var router = self.router()
        var dice = SeededGenerator(seed: 1)
        for _ in 0..<4 {
            let request = PickRequest(pool: self.pool, band: .standard, promptTokens: .max)
            #expect(request.promptTokens == PickRequest.longestPrompt)
            _ = try router.pick(request, now: 0, using: &dice)
        }
    }
}
