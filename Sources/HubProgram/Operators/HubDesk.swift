import FleetModel
import FleetPlanning
import GossipCore
import Logging
import Observability
import OperatorLink
import PlanStream
import Resources
import StateStore
import WireProtocol

/// What operators ask of this hub, answered.
struct HubDesk: OperatorDesk {
    /// The version of the software, as `isobar --version` tells it.
    static let software = "0.1.0"

    let hub: Hub
    let store: any StateStore
    /// This replica's name among the others.
    let name: String
    let tick: Seconds
    let book: ResourceBook
    let history: PlanHistory

    init(hub: Hub, store: any StateStore, name: String, tick: Seconds) {
        self.hub = hub
        self.store = store
        self.name = name
        self.tick = tick
        self.book = ResourceBook(store: store)
        self.history = PlanHistory(store: store, software: Self.software)
    }

    // MARK: What is in force

    /// Reads the resources in force; no plan is made before that.
    func load() async throws {
        try await self.book.refresh()
        self.enactNewest()
    }

    /// Brings into force what another hub has changed; ends when cancelled.
    func follow() async {
        let failed = { @Sendable (reason: String) in
            self.hub.withState { $0.counts.resourceReadingsFailed += 1 }
            self.hub.logger.warning("resources unread", metadata: ["reason": "\(reason)"])
        }
        await self.store.follow(prefix: ResourceBook.headKey, lost: { failed("\($0)") }) { _ in
            do {
                try await self.book.catchUp()
                if self.enactNewest() { self.hub.wantPlan("resources changed") }
            } catch {
                if !Task.isCancelled { failed("\(error)") }
            }
        }
    }

    /// Brings into force what the book holds.
    ///
    /// - Returns: Whether that is newer than what was in force.
    @discardableResult
    private func enactNewest() -> Bool {
        guard let snapshot = self.book.snapshots.current else { return false }
        let settings = FleetSettings(snapshot.set)
        return self.hub.withState { state in
            guard snapshot.change > state.resourceChange else { return false }
            state.resourceChange = snapshot.change
            state.resources = snapshot.set
            state.mind.settings = settings
            return true
        }
    }

    /// A plan in force, and what the history tells of how it came about.
    struct Accepted: Sendable {
        let generation: HubMind.Generation
        let encoded: EncodedPlan
        let cause: String
        /// The number of the resources' change that it was made with.
        let change: UInt64
        /// The age of the oldest digest that it was made of.
        let oldestDigest: Seconds
        let at: Seconds
    }

    /// Keeps an accepted plan; the plan is in force whether this succeeds or not.
    func keep(_ accepted: Accepted) async {
        do {
            let isKept = try await self.history.keep(
                accepted.generation,
                accepted.encoded,
                cause: accepted.cause,
                change: accepted.change,
                oldestDigest: accepted.oldestDigest,
                now: accepted.at
            )
            if !isKept { self.hub.withState { $0.counts.plansNotKept += 1 } }
        } catch {
            self.hub.withState { $0.counts.plansNotKept += 1 }
            self.hub.logger.warning("plan not kept in the history", metadata: ["reason": "\(error)"])
        }
    }

    // MARK: Resources

    func apply(_ request: Isobar_V1_ApplyRequest, by caller: OperatorCaller) async throws -> Isobar_V1_ChangeAnswer {
        guard !request.resources.isEmpty else { throw OperatorRefusal(.badRequest, "there is nothing to apply") }
        let resources = try request.resources.map { try $0.model() }
        return try await self.change(
            ResourceBook.Request(
                resources: resources.map { ($0.key, $0, $0.resourceVersion) },
                actor: caller.name ?? Self.claimed(request.actor),
                isProven: caller.name != nil,
                peer: caller.address,
                isDryRun: request.dryRun
            )
        )
    }

