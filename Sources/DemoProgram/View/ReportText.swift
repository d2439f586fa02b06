import FleetModel

/// The report for people.
extension Report {
    /// The lines to print.
    ///
    /// - Parameters:
    ///   - clusters: The columns of the table.
    ///   - region: The region that was made to fail.
    /// - Returns: A summary and, when anything was answered, the table of shares.
    func text(clusters: [String], failed region: RegionName?) -> [String] {
        var lines = [
            "requests \(self.requests)  failed \(self.failed)  retried \(self.retried)  "
                + "interrupted \(self.interrupted)  unfinished \(self.unfinished)  late \(self.late)",
            "time to first token  p50 \(Quantity.duration(self.ttftSeconds.p50))  "
                + "p90 \(Quantity.duration(self.ttftSeconds.p90))  p99 \(Quantity.duration(self.ttftSeconds.p99))",
            "answered in another region \(Quantity.percent(self.remoteShare))  policy \(self.policy)  "
                + "plan \(self.plan.text)",
        ]
        if let region {
            lines.append("recovered \(Quantity.duration(self.recoverySeconds)) after \(region) was lost")
        }
        let header = ["CLIENTS OF"] + clusters.map { "→ \($0)" }
        let rows = self.share.sorted { $0.key < $1.key }.map { source, shares in
            [source] + clusters.map { Quantity.percent(shares[$0] ?? 0) }
        }
        return lines + (rows.isEmpty ? [] : [""] + TextTable.lines([header] + rows))
    }
}

extension Report.PlanStamp {
    /// `3.1207`, or `-` when no plan was seen.
    var text: String {
        guard let epoch, let generation else { return "-" }
        return "\(epoch).\(generation)"
    }
}
