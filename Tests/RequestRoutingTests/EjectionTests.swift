import FleetModel
import TestKit
import Testing

@testable import RequestRouting

@Suite("Ejections are counted")
struct EjectionTests {
    @Test("once for each time that an address goes out, and the ones that are out are known")
    func count() throws {
        var dice = SeededGenerator(seed: 1)
        let (pool, region) = (try PoolName("llama"), try RegionName("us-east"))
        var router = Router(region: region, peers: [:])
        let endpoints = try ["10.0.0.1:8000", "10.0.0.2:8000"].map { try EndpointAddress($0) }
        let samples = endpoints.map {
            EndpointSample(endpoint: $0, load: EndpointLoad(running: 0, waiting: 0, kvUse: nil), takenAt: 0)
        }
        router.observe(
            SampleBatch(cluster: try ClusterName("us-east-a"), region: region, pool: pool, samples: samples),
            now: 0
        )
        #expect(router.ejections == 0 && router.ejectedEndpoints(of: pool, now: 0) == 0)
        let request = PickRequest(pool: pool, band: .standard)
        let (one, two) = (
            try router.pick(request, now: 0, using: &dice), try router.pick(request, now: 0, using: &dice)
        )
        router.finished(one, .failed, now: 0)
        router.finished(two, one.target == two.target ? .failed : .answered, now: 0)
        #expect(router.ejections == 1 && router.ejectedEndpoints(of: pool, now: 0.5) == 1)
        #expect(router.ejectedEndpoints(of: pool, now: 5) == 0)
        #expect(router.pool(of: endpoints[0]) == pool)
    }
}
