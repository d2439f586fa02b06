import FleetModel
import RequestRouting
import TestKit
import Testing

@Suite("Admission")
struct AdmissionTests {
    private let pool = PoolName(namespace: "default", name: "llama")

    private func arrival(
        _ id: UInt64,
        _ band: Band = .standard,
        tenant: UInt64 = 0,
        tokens: Int = 100,
        deadline: Seconds? = nil
    ) -> Arrival {
        Arrival(id: id, pool: self.pool, band: band, tenant: tenant, promptTokens: tokens, deadline: deadline)
    }

    private func admission(waitingMax: Int = 1_000, shed: Double = 0) -> Admission {
        var settings = AdmissionSettings()
        settings.waitingMax = waitingMax
        settings.shedFactor = shed
        return Admission(settings: settings)
    }

    /// Takes out everybody for whom there is room, in order.
    private func drain(_ admission: inout Admission, now: Seconds = 1, room: (Band) -> Bool = { _ in true }) -> [UInt64]
    {
        var ids: [UInt64] = []
        while let id = admission.next(self.pool, now: now, hasRoom: room) { ids.append(id) }
        return ids
    }

    @Test("higher bands go first, and batch waits while there is room only for the others")
    func bands() {
        var (admission, dice) = (self.admission(), SeededGenerator(seed: 1))
        for (id, band) in [(1, Band.batch), (2, .standard), (3, .premium), (4, .standard)] {
            let verdict = admission.arrive(self.arrival(UInt64(id), band), now: 0, using: &dice)
            #expect(verdict == .wait(until: band == .batch ? 120 : 30, evicted: nil))
        }
        let first = self.drain(&admission) { $0 != .batch }
        #expect(first == [3, 2, 4])
        #expect(admission.count == 1 && admission.isQueued(self.pool, .batch))
        #expect(!admission.isQueued(self.pool, .standard), "nobody waits before a standard request")
        let rest = self.drain(&admission)
        #expect(rest == [1] && admission.waitingPools.isEmpty)
    }

    @Test("a tenant with a thousand requests does not keep another from its turn, and long prompts count for more")
    func fairness() {
        var (admission, dice) = (self.admission(waitingMax: 5_000), SeededGenerator(seed: 1))
        for id: UInt64 in 1...1_000 { _ = admission.arrive(self.arrival(id, tenant: 1), now: 0, using: &dice) }
        for id: UInt64 in 2_001...2_010 { _ = admission.arrive(self.arrival(id, tenant: 2), now: 0.5, using: &dice) }
        for id: UInt64 in 3_001...3_010 {
            _ = admission.arrive(self.arrival(id, tenant: 3, tokens: 400), now: 0.5, using: &dice)
        }
        var first: [UInt64] = []
        for _ in 0..<18 { if let id = admission.next(self.pool, now: 1, hasRoom: { _ in true }) { first.append(id) } }
        #expect(first.count { $0 <= 1_000 } == 8 && first.count { $0 / 1_000 == 2 } == 8)
        #expect(first.count { $0 / 1_000 == 3 } == 2)
    }

    @Test("the queue has an end: a higher band takes the youngest place of a lower one, and an equal is turned away")
    func bound() {
        var (admission, dice) = (self.admission(waitingMax: 2), SeededGenerator(seed: 1))
        _ = admission.arrive(self.arrival(1, .batch), now: 0, using: &dice)
        _ = admission.arrive(self.arrival(2, .batch), now: 1, using: &dice)
        let verdicts = [(3, Band.batch), (4, .standard), (5, .premium), (6, .standard)].map { id, band in
            admission.arrive(self.arrival(id, band), now: 2, using: &dice)
        }
        #expect(
            verdicts == [
                .drop(.saturated), .wait(until: 32, evicted: 2), .wait(until: 32, evicted: 1), .drop(.saturated),
            ]
        )
        #expect(admission.count == 2)
        let order = self.drain(&admission, now: 3)
        #expect(order == [5, 4])
    }

    @Test("the nearer the queue is to its end, the more are turned away: the fifth power of how full it is")
    func shedding() {
        var (admission, dice) = (self.admission(waitingMax: 1_000, shed: 1), SeededGenerator(seed: 7))
        for id: UInt64 in 1...800 { _ = admission.arrive(self.arrival(id, .premium), now: 0, using: &dice) }
        var shed = 0
        for id: UInt64 in 1_001...3_000 {
            let verdict = admission.arrive(self.arrival(id), now: 0, using: &dice)
            if case .wait = verdict { admission.leave(id) } else { shed += 1 }
        }
        // 0.8⁵ = 0.328 of 2,000; three standard deviations are 63.
        #expect(abs(shed - 655) < 63)
        let premium = admission.arrive(self.arrival(5_000, .premium), now: 0, using: &dice)
        #expect(premium == .wait(until: 30, evicted: nil), "premium is turned away last")
    }

    @Test("long waits shed as a long queue does")
    func sheddingByAge() {
        var (admission, dice) = (self.admission(shed: 1), SeededGenerator(seed: 7))
        _ = admission.arrive(self.arrival(1), now: 0, using: &dice)
        let late = admission.arrive(self.arrival(2), now: 30, using: &dice)
        #expect(late == .drop(.saturated))
    }

    @Test("nobody waits beyond its own deadline, and who leaves is gone")
    func deadlines() {
        var (admission, dice) = (self.admission(), SeededGenerator(seed: 1))
        let verdict = admission.arrive(self.arrival(1, deadline: 5), now: 0, using: &dice)
        #expect(verdict == .wait(until: 5, evicted: nil))
        #expect(admission.arrive(self.arrival(2, deadline: 0), now: 1, using: &dice) == .drop(.expired))
        _ = admission.arrive(self.arrival(3), now: 1, using: &dice)
        let left = [admission.leave(3), admission.leave(3)]
        #expect(left == [true, false])
        let late = self.drain(&admission, now: 6)
        #expect(late.isEmpty && admission.count == 0)
    }

    @Test("whoever arrives leaves exactly once, by whatever way")
    func conservation() {
        var (admission, dice) = (self.admission(waitingMax: 50, shed: 1), SeededGenerator(seed: 3))
        var inside: Set<UInt64> = []
        for id: UInt64 in 1...5_000 {
            let now = Double(id) / 100
            let band = Band.allCases[Int.random(in: 0..<3, using: &dice)]
            let tenant = UInt64.random(in: 0..<5, using: &dice)
            switch admission.arrive(self.arrival(id, band, tenant: tenant), now: now, using: &dice) {
            case .drop: break
            case .wait(_, let evicted):
                inside.insert(id)
                if let evicted { #expect(inside.remove(evicted) != nil) }
            }
            if Bool.random(using: &dice), let next = admission.next(self.pool, now: now, hasRoom: { _ in true }) {
                #expect(inside.remove(next) != nil)
            }
            if id.isMultiple(of: 7), let some = inside.min() {
                let isGone = admission.leave(some)
                #expect(isGone)
                inside.remove(some)
            }
            #expect(admission.count == inside.count && admission.count <= 50)
        }
    }
}
