import FleetModel
import TestKit
import Testing

@testable import Leadership

@Suite("An election")
struct ElectionTests {
    /// A candidate that holds lease 7 of 2 s, asked for at 0, and has looked.
    private static func candidate(_ leader: Leader? = nil) -> Election {
        var election = Election(timeToLive: 2)
        #expect(election.step(.tick, now: 0) == [.grant(timeToLive: 2)])
        #expect(election.step(.granted(lease: 7, timeToLive: 2, askedAt: 0), now: 0.1) == [.look])
        _ = election.step(.seen(leader, revision: 10), now: 0.1)
        return election
    }

    private static let other = Leader(epoch: 5, lease: 3, name: "b")
    private static let me = Leader(epoch: 11, lease: 7, name: "a")

    @Test("whoever finds the place empty asks for it, and leads in the epoch of its key")
    func wins() {
        var election = Election(timeToLive: 2)
        _ = election.step(.tick, now: 0)
        _ = election.step(.granted(lease: 7, timeToLive: 2, askedAt: 0), now: 0)
        #expect(election.step(.seen(nil, revision: 10), now: 0.1) == [.campaign(lease: 7)])
        #expect(election.step(.tick, now: 0.2) == [], "it asks once")
        #expect(election.step(.seen(Self.me, revision: 11), now: 0.2) == [.lead(epoch: 11)])
        #expect(election.epoch == 11)
    }

    @Test("who follows waits until the leader's key is gone")
    func follows() {
        var election = Self.candidate(Self.other)
        #expect(election.step(.tick, now: 0.3) == [])
        #expect(election.leader == Self.other)
        #expect(election.step(.seen(nil, revision: 12), now: 0.4) == [.campaign(lease: 7)])
        #expect(election.step(.seen(Self.other, revision: 13), now: 0.5) == [], "another one was faster")
        #expect(election.epoch == nil)
    }

    @Test("an answer that was lost is found again: a key under its own lease is its own")
    func unknown() {
        var election = Self.candidate()
        #expect(election.step(.failed(.campaign(lease: 7)), now: 0.2) == [])
        #expect(election.step(.tick, now: 0.31) == [.campaign(lease: 7)])
        #expect(election.step(.seen(Self.me, revision: 11), now: 0.32) == [.lead(epoch: 11)])
    }

    @Test("a watch that tells of the past changes nothing")
    func late() {
        var election = Self.candidate()
        _ = election.step(.seen(Self.me, revision: 11), now: 0.2)
        #expect(election.step(.seen(nil, revision: 9), now: 0.3) == [])
        #expect(election.step(.seen(Self.other, revision: 8), now: 0.3) == [])
        #expect(election.epoch == 11)
    }

    @Test("a leader that cannot renew steps down before its lease can end, and leads again when it still lives")
    func expires() {
        var election = Self.candidate()
        _ = election.step(.seen(Self.me, revision: 11), now: 0.2)
        #expect(election.step(.tick, now: 0.7) == [.renew(lease: 7)])
        #expect(election.step(.failed(.renew(lease: 7)), now: 1.2) == [])
        #expect(election.step(.tick, now: 1.31) == [.renew(lease: 7)])
        #expect(election.step(.tick, now: 1.89) == [])
        #expect(election.epoch == 11)
        #expect(election.step(.tick, now: 1.91) == [.stepDown(epoch: 11)])
        #expect(election.epoch == nil)
        #expect(election.step(.seen(Self.me, revision: 12), now: 1.92) == [], "not on a lease that may be over")
        #expect(election.step(.renewed(lease: 7, timeToLive: 2, askedAt: 1.31), now: 1.95) == [.lead(epoch: 11)])
        #expect(election.epoch == 11)
        #expect(election.leaseUntil == 1.31 + 1.9)
    }

