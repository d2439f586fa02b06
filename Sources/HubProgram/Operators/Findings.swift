import FleetModel
import Resources
import WireProtocol

/// What was looked at and found: what `isobar check` tells, and the warnings of `isobar status`.
///
/// A check without anything to tell is one finding that is `ok`.
enum Findings {
    static func all(
        _ status: Isobar_V1_FleetStatus,
        _ set: ResourceSet,
        storeQuota: Int64? = nil
    ) -> [Isobar_V1_Finding] {
        self.store(status, quota: storeQuota) + self.leader(status) + self.plan(status) + self.agents(status, set)
            + self.gateways(status)
            + self.pools(status) + self.regions(status) + self.resources(status, set)
    }

    private enum Level: String {
        case ok, warning, failed
    }

    private static func finding(
        _ check: String,
        _ level: Level,
        _ subject: String = "",
        _ reason: String,
        fix: String = ""
    ) -> Isobar_V1_Finding {
        var finding = Isobar_V1_Finding()
        finding.check = check
        finding.level = level.rawValue
        finding.subject = subject
        finding.reason = reason
        finding.fix = fix
        return finding
    }

    private static func store(_ status: Isobar_V1_FleetStatus, quota: Int64?) -> [Isobar_V1_Finding] {
        let store = status.store
        if let member = store.each.first(where: { !$0.fault.isEmpty && !$0.fault.contains("no leader") }) {
            let fix =
                store.managed
                ? "look at its disk and at the hub's log; room is made by the leading hub, within minutes"
                : "etcdctl alarm list; when it is NOSPACE: etcdctl defrag --cluster && etcdctl alarm disarm"
            return [finding("store", .failed, member.name, member.fault, fix: fix)]
        }
        guard store.healthy else {
            return [
                finding(
                    "store",
                    .failed,
                    store.kind,
                    store.fault,
                    fix: "look at disk space and at the hub's log; the plan in force stays in force meanwhile"
                )
            ]
        }
        if store.reachable < store.members {
            let reason = "\(store.members - store.reachable) of \(store.members) members cannot be reached"
            let fix =
                store.managed
                ? "start the hubs that are away; one whose host is lost may start with an empty folder"
                : "look at the members that are away"
            return [finding("store", .warning, store.kind, reason, fix: fix)]
        }
        if let quota, let largest = store.each.max(by: { $0.size < $1.size }), largest.size >= quota / 4 * 3 {
            let reason = "holds \(largest.size >> 20) of \(quota >> 20) MiB; at the end it takes no more writes"
            return [finding("store", .warning, largest.name, reason, fix: "give managedEtcd a greater quota")]
        }
        if store.write > 0.25 {
            let reason = "the last plan took \(Spelled.seconds(store.write)) to store"
            return [finding("store", .warning, store.kind, reason, fix: "give the state a disk with faster syncs")]
        }
        let write = store.hasWrite ? "wrote the last plan in \(Spelled.seconds(store.write))" : "answers"
        return [finding("store", .ok, store.kind, write)]
    }

    private static func leader(_ status: Isobar_V1_FleetStatus) -> [Isobar_V1_Finding] {
        guard status.leader.isEmpty else {
            let others = status.replicas.count - 1
            let reason = others > 0 ? "leads, \(others) more would take over" : "leads"
            return [finding("leader", .ok, status.leader, reason)]
        }
        let fix = "wait for a lease's length; then look at the store: without it nobody can be elected"
        return [finding("leader", .failed, "", "nobody leads: the plan in force stays as it is", fix: fix)]
    }

    private static func plan(_ status: Isobar_V1_FleetStatus) -> [Isobar_V1_Finding] {
        guard status.hasPlan else {
            let reason =
                status.clusters.isEmpty
                ? "no plan: no agent has been heard" : "no plan yet: agents have just been heard"
            return [finding("plan", .failed, "", reason, fix: "start the agents: isobar agent --config agent.yaml")]
        }
        let version = status.plan.model.description
        let age = Spelled.seconds(status.planAge)
        if status.planAge > status.planTimeToLive {
            let reason = "\(age) old, beyond its time to live: gateways fall back to their own region"
            return [finding("plan", .failed, version, reason, fix: "look for `plan failed` in the hub's log")]
        }
        if status.planAge > max(5 * status.tick, 5) {
            let reason = "\(age) old: no plan since"
            return [finding("plan", .warning, version, reason, fix: "look for `plan failed` in the hub's log")]
        }
        return [finding("plan", .ok, version, "\(age) old")]
    }

