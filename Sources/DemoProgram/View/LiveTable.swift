import FleetModel

/// One picture of the running demo: a table for terminals, a line for pipes.
struct LiveTable: Sendable {
    struct Row: Hashable, Sendable {
        var region: RegionName
        var isLost: Bool
        var recent: Ledger.Recent
        var cluster: FleetStatus.Cluster?
    }

    /// Seconds since the load began.
    var time: Seconds
    /// How long requests are sent; `nil` until Ctrl-C.
    var duration: Seconds?
    var policy: String
    var plan: Report.PlanStamp
    var planAge: Seconds?
    var requests: Int
    var inFlight: Int
    var failed: Int
    var retried: Int
    var interrupted: Int
    var clusters: [String]
    var rows: [Row]

    /// The table, without colour, each line within the columns that its content needs.
    func lines() -> [String] {
        let header =
            ["REGION", "DEMAND"] + self.clusters.map { "→ \($0)" } + [
                "RUNNING", "WAITING", "KV", "TTFT P50", "P99",
            ]
        let rows = self.rows.map { row in
            [row.region.text + (row.isLost ? " (lost)" : ""), Quantity.rate(row.recent.demand)]
                + self.clusters.map { Quantity.percent(row.recent.shares.isEmpty ? nil : row.recent.shares[$0] ?? 0) }
                + [
                    Quantity.count(row.cluster?.running), Quantity.count(row.cluster?.waiting),
                    Quantity.percent(row.cluster?.kvUse), Quantity.duration(row.recent.ttftP50),
                    Quantity.duration(row.recent.ttftP99),
                ]
        }
        return [self.headline] + TextTable.lines([header] + rows)
    }

    /// All of it in one line, for a log.
    func line() -> String {
        let regions = self.rows.map { row in
            "\(row.region)\(row.isLost ? " (lost)" : "") \(Quantity.rate(row.recent.demand)) "
                + "running \(Quantity.count(row.cluster?.running)) waiting \(Quantity.count(row.cluster?.waiting)) "
                + "kv \(Quantity.percent(row.cluster?.kvUse)) "
                + "ttft \(Quantity.duration(row.recent.ttftP50)) / \(Quantity.duration(row.recent.ttftP99))"
        }
        return ([self.headline] + regions).joined(separator: " | ")
    }

    private var headline: String {
        let left =
            self.duration.map { self.time < $0 ? " of \(Int($0)) s" : " s, waiting for the last answers" } ?? " s"
        let age = self.planAge.map { ", \(Quantity.duration($0)) old" } ?? ""
        return "\(Int(self.time))\(left)  policy \(self.policy)  plan \(self.plan.text)\(age)  "
            + "requests \(self.requests)  in flight \(self.inFlight)  failed \(self.failed)  "
            + "retried \(self.retried)  interrupted \(self.interrupted)"
    }
}
