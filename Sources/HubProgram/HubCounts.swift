import Exposition
import FleetModel
import GossipCore
import WireProtocol

/// What the hub counts.
struct HubCounts: Sendable {
    /// Frames that the mesh took and the board did not.
    var framesRefused: [FrameRefusal: UInt64] = [:]
    var messagesUnreadable: UInt64 = 0
    var reportsDropped: UInt64 = 0
    var plansRefused: UInt64 = 0
    var plansFailed: UInt64 = 0
    var plansNotKept: UInt64 = 0
    var resourceReadingsFailed: UInt64 = 0
    var reportsShared: UInt64 = 0
    var terms: UInt64 = 0
    var storeFailures: UInt64 = 0
    var memberRestarts: UInt64 = 0
    var compactions: UInt64 = 0
    var housekeeping: UInt64 = 0
    private var planSeconds = MetricHistogram(
        bounds: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1]
    )

    private var acknowledgementSeconds = MetricHistogram(
        bounds: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
    )

    mutating func acknowledged(after seconds: Seconds) { self.acknowledgementSeconds.observe(seconds) }

    mutating func planned(took seconds: Seconds) { self.planSeconds.observe(seconds) }

    /// Writes the counters; `mesh` has those of the gossip, once that has begun.
    func write(to page: inout ExpositionWriter, mesh: HubMesh.Counts?) {
        func counter(_ name: String, _ help: String, _ value: UInt64) {
            page.single("isobar_hub_\(name)_total", .counter, help: help, Double(value))
        }
        let mesh = mesh ?? HubMesh.Counts()
        counter("frames_accepted", "Digest frames taken: newer than what was held, and genuine.", UInt64(mesh.accepted))
        counter("frames_flushed", "Frames sent on to other replicas.", UInt64(mesh.flushed))
        page.family("isobar_hub_frames_refused_total", .counter, help: "Digest frames dropped, by reason.")
        let refused: [(String, Int)] = [
            ("stale", mesh.stale + Int(self.framesRefused[.stale] ?? 0)), ("forged", mesh.forged),
            ("oversized", mesh.oversized), ("full", mesh.full + Int(self.framesRefused[.full] ?? 0)),
            ("misdirected", mesh.misdirected),
        ]
        for (reason, count) in refused {
            page.sample("isobar_hub_frames_refused_total", ["reason": reason], Double(count))
        }
        counter("messages_unreadable", "Messages that could not be read.", self.messagesUnreadable)
        counter("reports_dropped", "Demand reports over the limit of gateways.", self.reportsDropped)
        counter("plans_refused", "Plans that a gateway refused.", self.plansRefused)
        counter("plans_failed", "Ticks that made no plan.", self.plansFailed)
        counter("plans_not_kept", "Plans in force that are not in the history.", self.plansNotKept)
        counter("resource_readings_failed", "Looks at the resources that failed.", self.resourceReadingsFailed)
        counter("reports_shared", "Demand reports that another replica passed on.", self.reportsShared)
        counter("terms", "Times that this replica began to lead.", self.terms)
        counter("store_failures", "Requests of the election that the store did not answer.", self.storeFailures)
        counter("etcd_restarts", "Times that the etcd beside this hub ended by itself.", self.memberRestarts)
        counter("store_compactions", "Times that this replica let go of old changes in etcd.", self.compactions)
        counter("store_tidyings", "Steps by which this replica made members' files smaller.", self.housekeeping)
        page.family("isobar_hub_plan_seconds", .histogram, help: "From the boards to a plan.")
        page.histogram("isobar_hub_plan_seconds", [], self.planSeconds)
        page.family(
            "isobar_hub_acknowledgement_seconds",
            .histogram,
            help: "From the announcement of a plan to a gateway's acknowledgement."
        )
        page.histogram("isobar_hub_acknowledgement_seconds", [], self.acknowledgementSeconds)
    }
}