    private static func agents(_ status: Isobar_V1_FleetStatus, _ set: ResourceSet) -> [Isobar_V1_Finding] {
        var found: [Isobar_V1_Finding] = []
        for cluster in status.clusters {
            let age = Spelled.seconds(cluster.age)
            let fix =
                "look at agent \(cluster.agent) in region \(cluster.region): is it running, does it reach the hub?"
            if cluster.age > 30 {
                let what = cluster.age > 120 ? "it counts as down" : "its capacity decays"
                found.append(finding("agents", .failed, cluster.cluster, "digest is \(age) old: \(what)", fix: fix))
            } else if cluster.age > 5 {
                let reason = "digest is \(age) old: its weights may not grow"
                found.append(finding("agents", .warning, cluster.cluster, reason, fix: fix))
            }
            let (ready, known) = (cluster.endpointsReady, cluster.endpointsKnown)
            let look = "on its agent: curl http://ADMIN/v1/status shows the fault of each endpoint"
            if ready == 0 {
                let reason = "none of \(known) endpoints has a fresh reading"
                found.append(finding("agents", .failed, cluster.cluster, reason, fix: look))
            } else if ready < known {
                let reason = "\(known - ready) of \(known) endpoints have no fresh reading"
                found.append(finding("agents", .warning, cluster.cluster, reason, fix: look))
            }
        }
        let heard = Set(status.clusters.map(\.cluster))
        for cluster in set.all(.cluster) where !heard.contains(cluster.key.name) {
            found.append(
                finding(
                    "agents",
                    .failed,
                    cluster.key.name,
                    "is declared, and none of its agents has been heard",
                    fix: "start its agent, or: isobar delete cluster \(cluster.key.name)"
                )
            )
        }
        guard found.isEmpty else { return found }
        guard let stalest = status.clusters.max(by: { $0.age < $1.age }) else {
            let fix = "start the agents: isobar agent --config agent.yaml"
            return [finding("agents", .failed, "", "none has been heard", fix: fix)]
        }
        let reason = "\(status.clusters.count) heard, the stalest digest is \(Spelled.seconds(stalest.age)) old"
        return [finding("agents", .ok, "", reason)]
    }

    private static func gateways(_ status: Isobar_V1_FleetStatus) -> [Isobar_V1_Finding] {
        var found: [Isobar_V1_Finding] = []
        for gateway in status.gateways {
            let held = gateway.hasAcknowledged ? "holds plan \(gateway.acknowledged.model)" : "holds no plan"
            if !gateway.refusal.isEmpty {
                let fix =
                    "a newer hub may be leading; with a new state, restore a backup, "
                    + "or remove the gateway's planFile and restart it"
                found.append(
                    finding("gateways", .failed, gateway.gateway, "refuses plans: \(gateway.refusal)", fix: fix)
                )
            } else if !gateway.inSync {
                let fix = "look at its log and the link to it; its /v1/status shows what it holds"
                found.append(finding("gateways", .warning, gateway.gateway, "out of sync: \(held)", fix: fix))
            }
        }
        guard found.isEmpty else { return found }
        guard !status.gateways.isEmpty else {
            let fix = "start one in each region: isobar gateway --config gateway.yaml"
            return [finding("gateways", .warning, "", "none is connected: nobody follows the plan", fix: fix)]
        }
        return [finding("gateways", .ok, "", "\(status.gateways.count) connected, all in sync")]
    }

    private static func pools(_ status: Isobar_V1_FleetStatus) -> [Isobar_V1_Finding] {
        var found: [Isobar_V1_Finding] = []
        let anyDeclared = status.pools.contains(where: \.declared)
        for pool in status.pools {
            if pool.clusters == 0 {
                let fix = "name it in the agents' files, or: isobar delete pool \(pool.pool)"
                found.append(finding("pools", .warning, pool.pool, "is declared, and no cluster serves it", fix: fix))
            } else if anyDeclared, !pool.declared {
                let fix = "apply an InferencePool of that name"
                found.append(finding("pools", .warning, pool.pool, "is served, and no resource declares it", fix: fix))
            }
            if pool.overflow > 0.01 {
                let reason = "\(Spelled.rate(pool.overflow)) of \(Spelled.rate(pool.demand)) cannot be placed"
                let fix = "add servers, or end a drain: isobar get drains; isobar plan show"
                found.append(finding("pools", .failed, pool.pool, reason, fix: fix))
            }
        }
        return found.isEmpty ? [finding("pools", .ok, "", "\(status.pools.count) planned, all demand placed")] : found
    }

