import FleetModel
import FleetPlanning
import GossipCore
import Leadership
import Logging
import Observability
import PlanStream
import ServiceLifecycle
import StateStore
import WireProtocol

/// Serves the plan that stands in the store, and while this replica leads, makes the next one each tick and at once on
/// an alarm.
///
/// What is announced is in the store first: no gateway ever holds a plan that the store forgets.
struct PlanLoop: Service {
    /// From the beginning of one plan to that of the next: alarms come in bursts, and every plan costs a synced write.
    static let shortestPause: Seconds = 0.1
    /// Plans that may wait to be written to the history, which no plan waits for; the oldest makes room.
    static let historyBehind = 8

    let hub: Hub
    let store: any StateStore
    let desk: HubDesk
    let tick: Seconds

    func run() async throws {
        try await cancelWhenGracefulShutdown {
            guard try await self.load() else { return }
            try await withThrowingDiscardingTaskGroup { group in
                group.addTask { await self.beat() }
                group.addTask { await self.follow() }
                group.addTask { await self.desk.follow() }
                let (accepted, history) = AsyncStream.makeStream(
                    of: HubDesk.Accepted.self,
                    bufferingPolicy: .bufferingNewest(Self.historyBehind)
                )
                group.addTask { for await generation in accepted { await self.desk.keep(generation) } }
                try await self.plan(history)
                group.cancelAll()
            }
        }
    }

    /// Reads what stands before anything is said, however long the store is away.
    ///
    /// - Returns: `false` when the program is to end before that.
    /// - Throws: ``StoredStateError`` for a plan that this version cannot read.
    private func load() async throws -> Bool {
        var backoff = Backoff()
        var dice = SystemRandomNumberGenerator()
        while !Task.isCancelled {
            do {
                try await self.desk.load()
                let floor = try await EpochFloor.read(from: self.store)
                self.hub.withState { $0.epochFloor = floor }
                if let entry = try await self.store.get(PlanRecord.planKey) {
                    let (plan, encoded) = try PlanRecord.read(entry)
                    try self.hub.adopt(plan, encoded)
                } else {
                    try self.hub.board.announce(nil)
                }
                return true
            } catch let error as StoreError {
                let now = self.hub.clock.now
                if self.hub.withState({ $0.storeFaults.isNews("load", now: now) }) {
                    self.hub.logger.warning("the plan cannot be read yet", metadata: ["reason": "\(error)"])
                }
                try? await Task.sleep(for: .seconds(backoff.pause(using: &dice)))
            }
        }
        return false
    }

    private func beat() async {
        while !Task.isCancelled {
            self.hub.weighSilence()
            self.hub.wantPlan("tick")
            try? await Task.sleep(for: .seconds(self.tick))
        }
    }

    /// Announces every plan that comes to stand in the store, whoever made it.
    private func follow() async {
        await self.store.follow(prefix: PlanRecord.planKey) { listing in
            guard let entry = listing.entries.first(where: { $0.key == PlanRecord.planKey }) else { return }
            do {
                let (plan, encoded) = try self.made(entry) ?? PlanRecord.read(entry)
                try self.hub.adopt(plan, encoded)
            } catch {
                self.failed(error)
            }
        }
    }

    /// The plan that this replica itself made last, if that is what an entry holds: it need not be read again.
    private func made(_ entry: StoreEntry) throws -> (plan: Plan, encoded: EncodedPlan)? {
        guard let made = self.hub.withState({ $0.made }), try made.encoded.bytes() == entry.value else { return nil }
        return made
    }

    private func failed(_ error: any Error) {
        self.hub.withState { state in
            state.counts.plansFailed += 1
            state.planFault = "\(error)"
        }
        self.hub.logger.error("plan failed", metadata: ["reason": "\(error)"])
    }

