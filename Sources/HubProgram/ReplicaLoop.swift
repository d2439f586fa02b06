import FleetModel
import Leadership
import Logging
import Observability
import ServiceLifecycle
import StateStore
import WireProtocol

/// This replica's part in the election, and what it knows of the others.
///
/// When the process is to end, it gives the leadership back first, so that another replica leads before this one has
/// closed its streams.
struct ReplicaLoop: Service {
    /// How often the election looks at the clock, in parts of a lease.
    static let ticks: Double = 40
    /// How often the store is asked how it is, in seconds.
    static let healthPeriod: Seconds = 5

    let hub: Hub
    let ballot: Ballot
    /// The lease to ask for, in seconds.
    let lease: Seconds

    func run() async throws {
        // Bounded far above what can wait: a lease has few events, and a tick that is pushed out is followed by others.
        let (events, inbox) = AsyncStream.makeStream(of: Election.Event.self, bufferingPolicy: .bufferingNewest(1_024))
        try await withGracefulShutdownHandler {
            try await withThrowingDiscardingTaskGroup { group in
                group.addTask { await self.watchLeader(inbox) }
                group.addTask { await self.watchMembers() }
                group.addTask { await self.watchHealth() }
                group.addTask { await self.tick(inbox) }
                var election = Election(timeToLive: self.lease)
                for await event in events {
                    for effect in election.step(event, now: self.hub.clock.now) {
                        switch effect {
                        case .lead(let epoch): self.lead(epoch)
                        case .stepDown(let epoch): self.stepDown(epoch)
                        case .grant, .renew, .campaign, .look, .end:
                            group.addTask { try await self.perform(effect, inbox) }
                        }
                    }
                    self.hub.stand(as: election)
                    if election.isOver { break }
                }
                group.cancelAll()
            }
        } onGracefulShutdown: {
            inbox.yield(.resign)
        }
    }

    private func lead(_ epoch: UInt64) {
        self.hub.logger.notice("leading", metadata: ["epoch": "\(epoch)"])
        self.hub.withState { $0.counts.terms += 1 }
    }

    private func stepDown(_ epoch: UInt64) {
        self.hub.logger.notice("no longer leading", metadata: ["epoch": "\(epoch)"])
    }

    /// - Throws: When another process has taken the store: this one must not go on, and whoever supervises it must
    ///   see it fail.
    private func perform(
        _ effect: Election.Effect,
        _ inbox: AsyncStream<Election.Event>.Continuation
    ) async throws {
        do throws(StoreError) {
            let event = try await self.ballot.perform(effect)
            inbox.yield(event)
            if case .granted(let lease, _, _) = event { try await self.ballot.register(under: lease) }
        } catch {
            if error.kind == .taken { throw error }
            inbox.yield(.failed(effect))
            if !Task.isCancelled { self.failed(error) }
        }
    }

    private func failed(_ error: StoreError) {
        let now = self.hub.clock.now
        let isNews = self.hub.withState { state in
            state.counts.storeFailures += 1
            return state.storeFaults.isNews(error.operation, now: now)
        }
        // A store that is away fails ten times a second; the counter has every one.
        if isNews { self.hub.logger.warning("store failed", metadata: ["reason": "\(error)"]) }
    }

    private func watchLeader(_ inbox: AsyncStream<Election.Event>.Continuation) async {
        await self.ballot.store.follow(
            prefix: Ballot.leaderKey,
            every: .seconds(max(1, self.lease)),
            lost: self.failed
        ) { inbox.yield(Ballot.seen($0)) }
    }

    private func watchMembers() async {
        await self.ballot.store.follow(prefix: Ballot.membersPrefix, lost: self.failed) { listing in
            self.hub.members.send(Ballot.members(listing))
        }
    }

    private func watchHealth() async {
        while !Task.isCancelled {
            let health = await self.ballot.store.health()
            self.hub.withState { $0.storeHealth = health }
            try? await Task.sleep(for: .seconds(Self.healthPeriod))
        }
    }

    private func tick(_ inbox: AsyncStream<Election.Event>.Continuation) async {
        var turn = 0
        while !Task.isCancelled {
            // Looking at every cluster costs more than looking at the clock.
            if turn % 5 == 0 { inbox.yield(.prepared(self.hub.isPrepared)) }
            turn += 1
            inbox.yield(.tick)
            try? await Task.sleep(for: .seconds(self.lease / Self.ticks))
        }
    }
}

/// A store's own work, for as long as the program runs.
struct StoreService: Service {
    let store: any StateStore

    func run() async { await cancelWhenGracefulShutdown { await self.store.run() } }
}