    func delete(_ request: Isobar_V1_DeleteRequest, by caller: OperatorCaller) async throws -> Isobar_V1_ChangeAnswer {
        guard !request.keys.isEmpty else { throw OperatorRefusal(.badRequest, "there is nothing to delete") }
        let keys = try request.keys.map { try $0.model() }
        return try await self.change(
            ResourceBook.Request(
                resources: keys.map { ($0, nil, request.hasResourceVersion ? request.resourceVersion : nil) },
                ignoresAbsent: request.ignoreAbsent,
                actor: caller.name ?? Self.claimed(request.actor),
                isProven: caller.name != nil,
                peer: caller.address,
                isDryRun: request.dryRun
            )
        )
    }

    /// A name that fits in one line of a table.
    private static func claimed(_ actor: String) -> String {
        let name = String(
            actor.unicodeScalars.filter { $0.value > 32 && $0.value != 127 }.prefix(64).map(Character.init)
        )
        return name.isEmpty ? "unknown" : name
    }

    private func change(_ request: ResourceBook.Request) async throws -> Isobar_V1_ChangeAnswer {
        let outcome = try await self.book.change(request)
        if self.enactNewest(), !outcome.isWritten { self.hub.wantPlan("resources changed") }
        var answer = outcome.answer
        guard answer.problems.isEmpty else { return answer }
        let changed = try answer.changes.filter(\.isChange).map { try $0.key.model() }
        answer.warnings = self.warnings(changed, in: outcome.set)
        if request.isDryRun {
            let now = self.hub.clock.now
            let (mind, plan) = self.hub.withState { ($0.mind, $0.plan) }
            answer.forecast = mind.forecast(with: FleetSettings(outcome.set), inForce: plan, now: now)
                .map { Isobar_V1_PoolForecast($0) }
        } else if outcome.isWritten {
            let names = answer.changes.filter(\.isChange).map { "\($0.key.kind) \($0.key.name) \($0.outcome)" }
            let what = names.count > 3 ? "\(names.count) resources changed" : names.joined(separator: ", ")
            self.hub.wantPlan("\(PlanHistory.byOperator)\(what) by \(request.actor)")
            self.hub.logger.info(
                "resources changed",
                metadata: [
                    "what": "\(names.joined(separator: ", "))", "by": "\(request.actor)", "peer": "\(request.peer)",
                ]
            )
        }
        return answer
    }

    /// What will not do what its writer may expect.
    private func warnings(_ keys: [ResourceKey], in set: ResourceSet) -> [String] {
        var fleet = Isobar_V1_FleetStatus()
        let now = self.hub.clock.now
        self.hub.withState { state in fleet.fillFleet(state, set: set, now: now, tick: self.tick) }
        let subjects = Set(keys.map(\.description))
        return Findings.resources(fleet, set).filter { $0.level != "ok" && subjects.contains($0.subject) }
            .map { "\($0.subject): \($0.reason)" }
    }

    func get(_ request: Isobar_V1_GetRequest) async throws -> Isobar_V1_ResourceList {
        try await self.book.refresh()
        let snapshot = self.book.snapshots.current ?? ResourceBook.Snapshot()
        let wanted = try Self.filter(request)
        var list = Isobar_V1_ResourceList()
        list.change = Int64(snapshot.change)
        list.resources = snapshot.stored.filter { wanted($0.key) }.sorted { $0.key < $1.key }.map(\.value)
        return list
    }

    private static func filter(_ request: Isobar_V1_GetRequest) throws -> @Sendable (ResourceKey) -> Bool {
        let kind = request.kind.isEmpty ? nil : ResourceKind(rawValue: request.kind)
        if !request.kind.isEmpty, kind == nil { throw OperatorRefusal(.badRequest, "\(request.kind) is no kind") }
        let (namespace, name) = (request.namespace, request.name)
        return { key in
            (kind == nil || key.kind == kind) && (name.isEmpty || key.name == name)
                && (namespace.isEmpty || key.namespace == namespace)
        }
    }

