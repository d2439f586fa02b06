import FleetModel
import TestKit
import Testing

@Suite("Names")
struct NameTests {
    @Test("a label is 1 to 63 lower-case letters, digits and inner hyphens")
    func labels() throws {
        for good in ["a", "us-east", "3", "a" + String(repeating: "b", count: 62)] {
            #expect(try RegionName(good).text == good)
        }
        for bad in ["", "-a", "a-", "US", "a.b", "a_b", "ü", String(repeating: "a", count: 64)] {
            let error = #expect(throws: InvalidName.self) { try RegionName(bad) }
            #expect(error?.description.hasPrefix("region \"\(bad)\" is not valid: use ") == true)
        }
    }

    @Test("a pool without a namespace is in the default one")
    func pools() throws {
        #expect(try PoolName("llama").description == "default/llama")
        #expect(try PoolName("serving/llama").namespace == "serving")
        for bad in ["", "/", "a/", "/a", "a/b/c"] { #expect(throws: InvalidName.self) { try PoolName(bad) } }
    }

    @Test(
        "an address is host:port, with or without http://",
        arguments: [
            ("127.0.0.1:8000", "127.0.0.1", 8_000), ("http://engine-0:80/", "engine-0", 80), ("[::1]:9", "::1", 9),
        ]
    )
    func addresses(text: String, host: String, port: Int) throws {
        let address = try EndpointAddress(text)
        #expect(address == EndpointAddress(host: host, port: port))
        #expect(try EndpointAddress(address.description) == address)
    }

    @Test(
        "what is no address is refused",
        arguments: ["", "host", "host:", "host:0", "host:65536", ":80", "::1:80", "a b:80", "a/b:80"]
    )
    func noAddress(text: String) {
        #expect(throws: InvalidName.self) { try EndpointAddress(text) }
    }

    @Test("port 0 is for listening only")
    func anyPort() throws {
        #expect(try EndpointAddress(listening: "127.0.0.1:0").port == 0)
        #expect(throws: InvalidName.self) { try EndpointAddress(listening: "127.0.0.1:-1") }
    }

    @Test("only this machine is loopback")
    func loopback() throws {
        for text in ["127.0.0.1:1", "127.8.9.1:1", "localhost:1", "[::1]:1"] {
            #expect(try EndpointAddress(text).isLoopback)
        }
        for text in ["10.0.0.1:1", "example:1", "0.0.0.0:1"] { #expect(try !EndpointAddress(text).isLoopback) }
    }
}

@Suite("Words of the fleet")
struct FleetModelTests {
    @Test("an objective's priority makes its band, and bands are served in order")
    func bands() {
        #expect([7, 1, 0, -1, -9].map(Band.init(priority:)) == [.premium, .premium, .standard, .batch, .batch])
        #expect(Band.allCases.sorted() == [.premium, .standard, .batch])
    }

    @Test("a frame is newer by its incarnation first, then by its sequence")
    func frames() throws {
        let cluster = try ClusterName("a")
        func id(_ incarnation: UInt64, _ sequence: UInt64) -> FrameID {
            FrameID(cluster: cluster, incarnation: incarnation, sequence: sequence)
        }
        #expect(id(2, 1).isNewer(than: id(1, 99)))
        #expect(id(2, 2).isNewer(than: id(2, 1)))
        #expect(!id(2, 1).isNewer(than: id(2, 1)))
        #expect(id(12, 345).description == "a@12.345")
    }

    @Test("a plan answers for a source and band, and for the loss of a cluster")
    func weights() throws {
        let (near, far) = (try ClusterName("near"), try ClusterName("far"))
        let source = try RegionName("us-east")
        let pool = PoolPlan(
            pool: try PoolName("llama"),
            clusters: [],
            rows: [PlanRow(source: source, band: .standard, weights: [near: 0.8, far: 0.2])],
            failover: [
                FailoverRows(lost: near, rows: [PlanRow(source: source, band: .standard, weights: [far: 1])])
            ],
            cost: 0.1,
            gap: 0
        )
        #expect(pool.weights(from: source, band: .standard) == [near: 0.8, far: 0.2])
        #expect(pool.weights(from: source, band: .standard, lost: near) == [far: 1])
        #expect(pool.weights(from: source, band: .standard, lost: far) == nil)
        #expect(pool.weights(from: source, band: .premium) == nil)
    }

    @Test("pauses grow to the longest, differ by the dice, and begin again after a success")
    func backoff() {
        var dice = SeededGenerator(seed: 3)
        var backoff = Backoff(first: 0.1, longest: 1)
        let pauses = (0..<8).map { _ in backoff.pause(using: &dice) }
        for (pause, full) in zip(pauses, [0.1, 0.2, 0.4, 0.8, 1, 1, 1, 1]) {
            #expect((full / 2...full).contains(pause))
        }
        backoff.reset()
        #expect(backoff.pause(using: &dice) <= 0.1)
    }
}
