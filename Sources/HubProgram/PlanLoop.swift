import FleetModel
import FleetPlanning
import Leadership
import Logging
import Observability
import PlanStream
import ServiceLifecycle
import StateStore
import WireProtocol

/// Makes a plan each tick, and at once on an alarm; stores it, then announces it.
///
/// What is announced is in the store first: no gateway ever holds a plan that a restart forgets.
struct PlanLoop: Service {
    /// Alarms come in bursts, and every plan costs a synced write.
    static let shortestPause: Seconds = 0.1

    /// Another hub took the leadership: this one must not go on, and whoever supervises it must see it fail.
    struct Superseded: Error, CustomStringConvertible {
        let epoch: UInt64
        var description: String {
            "another hub took the leadership from epoch \(self.epoch); only one hub may use a state file"
        }
    }

    let hub: Hub
    let store: any StateStore
    let desk: HubDesk
    let tick: Seconds

    func run() async throws {
        try await self.desk.load()
        let (record, plan) = try await PlanRecord.lead(in: self.store)
        self.hub.logger.info(
            "leading",
            metadata: ["epoch": "\(record.chain.epoch)", "plan": "\(plan?.version.description ?? "none")"]
        )
        let now = self.hub.clock.now
        self.hub.withState { state in
            state.epoch = record.chain.epoch
            state.plan = plan
            if let plan { state.mind.resume(from: plan, now: now) }
        }
        self.hub.announcements.send(Announcement(plan: try plan.map { (plan) throws in try EncodedPlan(plan) }))

        try await cancelWhenGracefulShutdown {
            try await withThrowingDiscardingTaskGroup { group in
                group.addTask { await self.beat() }
                group.addTask { await self.desk.follow() }
                try await self.plan(from: record)
                group.cancelAll()
            }
        }
    }

    private func beat() async {
        while !Task.isCancelled {
            self.hub.wantPlan("tick")
            try? await Task.sleep(for: .seconds(self.tick))
        }
    }

    /// Plans for as long as this hub leads.
    private func plan(from start: PlanRecord) async throws(Superseded) {
        var record = start
        for await cause in self.hub.causes {
            do {
                try await self.plan(cause, &record)
            } catch let error as Superseded {
                throw error
            } catch {
                // The plan in force stays in force; the next tick tries again.
                self.hub.withState { state in
                    state.counts.plansFailed += 1
                    state.planFault = "\(error)"
                }
                self.hub.logger.error("plan failed", metadata: ["reason": "\(error)"])
            }
            try? await Task.sleep(for: .seconds(Self.shortestPause))
        }
    }

    /// One plan.
    ///
    /// - Throws: ``Superseded`` when this hub no longer leads.
    private func plan(_ cause: String, _ record: inout PlanRecord) async throws {
        let now = self.hub.clock.now
        let (version, parent) = (record.chain.next, record.chain.head)
        let next = self.hub.withState { $0.mind.generation(version: version, parent: parent, now: now) }
        guard let next else {
            self.hub.announcements.send(self.hub.announcements.current ?? Announcement(plan: nil))
            return
        }
        let plan = next.plan
        let took = self.hub.clock.now - now
        let encoded = try EncodedPlan(plan)
        guard try await record.accept(encoded) else { throw Superseded(epoch: version.epoch) }
        self.hub.announcements.send(Announcement(plan: encoded))
        let stored = self.hub.clock.now - now - took
        self.hub.withState { state in
            state.plan = plan
            state.plannedAt = now
            state.planFault = nil
            state.storeWrite = stored
            state.overflow = Dictionary(zip(plan.pools.map(\.pool), next.overflow)) { $1 }
            state.counts.planned(took: took)
        }
        await self.desk.keep(next, encoded, cause: cause)
        self.hub.logger.debug(
            "plan accepted",
            metadata: [
                "plan": "\(version)", "cause": "\(cause)",
                "frames":
                    "\(Set(plan.pools.flatMap { $0.clusters.map(\.frame.description) }).sorted().joined(separator: " "))",
            ]
        )
    }
}
