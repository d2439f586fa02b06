import FleetModel
import TestKit
import Testing

@testable import RequestRouting

@Suite struct PromptWeightTests {
    private let pool = PoolName(namespace: "default", name: "chat")
    private let home = RegionName(unchecked: "home")
    private let quick = ClusterName(unchecked: "quick")
    private let slow = ClusterName(unchecked: "slow")
    private let closed = ClusterName(unchecked: "closed")

    @Test func `a mean prompt keeps its weights, a long one leans to the quick cluster, a short one to the slow`()
        throws
    {
        let even: ClusterShares = [self.quick: 0.5, self.slow: 0.5]
        var router = self.router(waiting: [:], weights: even)
        let index = router.route(self.pool)
        var routes = router.pools[index]
        routes.prompts.add(1_000)
        let quick = try #require(routes.index(of: self.quick))
        let slow = try #require(routes.index(of: self.slow))
        func leaning(_ tokens: Int, smoothing: Seconds = 0.05) -> [Double] {
            var routes = routes
            routes.weights[quick] = 0.5
            routes.weights[slow] = 0.5
            routes.lean(tokens, strength: 1, smoothing: smoothing)
            return routes.weights
        }
        #expect(leaning(1_000)[quick] == 0.5 && leaning(1_000)[slow] == 0.5)
        #expect(leaning(2_000)[quick] > 2 * leaning(2_000)[slow])
        #expect(leaning(100)[slow] > 2 * leaning(100)[quick])
        let extreme = leaning(10_000_000, smoothing: 1e-9)
        #expect(extreme[quick].isFinite && extreme[slow] > 0)
    }

    @Test func `the mean length is that of the prompts whose length is known`() {
        var lengths = PromptLengths()
        #expect(lengths.relative(500) == 1)
        for tokens in [1_000, 0, 3_000] { lengths.add(tokens) }
        #expect(lengths.mean == 2_000)
        #expect(lengths.relative(1_000) == 0.5)
        #expect(lengths.relative(0) == 1)
    }

    /// A gateway with a quick and a slow cluster in two other regions, and one that no row leads to.
    private func router(waiting: [ClusterName: Int], weights: ClusterShares) -> Router {
        let regions = [self.quick: "near", self.slow: "far", self.closed: "barred"]
        let clusters = regions.sorted { $0.key < $1.key }.map { name, region in
            PlanCluster(
                name: name,
                region: RegionName(unchecked: region),
                state: .active,
                capacity: 10,
                unloadedTTFT: name == self.quick ? 0.03 : 0.12,
                waiting: waiting[name] ?? 0,
                freeSeats: 0,
                frame: FrameID(cluster: name, incarnation: 1, sequence: 1),
                price: 0.1
            )
        }
        let plan = PoolPlan(
            pool: self.pool,
            clusters: clusters,
            rows: [PlanRow(source: self.home, band: .standard, weights: weights)],
            failover: [],
            cost: 0,
            gap: 0
        )
        var router = Router(
            region: self.home,
            peers: Dictionary(
                uniqueKeysWithValues: regions.values.map {
                    (RegionName(unchecked: $0), [EndpointAddress(host: $0, port: 1)])
                }
            )
        )
        for region in regions.values {
            let address = EndpointAddress(host: region, port: 1)
            router.probed(RegionName(unchecked: region), address, roundTrip: 0.05, now: 0)
        }
        router.adopt(
            Plan(version: PlanVersion(epoch: 1, generation: 1), parent: nil, timeToLive: 60, pools: [plan]),
            now: 0
        )
        return router
    }

    /// How many of 400 prompts of each length go to each cluster, at one moment with nothing sent before.
    private func picks(_ router: Router, lengths: [Int]) throws -> [Int: [ClusterName: Int]] {
        var router = router
        let index = router.route(self.pool)
        router.pools[index].prompts.add(1_000)
        var dice = SeededGenerator(seed: 1)
        var counts: [Int: [ClusterName: Int]] = [:]
        for length in lengths {
            for _ in 0..<400 {
                var copy = router
                let request = PickRequest(pool: self.pool, band: .standard, promptTokens: length)
                let pick = try copy.pick(request, now: 0, using: &dice)
                counts[length, default: [:]][pick.cluster, default: 0] += 1
            }
        }
        return counts
    }

    @Test func `without a queue a prompt's length changes nothing, with one the long go where prompts are quick`()
        throws
    {
        let even: ClusterShares = [self.quick: 0.5, self.slow: 0.5]
        let calm = try self.picks(self.router(waiting: [:], weights: even), lengths: [100, 4_000])
        // Three standard deviations of 400 fair throws are 30.
        for counts in calm.values { #expect(abs((counts[self.quick] ?? 0) - 200) < 40) }

        let busy = self.router(waiting: [self.quick: 8, self.slow: 8], weights: even)
        let counts = try self.picks(busy, lengths: [100, 4_000])
        #expect((counts[4_000]?[self.quick] ?? 0) > 300)
        #expect((counts[100]?[self.quick] ?? 0) < 160)
    }

    @Test func `a long queue is relieved against the plan's weights, but never by a cluster that no row led to`() throws
    {
        let weights: ClusterShares = [self.quick: 0.99, self.slow: 0.01]
        let short = try self.picks(self.router(waiting: [self.quick: 5], weights: weights), lengths: [1_000])
        #expect((short[1_000]?[self.slow] ?? 0) < 20)

        let long = try self.picks(self.router(waiting: [self.quick: 50], weights: weights), lengths: [1_000])
        // Half of the second draws find it.
        #expect((long[1_000]?[self.slow] ?? 0) > 150)
        #expect(long[1_000]?[self.closed] == nil)
    }
}