    @Test("a lease that has ended is replaced by another one")
    func ended() {
        var election = Self.candidate()
        _ = election.step(.seen(Self.me, revision: 11), now: 0.2)
        #expect(election.step(.tick, now: 1.91) == [.stepDown(epoch: 11), .renew(lease: 7)])
        #expect(election.step(.ended(lease: 7), now: 2.5) == [.grant(timeToLive: 2)])
        #expect(election.step(.granted(lease: 8, timeToLive: 2, askedAt: 2.5), now: 2.6) == [.look])
    }

    @Test("one that is not prepared lets others go first, for half a second")
    func courteous() {
        var election = Self.candidate(Self.other)
        _ = election.step(.prepared(false), now: 0.2)
        #expect(election.step(.seen(nil, revision: 12), now: 0.3) == [])
        #expect(election.step(.tick, now: 0.6) == [])
        #expect(election.step(.seen(Self.other, revision: 13), now: 0.65) == [], "another one was prepared")
        _ = election.step(.renewed(lease: 7, timeToLive: 2, askedAt: 0.66), now: 0.66)
        #expect(election.step(.seen(nil, revision: 14), now: 0.7) == [])
        #expect(election.step(.tick, now: 1.21) == [.campaign(lease: 7)], "nobody else came")

        var other = Self.candidate(Self.other)
        _ = other.step(.prepared(false), now: 0.2)
        _ = other.step(.seen(nil, revision: 12), now: 0.3)
        #expect(other.step(.prepared(true), now: 0.4) == [.campaign(lease: 7)])
    }

    @Test("a renewal counts from when it was asked for, not from when it was answered")
    func renews() {
        var election = Self.candidate()
        _ = election.step(.tick, now: 0.7)
        _ = election.step(.renewed(lease: 7, timeToLive: 2, askedAt: 0.7), now: 1.5)
        #expect(election.leaseUntil == 0.7 + 1.9)
    }

    @Test("a leader whose key somebody deleted steps down, and may ask again")
    func deposed() {
        var election = Self.candidate()
        _ = election.step(.seen(Self.me, revision: 11), now: 0.2)
        #expect(election.step(.seen(nil, revision: 12), now: 0.3) == [.stepDown(epoch: 11), .campaign(lease: 7)])
    }

    @Test("who resigns steps down, gives its lease back at once, and asks for nothing more")
    func resigns() {
        var election = Self.candidate()
        _ = election.step(.seen(Self.me, revision: 11), now: 0.2)
        #expect(election.step(.resign, now: 0.3) == [.stepDown(epoch: 11), .end(lease: 7)])
        #expect(!election.isOver)
        #expect(election.step(.seen(nil, revision: 12), now: 0.4) == [])
        #expect(election.step(.ended(lease: 7), now: 0.4) == [])
        #expect(election.isOver)

        var early = Election(timeToLive: 2)
        _ = early.step(.tick, now: 0)
        #expect(early.step(.resign, now: 0.1) == [])
        #expect(!early.isOver, "the lease that is being granted has to be given back")
        #expect(early.step(.granted(lease: 7, timeToLive: 2, askedAt: 0), now: 0.2) == [.end(lease: 7)])
    }

    @Test("never two leaders in one epoch, over many seeds of lost answers, pauses and skewed clocks")
    func manySeeds() {
        for seed in 0..<200 as Range<UInt64> {
            var world = ElectionWorld(seed: seed, candidates: 3)
            world.run(until: 60)
            #expect(world.faults == [], "seed \(seed)")
            #expect(world.epochs > 0, "nobody ever led with seed \(seed)")
        }
    }
}

/// Three candidates and a store in virtual time; answers are lost, late and out of order, candidates pause, and clocks
/// run at different speeds.
private struct ElectionWorld {
    private struct Delivery {
        var at: Seconds
        var candidate: Int
        var event: Election.Event
    }

    private var dice: SeededGenerator
    private var now: Seconds = 0
    private var candidates: [Election]
    private var pausedUntil: [Seconds]
    /// How fast each candidate's clock runs: within the margin.
    private let speeds: [Double]
    private var deliveries: [Delivery] = []
    private var leases: [Int64: Seconds] = [:]
    private var leasesEver: Int64 = 0
    private var revision: Int64 = 0
    private var leader: Leader?
    private var led: [UInt64: Int] = [:]
    private(set) var faults: [String] = []
    var epochs: Int { self.led.count }

