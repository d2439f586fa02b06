import DequeModule
import FleetModel

/// Requests that wait, shared fairly between those who sent them: start-time fair queueing.
///
/// Every tenant's requests stand in the order in which they came; the next one is of the tenant that was served the
/// least so far, in tokens of prompt. A tenant that was idle begins where the others are: it saves up nothing.
///
/// Source: P. Goyal, H. Vin, H. Cheng, "Start-time fair queueing", SIGCOMM 1996.
struct FairQueue: Sendable {
    struct Entry: Sendable {
        let id: UInt64
        let cost: Double
        let arrivedAt: Seconds
        let deadline: Seconds
    }

    private struct Flow: Sendable {
        var waiting: Deque<Entry> = []
        /// Where the tenant's next request starts, in the queue's own time.
        var start: Double
    }

    /// Tenants with nothing waiting that are remembered at most.
    static let idleLimit = 4_096

    private var flows: [UInt64: Flow] = [:]
    private var time = 0.0
    private(set) var count = 0

    mutating func add(_ entry: Entry, tenant: UInt64) {
        if self.flows.count > Self.idleLimit + self.count {
            self.flows = self.flows.filter { !$0.value.waiting.isEmpty }
        }
        var flow = self.flows.removeValue(forKey: tenant) ?? Flow(start: self.time)
        if flow.waiting.isEmpty { flow.start = max(self.time, flow.start) }
        flow.waiting.append(entry)
        self.flows[tenant] = flow
        self.count += 1
    }

    /// Takes out the next request.
    mutating func next() -> Entry? {
        var best: (start: Double, arrivedAt: Seconds, tenant: UInt64)?
        for (tenant, flow) in self.flows {
            guard let head = flow.waiting.first else { continue }
            let candidate = (flow.start, head.arrivedAt, tenant)
            if let held = best, (held.start, held.arrivedAt, held.tenant) < candidate { continue }
            best = candidate
        }
        guard let best, let entry = self.flows[best.tenant]?.waiting.popFirst() else { return nil }
        self.time = best.start
        self.flows[best.tenant]?.start = best.start + entry.cost
        self.count -= 1
        return entry
    }

    /// Takes a request out wherever it stands.
    mutating func remove(_ id: UInt64, tenant: UInt64) -> Bool {
        guard let place = self.flows[tenant]?.waiting.firstIndex(where: { $0.id == id }) else { return false }
        self.flows[tenant]?.waiting.remove(at: place)
        self.count -= 1
        return true
    }

    /// The request that came last, and whose it is.
    var youngest: (entry: Entry, tenant: UInt64)? {
        var best: (entry: Entry, tenant: UInt64)?
        for (tenant, flow) in self.flows {
            guard let last = flow.waiting.last else { continue }
            if let held = best, (held.entry.arrivedAt, held.entry.id) > (last.arrivedAt, last.id) { continue }
            best = (last, tenant)
        }
        return best
    }

    /// Since when the request waits that has waited the longest.
    var oldestArrival: Seconds? { self.flows.values.compactMap { $0.waiting.first?.arrivedAt }.min() }
}
