import Exposition
import FleetModel
import GossipCore
import WireProtocol

/// What the hub counts.
struct HubCounts: Sendable {
    var framesAccepted: UInt64 = 0
    var framesRefused: [FrameRefusal: UInt64] = [:]
    var sealsRefused: [SealFault: UInt64] = [:]
    var messagesUnreadable: UInt64 = 0
    var reportsDropped: UInt64 = 0
    var plansRefused: UInt64 = 0
    var plansFailed: UInt64 = 0
    var plansNotKept: UInt64 = 0
    var resourceReadingsFailed: UInt64 = 0
    var reportsShared: UInt64 = 0
    var terms: UInt64 = 0
    var storeFailures: UInt64 = 0
    private var planSeconds = MetricHistogram(
        bounds: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1]
    )

    private var acknowledgementSeconds = MetricHistogram(
        bounds: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
    )

    mutating func acknowledged(after seconds: Seconds) { self.acknowledgementSeconds.observe(seconds) }

    mutating func planned(took seconds: Seconds) { self.planSeconds.observe(seconds) }

    func write(to page: inout ExpositionWriter) {
        func counter(_ name: String, _ help: String, _ value: UInt64) {
            page.single("isobar_hub_\(name)_total", .counter, help: help, Double(value))
        }
        counter("frames_accepted", "Digest frames taken.", self.framesAccepted)
        page.family("isobar_hub_frames_refused_total", .counter, help: "Digest frames dropped, by reason.")
        for refusal in FrameRefusal.allCases {
            page.sample(
                "isobar_hub_frames_refused_total",
                ["reason": refusal.rawValue],
                Double(self.framesRefused[refusal] ?? 0)
            )
        }
        page.family("isobar_hub_seals_refused_total", .counter, help: "Frames that could not be opened, by reason.")
        for fault in SealFault.allCases {
            page.sample(
                "isobar_hub_seals_refused_total",
                ["reason": fault.rawValue],
                Double(self.sealsRefused[fault] ?? 0)
            )
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