    /// Plans for as long as this replica leads, and hands what is in force to the history.
    ///
    /// - Throws: ``StoreError`` when another process has taken the store.
    private func plan(_ history: AsyncStream<HubDesk.Accepted>.Continuation) async throws {
        var record: PlanRecord?
        var backoff = Backoff(first: Self.shortestPause)
        var dice = SystemRandomNumberGenerator()
        for await cause in self.hub.causes {
            guard let term = self.hub.leads() else {
                record = nil
                self.hub.confirm()
                continue
            }
            let next = self.hub.clock.now + Self.shortestPause
            do {
                if let accepted = try await self.plan(cause, term, &record),
                    case .dropped = history.yield(accepted)
                {
                    self.hub.withState { $0.counts.plansNotKept += 1 }
                }
                backoff.reset()
            } catch let error as StoreError where error.kind == .taken {
                throw error
            } catch {
                // The program ends in the midst of it: whoever leads next reads what stands.
                if Task.isCancelled { return }
                // The plan in force stays in force, and the next try does not wait for a tick: the store may have lost
                // its leader, and have another one in a second.
                record = nil
                self.failed(error)
                try? await Task.sleep(for: .seconds(backoff.pause(using: &dice)))
                self.hub.wantPlan(cause)
            }
            try? await Task.sleep(for: .seconds(max(0, next - self.hub.clock.now)))
        }
    }

    /// One plan.
    ///
    /// - Returns: What the history is to keep; `nil` when there was nothing to plan.
    private func plan(
        _ cause: String,
        _ term: UInt64,
        _ record: inout PlanRecord?
    ) async throws -> HubDesk.Accepted? {
        if record?.term != term {
            let (opened, plan) = try await PlanRecord.open(self.store, term: term)
            let now = self.hub.clock.now
            self.hub.withState { state in
                state.epochFloor = opened.chain.epoch - term
                if let plan { state.mind.resume(from: plan, now: now) }
            }
            record = opened
        }
        guard var open = record else { return nil }
        let now = self.hub.clock.now
        let (version, parent) = (open.chain.next, open.chain.head)
        // On a copy: digests and acknowledgements come in meanwhile, and must not wait for the solver.
        var (mind, change) = self.hub.withState { state in
            state.mind.forgetSilent(now: now)
            return (state.mind, state.resourceChange)
        }
        guard let made = mind.generation(version: version, parent: parent, now: now) else {
            self.hub.confirm()
            return nil
        }
        self.hub.withState { $0.mind.goOn(from: mind) }
        let plan = made.plan
        let took = self.hub.clock.now - now
        let encoded = try EncodedPlan(plan)
        self.hub.withState { $0.made = (plan, encoded) }
        switch try await open.accept(encoded) {
        case .committed:
            record = open
        case .conflict:
            record = nil
            throw StoreError(operation: "commit", reason: "epoch \(open.chain.epoch) is over, or another plan stands")
        case .unknown(let reason):
            // It stands or it does not: whoever follows the store will see, and the next plan is made on what stands.
            record = nil
            throw StoreError(operation: "commit", reason: "the answer was lost: \(reason)")
        }
        let stored = self.hub.clock.now - now - took
        try self.hub.adopt(plan, encoded)
        self.hub.withState { state in
            state.planFault = nil
            state.storeWrite = stored
            state.overflow = Dictionary(zip(plan.pools.map(\.pool), made.overflow)) { $1 }
            state.counts.planned(took: took)
        }
        self.hub.logger.debug(
            "plan accepted",
            metadata: [
                "plan": "\(version)", "cause": "\(cause)",
                "madeInMs": "\(Int(1_000 * took))", "storedInMs": "\(Int(1_000 * stored))",
                "frames":
                    "\(Set(plan.pools.flatMap { $0.clusters.map(\.frame.description) }).sorted().joined(separator: " "))",
            ]
        )
        return HubDesk.Accepted(
            generation: made,
            encoded: encoded,
            cause: cause,
            change: change,
            oldestDigest: mind.digests.views(now: now).map(\.age).max() ?? 0,
            at: now
        )
    }
}
