import FleetModel
import TestKit
import Testing

@testable import RequestRouting

@Suite("How full a pool is")
struct FullnessTests {
    private func fullness(_ scene: inout Scene) -> Double {
        scene.router.fullness(of: PickRequest(pool: scene.pool, band: .standard), now: scene.now) ?? -1
    }

    @Test("thousands of quick requests between two readings do not fill it; as many that stay do")
    func quick() throws {
        var scene = try Scene()
        let request = PickRequest(pool: scene.pool, band: .standard)
        var open: [Pick] = []
        for _ in 0..<2_000 {
            let pick = try scene.router.pick(request, now: scene.now, using: &scene.dice)
            scene.router.finished(pick, .answered, now: scene.now)
        }
        #expect(self.fullness(&scene) == 0)
        #expect(scene.waits == 0)
        for _ in 0..<2_000 { open.append(try scene.router.pick(request, now: scene.now, using: &scene.dice)) }
        #expect(self.fullness(&scene) > 1)
        #expect(scene.waits > 0)
        for pick in open { scene.router.finished(pick, .answered, now: scene.now) }
        #expect(self.fullness(&scene) == 0)
        #expect(scene.waits == 0)
    }
}

extension Scene {
    /// The sum of what a request would wait, over all clusters, in seconds.
    fileprivate var waits: Seconds {
        self.router.pools[0].places.indices.reduce(0) {
            $0 + self.router.pools[0].wait(in: $1, now: self.now, self.router.settings)
        }
    }
}
