import Exposition
import FleetModel
import PlanStream

/// What one gateway last said to this replica.
struct GatewayStanding: Sendable {
    var region: RegionName
    var acknowledged: PlanVersion?
    var refusal: String?
    /// More than one while a new stream has come and the old one is not yet known to be gone.
    var streams = 1
}

/// When this replica announced which plan: from it follows how far a gateway is behind.
struct AnnouncedPlans: Sendable {
    /// Plans that are remembered: a gateway that is behind by more is given up long before.
    static let countMax = 256

    private(set) var times: [(version: PlanVersion, at: Seconds)] = []

    mutating func announced(_ version: PlanVersion, at now: Seconds) {
        if self.times.count >= Self.countMax { self.times.removeFirst(Self.countMax / 2) }
        self.times.append((version, now))
    }

    /// When a plan was announced; `nil` when that is forgotten or was never known.
    func time(of version: PlanVersion) -> Seconds? { self.times.last { $0.version == version }?.at }

    /// How long a gateway has had something newer to take than what it acknowledged; `nil` when it has not.
    func lag(behind acknowledged: PlanVersion?, now: Seconds) -> Seconds? {
        guard let last = self.times.last, acknowledged.map({ $0 < last.version }) ?? true else { return nil }
        let next = self.times.first { announced in acknowledged.map { announced.version > $0 } ?? true }
        return next.map { now - $0.at }
    }
}

extension PlanTraffic {
    /// Writes what was said to gateways.
    func write(to page: inout ExpositionWriter) {
        page.single("isobar_hub_subscribers", .gauge, help: "Gateways' streams.", Double(self.streams))
        page.family("isobar_hub_plan_messages_total", .counter, help: "What was sent to gateways, by kind.")
        for (kind, count) in [("body", self.bodies), ("delta", self.deltas), ("heartbeat", self.heartbeats)] {
            page.sample("isobar_hub_plan_messages_total", ["kind": kind], Double(count))
        }
        func counter(_ name: String, _ help: String, _ value: UInt64) {
            page.single("isobar_hub_\(name)_total", .counter, help: help, Double(value))
        }
        counter("plan_bytes", "Bytes of those messages.", self.bytes)
        counter("announcements_skipped", "Plans that a gateway was too slow to take.", self.skipped)
        counter("plans_resent", "Bodies that a gateway asked for, since a delta did not fit.", self.resent)
        counter("gateways_dropped", "Streams ended because the gateway answered no plan for 10 s.", self.dropped)
    }
}
