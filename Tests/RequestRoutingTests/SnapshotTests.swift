import FleetModel
import TestKit
import Testing

@testable import RequestRouting

@Suite("A router's snapshot")
struct SnapshotTests {
    @Test("a router that is built from it makes the same choices")
    func rebuilds() throws {
        var scene = try Scene()
        scene.observe([3, 1])
        for session: UInt64 in 1...40 { _ = try scene.pick(session: session) }
        scene.router.finished(try scene.pick(), .failed, now: scene.now)
        let plan = scene.router.planHeld
        let rebuilt = try Router(scene.router.snapshot(now: scene.now), plan: plan)
        for number: UInt64 in 1...60 {
            var request = PickRequest(pool: scene.pool, band: .standard, promptTokens: 50)
            if number.isMultiple(of: 2) { request.session = number }
            var (one, two) = (QuickDice(seed: number), QuickDice(seed: number))
            let live = try scene.router.explain(request, now: scene.now, using: &one)
            let saved = try rebuilt.explain(request, now: 0, using: &two)
            #expect(live.target == saved.target && live.reason == saved.reason && live.warm == saved.warm)
            #expect(live.endpoints.map(\.backlog) == saved.endpoints.map(\.backlog))
        }
    }

    @Test("to explain is not to choose: nothing is counted")
    func countsNothing() throws {
        var scene = try Scene()
        let before = scene.router.inFlight
        let explanation = try scene.router.explain(
            PickRequest(pool: scene.pool, band: .standard),
            now: scene.now,
            using: &scene.dice
        )
        #expect(scene.router.inFlight == before)
        #expect(explanation.clusters.count { $0.chosen } == 1)
        #expect(abs(explanation.clusters.reduce(0) { $0 + $1.share } - 1) < 1e-9)
    }
}
