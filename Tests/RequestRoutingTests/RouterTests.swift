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
            SampleBatch(cluster: self.near, region: self.router.region, pool: self.pool, samples: samples),
            now: self.now
        )
    }

    mutating func pick(
        failed: [EndpointAddress] = [],
        isHop: Bool = false,
        session: UInt64? = nil,
        prefix: UInt64? = nil,
        adapter: UInt64? = nil,
        tokens: Int = 0
    ) throws(PickRefusal) -> Pick {
        let request = PickRequest(
            pool: self.pool,
            band: .standard,
            isHop: isHop,
            failed: failed,
            promptTokens: tokens,
            session: session,
            prefix: prefix,
            adapter: adapter
        )
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

    @Test("what an endpoint says beside an answer is a reading: the younger counts, and it ages")
    func loadReports() throws {
        var scene = try Scene()
        scene.observe([500, 0])
        let picks = try (0..<60).map { _ in try scene.pick() }.filter { !$0.isRemote }
        let other = try #require(picks.first { $0.target == scene.endpoints[1] })
        func shareOfFirst() throws -> Double {
            let picks = try (0..<200).map { _ in try scene.pick() }.filter { !$0.isRemote }
            for pick in picks { scene.router.finished(pick, .answered, now: scene.now) }
            return Double(picks.count { $0.target == scene.endpoints[0] }) / Double(picks.count)
        }
        scene.now += 0.1
        scene.observe([500, 0])
        #expect(try shareOfFirst() < 0.1)
        // It has filled meanwhile, as its own answer says.
        scene.now += 0.1
        scene.router.reported(ReportedLoad(running: 900, waiting: 900), by: other, now: scene.now)
        #expect(try shareOfFirst() > 0.9)
        // An agent's older reading does not undo that, and its next one does.
        scene.now -= 0.05
        scene.observe([500, 0])
        scene.now += 0.05
        #expect(try shareOfFirst() > 0.9)
        scene.now += 0.1
        scene.observe([500, 0])
        #expect(try shareOfFirst() < 0.1)
        // One that says less goes over the last reading, and does not make it younger.
        scene.router.reported(ReportedLoad(waiting: 900), by: other, now: scene.now + 1)
        #expect(try shareOfFirst() > 0.9)
        scene.now += scene.router.settings.sampleAgeMax + 0.5
        #expect(abs(try shareOfFirst() - 0.5) < 0.35)
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
                SampleBatch(cluster: scene.near, region: scene.router.region, pool: scene.pool, samples: samples),
                now: scene.now
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
        let last = try scene.pick(failed: scene.endpoints + [scene.peer])
        #expect(last.need == .last && last.reason == .panic)
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

    @Test("nothing sound is left: the least bad is tried before anything is refused")
    func panic() throws {
        var scene = try Scene()
        scene.observe([nil, nil])
        scene.router.probed(scene.west, scene.peer, roundTrip: nil, now: scene.now)
        let picks = try (0..<40).map { _ in try scene.pick() }
        #expect(picks.allSatisfy { $0.need == .doubtful && $0.reason == .panic })
        #expect(picks.contains { !$0.isRemote } && picks.contains { $0.isRemote })
    }

    @Test("without a plan and without an endpoint at home, the gateways of other regions are asked")
    func unplannedAway() throws {
        var scene = try Scene(planned: false)
        scene.observe([nil, nil])
        let pick = try scene.pick()
        #expect(pick.target == scene.peer && pick.reason == .unplanned && pick.cluster.text == "europe-west")
        // A request that came from there does not go back, but to what there is.
        #expect(try scene.pick(isHop: true).need == .doubtful)
    }

    @Test("an endpoint that fails fast is busy with its errors, and ejected after five in a row")
    func errorsAreLoad() throws {
        var scene = try Scene()
        scene.observe([0, 1])
        let failing = scene.endpoints[0]
        var errors = 0
        for _ in 0..<60 {
            let pick = try scene.pick(isHop: true)
            errors += pick.target == failing ? 1 : 0
            scene.router.finished(pick, pick.target == failing ? .errored : .answered, now: scene.now)
            scene.now += 0.01
            scene.observe([0, 1])
        }
        // Two errors weigh more than a waiting request and a batch of eight.
        #expect((1...6).contains(errors))
        for _ in 0..<10 where scene.router.usableEndpoints(of: scene.pool, now: scene.now) == 2 {
            scene.observe([0, 90])
            let pick = try scene.pick(isHop: true)
            scene.router.finished(pick, pick.target == failing ? .errored : .answered, now: scene.now)
        }
        #expect(scene.router.usableEndpoints(of: scene.pool, now: scene.now) == 1)
    }

    @Test("a full KV cache keeps requests away")
    func kvPressure() throws {
        var scene = try Scene()
        func sample(_ index: Int, kv: Double) -> EndpointSample {
            EndpointSample(
                endpoint: scene.endpoints[index],
                load: EndpointLoad(running: 20, waiting: 0, kvUse: kv),
                takenAt: scene.now
            )
        }
        let samples = [sample(0, kv: 0.99), sample(1, kv: 0.5)]
        let batch = SampleBatch(cluster: scene.near, region: scene.router.region, pool: scene.pool, samples: samples)
        scene.router.observe(batch, now: scene.now)
        let picks = try (0..<30).map { _ in try scene.pick(isHop: true) }
        #expect(picks.allSatisfy { $0.target == scene.endpoints[1] })
    }

    @Test("an endpoint that joins takes its share slowly at first")
    func slowStart() throws {
        var scene = try Scene()
        let all = try (1...10).map { try EndpointAddress("10.0.0.\($0):8000") }
        func observe(_ count: Int) {
            let samples = all.prefix(count).map {
                EndpointSample(
                    endpoint: $0,
                    load: EndpointLoad(running: 0, waiting: 0, kvUse: nil),
                    takenAt: scene.now
                )
            }
            let batch = SampleBatch(
                cluster: scene.near,
                region: scene.router.region,
                pool: scene.pool,
                samples: samples
            )
            scene.router.observe(batch, now: scene.now)
        }
        func share(_ count: Int) throws -> Double {
            var newcomer = 0
            for _ in 0..<count {
                let pick = try scene.pick(isHop: true)
                scene.router.finished(pick, .answered, now: scene.now)
                newcomer += pick.target == all[9] ? 1 : 0
                scene.now += 0.000_1
                observe(10)
            }
            return Double(newcomer) / Double(count)
        }
        observe(9)
        scene.now += 1
        observe(10)
        #expect(try share(2_000) < 0.05)
        scene.now += 10
        observe(10)
        #expect((0.07...0.13).contains(try share(2_000)))
    }

    @Test("a draining cluster keeps its conversations, at home and away, and takes no new ones")
    func draining() throws {
        var scene = try Scene()
        var sessions: [UInt64: ClusterName] = [:]
        for session: UInt64 in 1...60 { sessions[session] = try scene.pick(session: session).cluster }
        for drained in [scene.near, scene.far] {
            var plan = try Fixtures.plan(generation: 900)
            for index in plan.pools[0].clusters.indices where plan.pools[0].clusters[index].name == drained {
                plan.pools[0].clusters[index].state = .draining
            }
            scene.router.adopt(plan, now: scene.now)
            let there = sessions.filter { $0.value == drained }.keys.sorted()
            #expect(!there.isEmpty)
            for session in there {
                let pick = try scene.pick(session: session)
                #expect(pick.cluster == drained && pick.reason == .existing)
            }
            let new: UInt64 = drained == scene.near ? 1_000 : 2_000
            for session in new..<new + 50 {
                #expect(try scene.pick(session: session).cluster != drained)
                #expect(try scene.pick().cluster != drained)
            }
        }
    }

    @Test("requests of one adapter keep to the endpoint that has it loaded, until too much waits there")
    func adapters() throws {
        var scene = try Scene()
        func pick(_ adapter: UInt64) throws -> Pick { try scene.pick(isHop: true, adapter: adapter) }
        for adapter: UInt64 in 1...8 {
            let home = try pick(adapter).target
            let more = try (0..<5).map { _ in try pick(adapter) }
            #expect(more.allSatisfy { $0.target == home && $0.isWarm })
        }
        let home = try pick(1).target
        scene.observe(scene.endpoints.map { $0 == home ? 40 : 0 })
        #expect(try pick(1).target != home)
    }

    @Test("a conversation goes where its text is cached, unless more waits there than the text is worth")
    func prefixes() throws {
        var scene = try Scene()
        func pick(_ prefix: UInt64, tokens: Int = 400) throws -> Pick {
            let pick = try scene.pick(isHop: true, prefix: prefix, tokens: tokens)
            scene.router.finished(pick, .answered, now: scene.now)
            scene.now += 0.001
            scene.observe([0, 0])
            return pick
        }
        let first = try pick(77)
        #expect(!first.isWarm, "nobody has sent this text before")
        #expect(try (0..<10).map { _ in try pick(77) }.allSatisfy { $0.target == first.target && $0.isWarm })
        // 400 cached tokens are worth 20 running requests; 8 and 4·2 are less, 8 and 4·9 are more.
        scene.observe(scene.endpoints.map { $0 == first.target ? 2 : 0 })
        #expect(try pick(77).target == first.target)
        scene.observe(scene.endpoints.map { $0 == first.target ? 9 : 0 })
        #expect(try pick(77).target != first.target)
        #expect(Set(try (0..<40).map { try pick(UInt64(1_000 + $0)).target }).count == 2)
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
        health.succeeded(now: now)
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