    init(seed: UInt64, candidates count: Int) {
        var dice = SeededGenerator(seed: seed)
        self.speeds = (0..<count).map { _ in Double.random(in: 0.98...1.02, using: &dice) }
        self.candidates = (0..<count).map { _ in Election(timeToLive: 2) }
        self.pausedUntil = (0..<count).map { _ in 0 }
        self.dice = dice
    }

    mutating func run(until end: Seconds) {
        while self.now < end {
            self.now += 0.02
            let over = self.leases.filter { $0.value <= self.now }.keys.sorted()
            for lease in over { self.end(lease) }
            for candidate in self.candidates.indices where self.now >= self.pausedUntil[candidate] {
                if Double.random(in: 0..<1, using: &self.dice) < 0.0005 {
                    self.pausedUntil[candidate] = self.now + Double.random(in: 0...6, using: &self.dice)
                    continue
                }
                self.wake(candidate)
            }
            let leading = self.candidates.indices.filter {
                self.candidates[$0].epoch != nil && self.now >= self.pausedUntil[$0]
            }
            if leading.count > 1 { self.faults.append("at \(self.now) \(leading) lead at once") }
        }
    }

    private mutating func wake(_ candidate: Int) {
        let clock = self.now * self.speeds[candidate]
        // A process that wakes up looks at its clock before it does anything else.
        var effects = self.candidates[candidate].step(.tick, now: clock)
        let due = self.deliveries.filter { $0.candidate == candidate && $0.at <= self.now }
        self.deliveries.removeAll { $0.candidate == candidate && $0.at <= self.now }
        for delivery in due { effects += self.candidates[candidate].step(delivery.event, now: clock) }
        for effect in effects { self.perform(effect, candidate, clock) }
    }

    private mutating func perform(_ effect: Election.Effect, _ candidate: Int, _ clock: Seconds) {
        let isLost = Double.random(in: 0..<1, using: &self.dice) < 0.1
        let answer: Election.Event
        switch effect {
        case .grant(let timeToLive):
            self.leasesEver += 1
            self.leases[self.leasesEver] = self.now + timeToLive
            answer = .granted(lease: self.leasesEver, timeToLive: timeToLive, askedAt: clock)
        case .renew(let lease):
            if self.leases[lease] != nil { self.leases[lease] = self.now + 2 }
            answer =
                self.leases[lease] == nil
                ? .ended(lease: lease) : .renewed(lease: lease, timeToLive: 2, askedAt: clock)
        case .campaign(let lease):
            if self.leader == nil, self.leases[lease] != nil {
                self.revision += 1
                self.leader = Leader(epoch: UInt64(self.revision), lease: lease, name: "\(candidate)")
                self.tell()
            }
            answer = .seen(self.leader, revision: self.revision)
        case .look:
            answer = .seen(self.leader, revision: self.revision)
        case .end(let lease):
            self.end(lease)
            answer = .ended(lease: lease)
        case .lead(let epoch):
            if let before = self.led[epoch], before != candidate { self.faults.append("two led in \(epoch)") }
            self.led[epoch] = candidate
            return
        case .stepDown:
            return
        }
        self.deliver(isLost ? .failed(effect) : answer, to: candidate)
    }

    private mutating func end(_ lease: Int64) {
        self.leases[lease] = nil
        guard self.leader?.lease == lease else { return }
        self.revision += 1
        self.leader = nil
        self.tell()
    }

    private mutating func tell() {
        for candidate in self.candidates.indices {
            self.deliver(.seen(self.leader, revision: self.revision), to: candidate)
        }
    }

    private mutating func deliver(_ event: Election.Event, to candidate: Int) {
        let delay = Double.random(in: 0...0.3, using: &self.dice)
        self.deliveries.append(Delivery(at: self.now + delay, candidate: candidate, event: event))
    }
}
