import FleetModel
import Foundation
import NIOCore
import TestKit
import Testing

@testable import PlanStream

@Suite("What a hub says to one gateway")
struct PlanSubscriptionTests {
    private let scope = PlanScope(region: RegionName(unchecked: "us-east"))

    private func subscription(phase: Double = 0, held: EncodedPlan? = nil) -> PlanSubscription {
        PlanSubscription(scope: self.scope, phase: phase, held: held?.version, hash: held?.hash)
    }

    /// Announcements of the generations 1 to `count`, each after the one before.
    private func announcements(_ count: UInt64) throws -> [Announcement] {
        var last: Announcement?
        return try (1...count).map { generation in
            var plan = try Fixtures.plan(generation: generation)
            for number in 0..<20 {
                var cluster = plan.pools[0].clusters[0]
                cluster.name = ClusterName(unchecked: "z-\(number)")
                plan.pools[0].clusters.append(cluster)
            }
            plan.pools[0].clusters[0].waiting = Int(generation)
            let next = try Announcement(try EncodedPlan(plan), after: last)
            last = next
            return next
        }
    }

    @Test("a plan once; then nothing until it is time for a sign of life, or for the next plan")
    func once() throws {
        var subscription = self.subscription()
        let plan = try self.announcements(1)[0]
        guard case .body = try subscription.next(plan, isConfirmed: true, now: 0) else {
            Issue.record("no body")
            return
        }
        for now in stride(from: 0, to: PlanSubscription.heartbeatPeriod, by: 0.5) {
            #expect(try subscription.next(plan, isConfirmed: true, now: now)?.bytes == nil)
        }
        #expect(try subscription.next(plan, isConfirmed: false, now: 100)?.bytes == nil)
        guard case .heartbeat = try subscription.next(plan, isConfirmed: true, now: 100) else {
            Issue.record("no heartbeat")
            return
        }
        #expect(try subscription.next(plan, isConfirmed: true, now: 100)?.bytes == nil)
    }

    @Test("signs of life come in time, and not from all streams at once")
    func phases() throws {
        let plan = try self.announcements(1)[0]
        var beats: [Int] = []
        for place in 0..<10 {
            var subscription = self.subscription(phase: Double(place) / 10)
            _ = try subscription.next(plan, isConfirmed: true, now: 0)
            let first = try (1...10).first { now in
                try subscription.next(plan, isConfirmed: true, now: Double(now)) != nil
            }
            beats.append(first ?? .max)
        }
        #expect(beats.allSatisfy { Double($0) <= PlanSubscription.heartbeatPeriod })
        #expect(Set(beats).count > 1)
    }

    @Test("who holds the parent gets a delta, who missed it or could not use it the body")
    func deltas() throws {
        let plans = try self.announcements(4)
        let held = try #require(try plans[0].slice(for: self.scope)).encoded
        func kind(_ word: PlanSubscription.Word?) -> String {
            switch word {
            case .body: "body"
            case .delta: "delta"
            case .heartbeat: "heartbeat"
            case nil: "nothing"
            }
        }
        var subscription = self.subscription(held: held)
        #expect(kind(try subscription.next(plans[0], isConfirmed: true, now: 0)) == "heartbeat")
        // It missed the three between.
        let second = try Announcement(try EncodedPlan(try Fixtures.plan(generation: 9)), after: plans[3])
        #expect(kind(try subscription.next(second, isConfirmed: true, now: 0)) == "body")
        let fresh = try self.announcements(2)
        subscription = self.subscription(held: try #require(try fresh[0].slice(for: self.scope)).encoded)
        #expect(kind(try subscription.next(fresh[1], isConfirmed: true, now: 0)) == "delta")
        subscription.lost()
        #expect(kind(try subscription.next(fresh[1], isConfirmed: true, now: 0)) == "body")
    }

    @Test("a gateway is given up when it answers nothing; any answer is progress")
    func stuck() throws {
        var subscription = self.subscription()
        let plans = try self.announcements(3)
        for (index, plan) in plans.enumerated() {
            _ = try subscription.next(plan, isConfirmed: true, now: Double(index))
        }
        #expect(!subscription.isStuck(now: PlanSubscription.patience))
        #expect(subscription.isStuck(now: PlanSubscription.patience + 0.1))
        subscription.answered(PlanVersion(epoch: 1, generation: 1), now: 9)
        #expect(!subscription.isStuck(now: PlanSubscription.patience + 5))
        #expect(subscription.isStuck(now: PlanSubscription.patience + 10))
        subscription.answered(PlanVersion(epoch: 1, generation: 3), now: 15)
        #expect(!subscription.isStuck(now: 1_000))
    }
}

@Suite("An announcement")
struct AnnouncementTests {
    @Test("cuts a slice once for all gateways of a scope, and no more scopes than it keeps apart")
    func scopes() throws {
        let announcement = try Announcement(try EncodedPlan(try Fixtures.plan()))
        let (east, west) = (RegionName(unchecked: "us-east"), RegionName(unchecked: "europe-west"))
        let pool = try PoolName("default/llama")
        let first = try #require(try announcement.slice(for: PlanScope(region: east, pools: [pool, pool])))
        let again = try #require(try announcement.slice(for: PlanScope(region: east, pools: [pool])))
        func storage(_ buffer: ByteBuffer) -> UInt {
            buffer.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) }
        }
        #expect(storage(first.body) == storage(again.body))
        #expect(try #require(try announcement.slice(for: PlanScope(region: west, pools: [pool]))).body != first.body)
        for number in 0..<Announcement.scopesMax {
            _ = try announcement.slice(for: PlanScope(region: east, pools: [try PoolName("none/pool-\(number)")]))
        }
        // One more: it gets more than it asked for, and what it needs.
        let more = PlanScope(region: east, pools: [try PoolName("none/more")])
        let crowded = try #require(try announcement.slice(for: more))
        #expect(try crowded.encoded.plan().pools.map(\.pool) == [pool])
    }

    @Test("without a plan there is no slice")
    func empty() throws {
        #expect(try Announcement(nil).slice(for: PlanScope(region: RegionName(unchecked: "us-east")))?.body == nil)
    }
}
