import FleetModel
import FleetSimulator
import Foundation

/// What policies made of the same requests, as JSON or as a table.
struct SimulationReport {
    private let comparison: FleetComparison
    private let outcomes: [PolicyOutcome]
    private let bound: Seconds

    init(_ comparison: FleetComparison, outcomes: [PolicyOutcome]) {
        self.comparison = comparison
        self.outcomes = outcomes
        self.bound = comparison.bound(outcomes: outcomes)
    }

    /// - Throws: when Foundation's encoder does.
    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        return String(decoding: try encoder.encode(self.value), as: UTF8.self)
    }

    var value: JSONValue {
        var policies: [String: JSONValue] = [:]
        for (policy, outcome) in zip(self.comparison.policies, self.outcomes) {
            policies[policy.rawValue] = Self.value(of: outcome, clusters: self.comparison.world.clusters.map(\.name))
        }
        return .object([
            "load": .number(self.comparison.load),
            "seed": .number(Double(self.comparison.seed)),
            "capacity_requests_per_second": Self.number(self.comparison.totalCapacity),
            "measured_seconds": Self.number(self.comparison.duration),
            "bound_ttft_seconds": .object(["mean": Self.number(self.bound)]),
            "policies": .object(policies),
        ])
    }

    private static func value(of outcome: PolicyOutcome, clusters: [ClusterName]) -> JSONValue {
        var parts: [String: JSONValue] = [:]
        for (cluster, its) in zip(clusters, outcome.partsOfClusters) { parts[cluster.text] = self.value(of: its) }
        return .object([
            "ttft_seconds": self.value(of: outcome.ttft),
            "ttft_parts_seconds": self.value(of: outcome.parts),
            "clusters": .object(parts),
            "e2e_seconds": self.value(of: outcome.endToEnd),
            "itl_seconds": self.value(of: outcome.interToken),
            "goodput": self.number(outcome.goodput),
            "remote_share": self.number(outcome.remoteShare),
            "prefix_hit_share": self.number(outcome.prefixHitShare),
            "churn": outcome.churn.map(self.number) ?? .null,
            "requests": .number(Double(outcome.requests)),
            "rejected": .number(Double(outcome.rejected)),
            "cut": .number(Double(outcome.cut)),
            "retries": .number(Double(outcome.retries)),
            "capacity_believed": outcome.capacityBelief.map(self.number) ?? .null,
            "finished_seconds": self.number(outcome.finishedAt),
        ])
    }

    private static func value(of parts: FirstTokenParts) -> JSONValue {
        .object([
            "distance": self.number(parts.distance), "waiting": self.number(parts.waiting),
            "prefill": self.number(parts.prefill), "share": self.number(parts.share),
        ])
    }

    private static func value(of distribution: Distribution) -> JSONValue {
        .object([
            "mean": self.number(distribution.mean), "p50": self.number(distribution.p50),
            "p90": self.number(distribution.p90), "p99": self.number(distribution.p99),
        ])
    }

    /// To the microsecond.
    private static func number(_ value: Double) -> JSONValue { .number((value * 1e6).rounded() / 1e6) }

    var table: String {
        let head = [
            "policy", "TTFT mean", "p50", "p90", "p99", "e2e mean", "ITL mean", "goodput", "remote", "hits", "churn",
            "rejected", "cut",
        ]
        var rows = [head]
        for (policy, outcome) in zip(self.comparison.policies, self.outcomes) {
            rows.append([
                policy.rawValue,
                Self.time(outcome.ttft.mean), Self.time(outcome.ttft.p50), Self.time(outcome.ttft.p90),
                Self.time(outcome.ttft.p99), Self.time(outcome.endToEnd.mean), Self.time(outcome.interToken.mean),
                Self.share(outcome.goodput), Self.share(outcome.remoteShare), Self.share(outcome.prefixHitShare),
                outcome.churn.map { String(format: "%.4f", $0) } ?? "-",
                "\(outcome.rejected)", "\(outcome.cut)",
            ])
        }
        rows.append(["bound", Self.time(self.bound)])
        let widths = head.indices.map { column in rows.map { $0.count > column ? $0[column].count : 0 }.max() ?? 0 }
        let lines = rows.map { row in
            row.enumerated().map { column, cell in
                let space = String(repeating: " ", count: widths[column] - cell.count)
                return column == 0 ? cell + space : space + cell
            }.joined(separator: "  ")
        }
        let capacity = String(format: "%.1f", self.comparison.totalCapacity)
        return """
            load \(self.comparison.load) of \(capacity) req/s, seed \(self.comparison.seed), \
            \(self.outcomes.first?.requests ?? 0) requests in \(Int(self.comparison.duration.rounded())) s

            \(lines.joined(separator: "\n"))
            """
    }

    private static func time(_ seconds: Seconds) -> String {
        seconds < 10 ? String(format: "%.0f ms", seconds * 1_000) : String(format: "%.1f s", seconds)
    }

    private static func share(_ share: Double) -> String { String(format: "%.1f %%", share * 100) }
}