    func events(_ request: Isobar_V1_GetRequest) async throws -> AsyncStream<[Isobar_V1_ResourceEvent]> {
        let wanted = try Self.filter(request)
        // Not older than what any other replica has told: a reader may come from one that has died.
        try await self.book.refresh()
        let differences = SnapshotDifferences(self.book.snapshots.values(), wanted: wanted)
        return AsyncStream { await differences.next() }
    }

    func audit(_ request: Isobar_V1_AuditRequest) async throws -> Isobar_V1_AuditAnswer {
        var answer = Isobar_V1_AuditAnswer()
        let limit = request.limit == 0 ? 50 : Int(request.limit)
        answer.records = try await self.book.audit(of: request.hasKey ? try request.key.model() : nil, limit: limit)
        return answer
    }

    // MARK: Plans

    func history(_ request: Isobar_V1_HistoryRequest) async throws -> Isobar_V1_HistoryAnswer {
        var answer = Isobar_V1_HistoryAnswer()
        answer.plans = try await self.history.summaries(limit: request.limit == 0 ? .max : Int(request.limit))
        return answer
    }

    func recall(_ request: Isobar_V1_RecallRequest) async throws -> Isobar_V1_KeptPlan {
        try await self.history.recall(request.generation)
    }
}

/// What is different from one snapshot to the next: a reader that missed some sees the newest state of what changed.
private actor SnapshotDifferences {
    private var snapshots: AsyncStream<ResourceBook.Snapshot>.Iterator
    private let wanted: @Sendable (ResourceKey) -> Bool
    private var known: [ResourceKey: Isobar_V1_StoredResource]?

    init(_ snapshots: AsyncStream<ResourceBook.Snapshot>, wanted: @escaping @Sendable (ResourceKey) -> Bool) {
        self.snapshots = snapshots.makeAsyncIterator()
        self.wanted = wanted
    }

    func next() async -> [Isobar_V1_ResourceEvent]? {
        while true {
            var snapshots = self.snapshots
            guard let snapshot = await snapshots.next(isolation: self) else { return nil }
            self.snapshots = snapshots
            let now = snapshot.stored.filter { self.wanted($0.key) }
            var events = Self.events(from: self.known, to: now)
            if self.known == nil { events.append(Self.listed) }
            self.known = now
            if !events.isEmpty { return events }
        }
    }

    /// What there is has been told.
    private static var listed: Isobar_V1_ResourceEvent {
        var event = Isobar_V1_ResourceEvent()
        event.kind = "listed"
        return event
    }

    private static func events(
        from before: [ResourceKey: Isobar_V1_StoredResource]?,
        to now: [ResourceKey: Isobar_V1_StoredResource]
    ) -> [Isobar_V1_ResourceEvent] {
        func event(_ kind: String, _ resource: Isobar_V1_StoredResource) -> Isobar_V1_ResourceEvent {
            var event = Isobar_V1_ResourceEvent()
            event.kind = kind
            event.resource = resource
            return event
        }
        var events: [Isobar_V1_ResourceEvent] = []
        for key in Set(before?.keys.map { $0 } ?? []).union(now.keys).sorted() {
            switch (before?[key], now[key]) {
            case (nil, let resource?): events.append(event(before == nil ? "current" : "created", resource))
            case (let old?, nil): events.append(event("deleted", old))
            case (let old?, let resource?) where old != resource: events.append(event("changed", resource))
            default: break
            }
        }
        return events
    }
}

extension Isobar_V1_PoolForecast {
    init(_ forecast: Forecast) {
        self.init()
        self.pool = forecast.pool.description
        self.costBefore = forecast.costBefore
        self.costAfter = forecast.costAfter
        self.overflowBefore = forecast.overflowBefore
        self.overflowAfter = forecast.overflowAfter
        self.ticks = UInt32(clamping: forecast.ticks)
        self.weights = forecast.weights.map { weight in
            var message = Isobar_V1_WeightForecast()
            message.source = weight.source.text
            message.band = Isobar_V1_Band(weight.band)
            message.cluster = weight.cluster.text
            message.now = weight.now
            message.next = weight.next
            message.settled = weight.settled
            return message
        }
    }
}
