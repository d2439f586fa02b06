package import FleetModel

/// Who stands at the leader key.
package struct Leader: Hashable, Sendable {
    /// The revision at which the key came to be: the fencing token of everything that this leader writes.
    package var epoch: UInt64
    /// The lease that the key ends with.
    package var lease: Int64
    /// The name of the replica.
    package var name: String

    package init(epoch: UInt64, lease: Int64, name: String) {
        self.epoch = epoch
        self.lease = lease
        self.name = name
    }
}

/// One replica's part in the election of a leader, as a value.
///
/// A candidate holds a lease. When no key stands at the leader's place it puts one there under its lease, on the
/// condition that there is none; whoever succeeds leads, in an epoch that is the key's creation revision. The store
/// deletes the key when the lease ends, and the next one succeeds.
///
/// A lease excludes nobody by itself: a leader that was paused may wake up after its lease. So everything that it
/// writes carries the epoch, and the store refuses a past one. Stepping down in time only saves it the attempt, and
/// keeps it from answering as a leader: it counts its lease from when it asked, by its own clock, and stops
/// ``margin`` before that time is over. The lease may still live: a store that has lost its own leader prolongs every
/// lease. So it goes on asking for the renewal, and leads again, in the same epoch, when that comes before the end.
///
/// Of several candidates one should lead that can make the next plan at once. One that has not yet heard what the plan
/// in force is made of lets the others go first, for ``courtesy``.
///
/// Source: C. Gray, D. Cheriton, "Leases: an efficient fault-tolerant mechanism for distributed file cache
/// consistency", SOSP 1989.
package struct Election: Sendable {
    /// What happened.
    package enum Event: Hashable, Sendable {
        case tick
        /// The store gave a lease that was asked for at a time on the receiver's clock.
        case granted(lease: Int64, timeToLive: Seconds, askedAt: Seconds)
        case renewed(lease: Int64, timeToLive: Seconds, askedAt: Seconds)
        /// The store says that the lease has ended.
        case ended(lease: Int64)
        /// What stood at the leader key at a revision of the store, from a watch or as an answer.
        case seen(Leader?, revision: Int64)
        /// The store did not do what an effect asked for, or nobody knows.
        case failed(Effect)
        /// Whether this replica could make the next plan now.
        case prepared(Bool)
        /// The process is to end.
        case resign
    }

    /// What is to be done; each is answered by an event, but ``lead(epoch:)`` and ``stepDown(epoch:)``.
    package enum Effect: Hashable, Sendable {
        case grant(timeToLive: Seconds)
        case renew(lease: Int64)
        /// Put the leader key there under the lease, if there is none; then ``Event/seen(_:revision:)``.
        case campaign(lease: Int64)
        /// Read the leader key; then ``Event/seen(_:revision:)``.
        case look
        /// End the lease, and the leader key with it; then ``Event/ended(lease:)``.
        case end(lease: Int64)
        case lead(epoch: UInt64)
        case stepDown(epoch: UInt64)
    }

    private struct Lease: Sendable {
        var id: Int64
        var timeToLive: Seconds
        /// From when on it is no longer counted on.
        var until: Seconds
        var renewAt: Seconds
    }

    /// After a failure, the same is tried again after this, in seconds.
    package static let pause: Seconds = 0.1

    /// The part of a lease that is not counted on: two clocks may run at different speeds.
    package static let margin = 0.05

    /// How long one that is not prepared leaves an empty place to others, in seconds.
    package static let courtesy: Seconds = 0.5

    /// A lease is renewed three times in its time: one renewal may fail.
    package static let renewals: Seconds = 3

    private let timeToLive: Seconds
    private var lease: Lease?
    /// The effect that has not been answered yet: nothing is asked for twice at once.
    private var asked: Effect?
    private var askAgainAt: Seconds = -.infinity
    private var isRenewing = false
    private var hasResigned = false
    private var isPrepared = true
    /// Since when no leader has been seen; `nil` while one is there.
    private var emptySince: Seconds?
    /// A watch may tell of the past after an answer told of the present.
    private var seenRevision: Int64 = 0
    /// The epoch in which this replica leads.
    package private(set) var epoch: UInt64?
    /// Whoever leads, as far as this replica has seen.
    package private(set) var leader: Leader?

    /// - Parameter timeToLive: The lease to ask for, in seconds; the store may give a longer one.
    package init(timeToLive: Seconds) { self.timeToLive = timeToLive }

    /// Until when the lease may be counted on; `nil` without one.
    package var leaseUntil: Seconds? { self.lease?.until }

    /// Whether this replica has resigned and its lease is no more: the process may end.
    package var isOver: Bool { self.hasResigned && self.lease == nil && self.asked == nil }

    /// Takes an event and says what to do.
    package mutating func step(_ event: Event, now: Seconds) -> [Effect] {
        var effects: [Effect] = []
        switch event {
        case .tick:
            break
        case .granted(let id, let timeToLive, let askedAt):
            self.asked = nil
            self.hold(id, timeToLive, askedAt)
            if !self.hasResigned { effects += self.ask(.look) }
        case .renewed(let id, let timeToLive, let askedAt):
            self.isRenewing = false
            if self.lease?.id == id {
                self.hold(id, timeToLive, askedAt)
                effects += self.see(self.leader, now)
            }
        case .ended(let id):
            self.isRenewing = false
            if self.asked == .end(lease: id) { self.asked = nil }
            if self.lease?.id == id { effects += self.drop() }
        case .seen(let leader, let revision):
            switch self.asked {
            case .look, .campaign: self.asked = nil
            case nil, .grant, .renew, .end, .lead, .stepDown: break
            }
            if revision >= self.seenRevision {
                self.seenRevision = revision
                effects += self.see(leader, now)
            }
        case .failed(.renew(let id)):
            self.isRenewing = false
            if self.lease?.id == id { self.lease?.renewAt = now + Self.pause }
        case .failed(let effect):
            self.asked = nil
            self.askAgainAt = now + Self.pause
            if case .end = effect { self.lease = nil }
        case .prepared(let isPrepared):
            self.isPrepared = isPrepared
        case .resign:
            self.hasResigned = true
        }
        return effects + self.due(now)
    }

    private mutating func hold(_ id: Int64, _ timeToLive: Seconds, _ askedAt: Seconds) {
        self.lease = Lease(
            id: id,
            timeToLive: timeToLive,
            until: askedAt + timeToLive * (1 - Self.margin),
            renewAt: askedAt + timeToLive / Self.renewals
        )
    }

    private mutating func see(_ leader: Leader?, _ now: Seconds) -> [Effect] {
        self.leader = leader
        self.emptySince = leader == nil ? self.emptySince ?? now : nil
        let lease = self.lease.flatMap { now < $0.until ? $0.id : nil }
        let mine = leader.flatMap { $0.lease == lease ? $0.epoch : nil }
        guard mine != self.epoch else { return [] }
        let before = self.epoch
        self.epoch = self.hasResigned ? nil : mine
        return (before.map { [.stepDown(epoch: $0)] } ?? []) + (self.epoch.map { [.lead(epoch: $0)] } ?? [])
    }

    /// The lease is no more.
    private mutating func drop() -> [Effect] {
        self.lease = nil
        return self.stepDown()
    }

    private mutating func stepDown() -> [Effect] {
        guard let epoch = self.epoch else { return [] }
        self.epoch = nil
        return [.stepDown(epoch: epoch)]
    }

    private mutating func ask(_ effect: Effect) -> [Effect] {
        guard self.asked == nil else { return [] }
        self.asked = effect
        return [effect]
    }

    /// What time and state ask for.
    private mutating func due(_ now: Seconds) -> [Effect] {
        var effects: [Effect] = []
        if let lease = self.lease, now >= lease.until { effects += self.stepDown() }
        if self.hasResigned {
            effects += self.stepDown()
            if let lease = self.lease { effects += self.ask(.end(lease: lease.id)) }
            return effects
        }
        guard let lease = self.lease else {
            return effects + (now >= self.askAgainAt ? self.ask(.grant(timeToLive: self.timeToLive)) : [])
        }
        if now >= lease.renewAt, !self.isRenewing {
            self.isRenewing = true
            effects.append(.renew(lease: lease.id))
        }
        let isMyTurn = self.isPrepared || now >= (self.emptySince ?? now) + Self.courtesy
        if self.leader == nil, isMyTurn, now >= self.askAgainAt, now < lease.until {
            effects += self.ask(.campaign(lease: lease.id))
        }
        return effects
    }
}
