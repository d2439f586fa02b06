import FleetModel
import Foundation

/// What the hub's `/v1/status` tells, as far as the demo shows it.
///
/// It is read leniently: a field that is missing or of another type is `nil`, and the rest is still shown.
struct FleetStatus: Hashable, Sendable {
    struct Cluster: Hashable, Sendable {
        var region: String?
        var state: String?
        var age: Seconds?
        var running: Int?
        var waiting: Int?
        var kvUse: Double?
    }

    var plan = Report.PlanStamp()
    var planAge: Seconds?
    /// By name.
    var clusters: [String: Cluster] = [:]

    init() {}

    /// - Returns: `nil` when `data` is not a JSON object.
    init?(_ data: Data) {
        guard let object = try? JSONSerialization.jsonObject(with: data) as? [String: Any] else { return nil }
        let plan = object["plan"] as? [String: Any] ?? [:]
        self.plan = Report.PlanStamp(
            epoch: (plan["epoch"] as? NSNumber)?.uint64Value,
            generation: (plan["generation"] as? NSNumber)?.uint64Value
        )
        self.planAge = (plan["age_seconds"] as? NSNumber)?.doubleValue
        for pool in Self.objects(object["pools"]) {
            for cluster in Self.objects(pool["clusters"]) {
                guard let name = cluster["cluster"] as? String else { continue }
                self.clusters[name] = Cluster(
                    region: cluster["region"] as? String,
                    state: cluster["state"] as? String,
                    age: (cluster["age_seconds"] as? NSNumber)?.doubleValue,
                    running: (cluster["running"] as? NSNumber)?.intValue,
                    waiting: (cluster["waiting"] as? NSNumber)?.intValue,
                    kvUse: (cluster["kv_mean"] as? NSNumber)?.doubleValue
                )
            }
        }
    }

    private static func objects(_ list: Any?) -> [[String: Any]] {
        (list as? [Any] ?? []).compactMap { $0 as? [String: Any] }
    }
}
