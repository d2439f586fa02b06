import FleetModel
import TestKit
import Testing

@testable import RequestRouting

/// A gateway of us-east with two local endpoints, and europe-west behind one peer.
struct Scene {
    let pool: PoolName
    let near: ClusterName
    let far: ClusterName
    let west: RegionName
    let endpoints: [EndpointAddress]
    let peer: EndpointAddress
    var router: Router
    var dice = SeededGenerator(seed: 11)
    var now: Seconds = 100

    init(policy: RoutingPolicy = .ours, planned: Bool = true) throws {
        self.pool = try PoolName("llama")
        self.near = try ClusterName("us-east-a")
        self.far = try ClusterName("europe-west-a")
        self.west = try RegionName("europe-west")
        self.endpoints = [try EndpointAddress("10.0.0.1:8000"), try EndpointAddress("10.0.0.2:8000")]
        self.peer = try EndpointAddress("10.1.0.1:8080")
        self.router = Router(region: try RegionName("us-east"), peers: [self.west: [self.peer]], policy: policy)
        self.router.probed(self.west, self.peer, roundTrip: 0.083, now: self.now)
        self.observe([0, 0])
        if planned { self.router.adopt(try Fixtures.plan(), now: self.now) }
    }

    /// The agent's newest readings: requests waiting at each endpoint, `nil` for one that does not answer.
    mutating func observe(_ waiting: [Int?]) {
        let samples = zip(self.endpoints, waiting).map { endpoint, waiting in
            EndpointSample(
                endpoint: endpoint,
                load: waiting.map { EndpointLoad(running: $0 > 0 ? 8 : 0, waiting: $0, kvUse: nil) },
                takenAt: self.now
            )
        }
        self.router.observe(
            SampleBatch(cluster: self.near, region: self.router.region, pool: self.pool, samples: samples)
        )
    }

    mutating func pick(failed: [EndpointAddress] = [], isHop: Bool = false) throws(PickRefusal) -> Pick {
        let request = PickRequest(pool: self.pool, band: .standard, isHop: isHop, failed: failed)
        return try self.router.pick(request, now: self.now, using: &self.dice)
    }

    /// Picks many requests that each finish at once, and counts them by cluster.
    mutating func shares(of count: Int) throws -> [ClusterName: Double] {
        var counts: [ClusterName: Double] = [:]
        for _ in 0..<count {
            let pick = try self.pick()
            self.router.finished(pick, .answered, now: self.now)
            counts[pick.cluster, default: 0] += 1 / Double(count)
            // Two a second: well within the capacity of the near cluster.
            self.now += 0.5
            self.observe([0, 0])
            self.router.adopt(try Fixtures.plan(generation: UInt64(self.now * 2)), now: self.now)
        }
        return counts
    }
}

@Suite("Routing a request")
struct RouterTests {
    @Test("an even fleet keeps the plan's shares: a second draw with no shorter wait changes nothing")
    func followsThePlan() throws {
        var scene = try Scene()
        let shares = try scene.shares(of: 4_000)
        #expect((0.17...0.23).contains(shares[scene.far] ?? 0))
        #expect(scene.router.inFlight == 0)
    }

    @Test("a queue at home sends to the other draw")
    func queueAtHome() throws {
        var scene = try Scene()
        scene.observe([9, 9])
        let picks = try (0..<400).map { _ in try scene.pick() }
        let far = picks.filter { $0.cluster == scene.far }.count
        // One far draw of two is enough now: 1 − 0.8² = 36 %, as long as far is free.
        #expect((90...200).contains(far))
        #expect(picks.allSatisfy { $0.reason == .plan })
        #expect(picks.first { $0.isRemote }?.target == scene.peer)
    }

    @Test("inside the cluster the endpoint with less ahead of it is taken")
    func endpointChoice() throws {
        var scene = try Scene()
        scene.observe([5, 0])
        let picks = try (0..<100).map { _ in try scene.pick() }.filter { !$0.isRemote }
        #expect(picks.prefix(20).allSatisfy { $0.target == scene.endpoints[1] })
        // 28 of its own are as much as 4·5 + 8: from there on they share.
        #expect(picks.contains { $0.target == scene.endpoints[0] })
    }

    @Test("an endpoint that does not answer its scrapes gets nothing while another does")
    func missingIsNotHealthy() throws {
        var scene = try Scene()
        scene.observe([nil, 3])
        #expect(try (0..<50).map { _ in try scene.pick() }.allSatisfy { $0.target != scene.endpoints[0] })
    }