    private static func regions(_ status: Isobar_V1_FleetStatus) -> [Isobar_V1_Finding] {
        var found: [Isobar_V1_Finding] = []
        for region in status.regions {
            if region.unreachable {
                let fix = "look at its gateways and at the links between regions"
                let reason = "no gateway of another region reaches it"
                found.append(finding("regions", .failed, region.region, reason, fix: fix))
            } else if region.clusters > 0, region.gateways == 0, !status.gateways.isEmpty {
                let fix = "start one there: isobar gateway --config gateway.yaml"
                let reason = "has a cluster and no connected gateway: other regions cannot send there"
                found.append(finding("regions", .warning, region.region, reason, fix: fix))
            }
        }
        return found.isEmpty ? [finding("regions", .ok, "", "\(status.regions.count), all reachable")] : found
    }

    /// What resources say that the fleet does not show.
    static func resources(_ status: Isobar_V1_FleetStatus, _ set: ResourceSet) -> [Isobar_V1_Finding] {
        var found: [Isobar_V1_Finding] = []
        let clusters = Dictionary(status.clusters.map { ($0.cluster, $0.region) }) { $1 }
        let known = Set(status.pools.filter { $0.declared || $0.clusters > 0 }.map(\.pool))
        func warn(_ key: ResourceKey, _ reason: String, _ fix: String) {
            found.append(finding("resources", .warning, key.description, reason, fix: fix))
        }
        for resource in set.all() {
            let key = resource.key
            switch key.kind {
            case .drain:
                let spec = DrainSpec.read(resource).spec
                let there = clusters.contains { name, region in
                    name == spec.cluster?.text || region == spec.region?.text
                }
                let what = spec.cluster.map { "cluster \($0)" } ?? "region \(spec.region?.text ?? "")"
                if !there {
                    warn(key, "drains \(what), which is not heard of", "isobar get clusters, or mend the name")
                }
                if let pool = spec.pool, !known.contains(pool.description) {
                    warn(key, "drains pool \(pool), which nobody knows", "isobar get pools, or mend the name")
                }
            case .objective:
                guard let pool = ObjectiveSpec.read(resource).spec.pool, !known.contains(pool.description) else {
                    break
                }
                warn(key, "is of pool \(pool), which nobody knows", "apply the pool, or mend spec.poolRef.name")
            case .policy:
                guard let pool = RoutingPolicySpec.read(resource).spec.pool, !known.contains(pool.description) else {
                    break
                }
                warn(key, "is of pool \(pool), which nobody knows", "apply the pool, or mend spec.poolRef.name")
            case .cluster:
                let said = clusters[key.name]
                guard let said, let region = ClusterSpec.read(resource).spec.region, said != region.text else { break }
                warn(key, "says region \(region), and its agent says \(said)", "mend one of the two")
            case .pool: break
            }
        }
        let drains = status.clusters.filter { !$0.drain.isEmpty }
        if !drains.isEmpty, drains.count == status.clusters.count {
            let reason = "every cluster is drained: requests have nowhere to go"
            found.append(finding("resources", .failed, "", reason, fix: "isobar get drains; isobar delete drain NAME"))
        }
        return found.isEmpty ? [finding("resources", .ok, "", "\(set.count) in force")] : found
    }
}

/// Numbers as people read them.
enum Spelled {
    static func seconds(_ value: Double) -> String {
        if value < 0.01 { return "\(self.rounded(value * 1_000)) ms" }
        if value < 1 { return "\(Int((value * 1_000).rounded())) ms" }
        if value < 120 { return "\(self.rounded(value)) s" }
        return value < 7_200 ? "\(Int(value / 60)) min" : "\(Int(value / 3_600)) h"
    }

    static func rate(_ value: Double) -> String { "\(self.rounded(value))/s" }

    private static func rounded(_ value: Double) -> String {
        let tenths = (value * 10).rounded() / 10
        return tenths == tenths.rounded() ? "\(Int(tenths))" : "\(tenths)"
    }
}