    @Test("an endpoint that one of two agents cannot read stays, until the other one cannot either")
    func twins() throws {
        var scene = try Scene()
        func usable() -> Int { scene.router.usableEndpoints(of: scene.pool, now: scene.now) }
        func say(_ waiting: Int?, age: Seconds) {
            let samples = scene.endpoints.map { endpoint in
                EndpointSample(
                    endpoint: endpoint,
                    load: waiting.map { EndpointLoad(running: 1, waiting: $0, kvUse: nil) },
                    takenAt: scene.now - age
                )
            }
            scene.router.observe(
                SampleBatch(cluster: scene.near, region: scene.router.region, pool: scene.pool, samples: samples)
            )
        }
        for round in 0..<100 {
            scene.now += 0.1
            say(nil, age: 0)
            if round > 0 { #expect(usable() == 2, "round \(round)") }
            say(0, age: 0.15)
            #expect(usable() == 2, "round \(round)")
        }
        for _ in 0..<12 {
            scene.now += 0.1
            say(nil, age: 0)
        }
        #expect(usable() == 0)
    }

    @Test("when the agent is silent the endpoints are judged by their answers")
    func silentAgent() throws {
        var scene = try Scene()
        scene.observe([nil, nil])
        scene.now += 10
        let targets = Set(try (0..<50).map { _ in try scene.pick().target })
        #expect(targets.isSuperset(of: scene.endpoints))
    }

    @Test("a request that failed at one address goes to another, whatever the plan says")
    func retry() throws {
        var scene = try Scene()
        let first = try scene.pick()
        scene.router.finished(first, .failed, now: scene.now)
        let second = try scene.pick(failed: [first.target])
        #expect(second.target != first.target)
        let third = try scene.pick(failed: [first.target, second.target])
        #expect(![first.target, second.target].contains(third.target))
        #expect(throws: PickRefusal.noEndpoints) {
            try scene.pick(failed: scene.endpoints + [scene.peer])
        }
    }

    @Test("a lost region is left at once, by the rows that were solved for its loss, and found again by a probe")
    func regionLost() throws {
        var scene = try Scene()
        scene.router.probed(scene.west, scene.peer, roundTrip: nil, now: scene.now)
        #expect(scene.router.unreachable(now: scene.now) == [scene.west])
        let picks = try (0..<100).map { _ in try scene.pick() }
        #expect(picks.allSatisfy { $0.cluster == scene.near && $0.reason == .failover })
        scene.router.probed(scene.west, scene.peer, roundTrip: 0.083, now: scene.now)
        #expect(scene.router.unreachable(now: scene.now).isEmpty)
        #expect(try scene.pick().reason == .plan)
    }

    @Test("losing the own cluster sends everything to the rows for that loss")
    func homeLost() throws {
        var scene = try Scene()
        scene.observe([nil, nil])
        let picks = try (0..<50).map { _ in try scene.pick() }
        #expect(picks.allSatisfy { $0.cluster == scene.far && $0.reason == .failover })
    }

    @Test("a request from another gateway never leaves the region again")
    func hop() throws {
        var scene = try Scene()
        scene.observe([50, 50])
        #expect(try (0..<50).map { _ in try scene.pick(isHop: true) }.allSatisfy { !$0.isRemote && $0.reason == .hop })
        #expect(throws: PickRefusal.noEndpoints) { try scene.pick(failed: scene.endpoints, isHop: true) }
    }

    @Test("without a plan the own region serves; past its time to live the remote share goes by distance")
    func withoutTheHub() throws {
        var scene = try Scene(planned: false)
        let picks = try (0..<50).map { _ in try scene.pick() }
        #expect(picks.allSatisfy { $0.cluster == scene.near && $0.reason == .unplanned })

        scene = try Scene()
        scene.now += 300
        scene.observe([0, 0])
        #expect(try scene.pick().reason == .decayed)
        scene.router.confirm(now: scene.now)
        #expect(try scene.pick().reason == .plan)
    }

    @Test("every pick is closed once, and only once")
    func conservation() throws {
        var scene = try Scene()
        let picks = try (0..<20).map { _ in try scene.pick() }
        #expect(scene.router.inFlight == 20)
        for pick in picks {
            scene.router.finished(pick, .cancelled, now: scene.now)
            scene.router.finished(pick, .failed, now: scene.now)
        }
        #expect(scene.router.inFlight == 0)
        // The second end of a pick was ignored: nothing is ejected.
        #expect(scene.router.usableEndpoints(of: scene.pool, now: scene.now) == 2)
    }

    @Test("the same seed gives the same picks")
    func deterministic() throws {
        func run() throws -> [EndpointAddress] {
            var scene = try Scene()
            return try (0..<200).map { _ in try scene.pick().target }
        }
        #expect(try run() == run())
    }

    @Test("the baselines do what their names say")
    func baselines() throws {
        var nearest = try Scene(policy: .nearest)
        nearest.observe([50, 50])
        #expect(try (0..<50).map { _ in try nearest.pick() }.allSatisfy { $0.cluster == nearest.near })
        nearest.observe([nil, nil])
        #expect(try nearest.pick().cluster == nearest.far)

        var turns = try Scene(policy: .roundRobin)
        let picks = try (0..<50).map { _ in try turns.pick() }
        #expect(picks.filter { $0.cluster == turns.far }.count == 25)
    }
}

@Suite("Ejection")
struct TargetHealthTests {
    @Test("failures double the pause up to its end; a success forgets them")
    func doubling() {
        var health = TargetHealth()
        var now: Seconds = 0
        var pauses: [Seconds] = []
        for _ in 0..<6 {
            health.failed(now: now)
            pauses.append(health.ejectedUntil - now)
            now = health.ejectedUntil
        }
        #expect(pauses == [1, 2, 4, 8, 10, 10])
        health.succeeded()
        #expect(!health.isEjected(now: now))
        health.failed(now: now)
        #expect(health.ejectedUntil == now + 1)
    }

    @Test("requests that were on their way when an address was ejected do not lengthen the pause")
    func herd() {
        var health = TargetHealth()
        for _ in 0..<100 { health.failed(now: 5) }
        #expect(health.ejectedUntil == 6)
    }
}
