import FleetModel
import Foundation
import WeightSolver

/// A problem as a file has it; `isobar solve --help` documents every field with its default.
struct ProblemFile {
    let problem: SolverProblem
    let memory: SolverMemory

    /// Reads JSON, in which `NaN` and `Infinity` may stand for numbers.
    ///
    /// - Throws: ``ProblemError`` that names the place in the file and the fix.
    init(json data: Data) throws(ProblemError) {
        let decoder = JSONDecoder()
        decoder.allowsJSON5 = true
        let tree: JSONValue
        do {
            tree = try decoder.decode(JSONValue.self, from: data)
        } catch DecodingError.dataCorrupted(let context) {
            let cause = (context.underlyingError as? NSError)?.userInfo["NSDebugDescription"] as? String
            throw ProblemError(path: "$", fix: "this is not JSON: \(cause ?? context.debugDescription)")
        } catch {
            throw ProblemError(path: "$", fix: "this is not JSON: \(error)")
        }
        try self.init(JSONReader(tree))
    }

    private init(_ root: JSONReader) throws(ProblemError) {
        let fields = try root.members(fields: [
            "pool", "sources", "clusters", "rtt", "egress", "residency", "outputTokens", "policy", "previous",
        ])
        guard let sources = fields["sources"] else {
            throw root.error("add \"sources\", a list of {\"region\", \"demand\"}")
        }
        guard let clusters = fields["clusters"] else {
            throw root.error("add \"clusters\", a list of {\"name\", \"region\", \"capacity\", \"servers\", …}")
        }
        let pool = try fields["pool"]?.text() ?? "problem"
        var residency: [RegionName: Set<RegionName>] = [:]
        for (name, reader) in try fields["residency"]?.members() ?? [:] {
            var regions: Set<RegionName> = []
            for element in try reader.elements() { regions.insert(RegionName(unchecked: try element.text())) }
            residency[RegionName(unchecked: name)] = regions
        }
        self.problem = SolverProblem(
            pool: PoolName(namespace: "default", name: pool),
            sources: try Self.sources(sources),
            clusters: try Self.clusters(clusters),
            links: SolverLinks(
                roundTrips: try Self.matrix(fields["rtt"]),
                egress: try Self.matrix(fields["egress"])
            ),
            residency: residency,
            outputTokens: try fields["outputTokens"]?.numberOrNull(),
            policy: try fields["policy"].map(PolicyFields.read) ?? SolverPolicy()
        )
        self.memory = try Self.memory(fields["previous"])
    }

    private static func sources(_ list: JSONReader) throws(ProblemError) -> [SolverSource] {
        var sources: [SolverSource] = []
        var seen: Set<RegionName> = []
        for element in try list.elements() {
            let fields = try element.members(fields: ["region", "demand"])
            guard let region = fields["region"] else { throw element.error("add \"region\", the source's name") }
            let name = RegionName(unchecked: try region.text())
            guard seen.insert(name).inserted else {
                throw region.error("\"\(name)\" is already a source; add its demand up in one")
            }
            var demand = ByBand(all: 0.0)
            for (band, reader) in try fields["demand"]?.members(fields: Band.allCases.map(\.rawValue)) ?? [:] {
                guard let band = Band(rawValue: band) else { continue }
                demand[band] = try reader.numberOrNull() ?? 0
            }
            sources.append(SolverSource(region: name, demand: demand))
        }
        return sources
    }

    private static func clusters(_ list: JSONReader) throws(ProblemError) -> [SolverCluster] {
        var clusters: [SolverCluster] = []
        var seen: Set<ClusterName> = []
        for element in try list.elements() {
            let fields = try element.members(fields: [
                "name", "region", "capacity", "servers", "unloadedTTFT", "queueScale", "kvUse", "state", "digestAge",
                "itl", "itlSlope",
            ])
            guard let nameField = fields["name"] else { throw element.error("add \"name\", the cluster's name") }
            guard let region = fields["region"] else { throw element.error("add \"region\", where the cluster is") }
            let name = ClusterName(unchecked: try nameField.text())
            guard seen.insert(name).inserted else { throw nameField.error("\"\(name)\" is already a cluster") }
            var state = ClusterState.active
            if let field = fields["state"] {
                guard let known = ClusterState(rawValue: try field.text()) else {
                    throw field.error("use active, draining or down")
                }
                state = known
            }
            clusters.append(
                SolverCluster(
                    name: name,
                    region: RegionName(unchecked: try region.text()),
                    state: state,
                    capacity: try fields["capacity"]?.numberOrNull(),
                    servers: try fields["servers"].map { (field) throws(ProblemError) in
                        Int(try field.number(in: 0...1e6, "servers").rounded())
                    } ?? 1,
                    unloadedTTFT: try fields["unloadedTTFT"]?.numberOrNull(),
                    queueScale: try fields["queueScale"]?.numberOrNull(),
                    kvUse: try fields["kvUse"]?.numberOrNull(),
                    digestAge: try fields["digestAge"]?.numberOrNull() ?? 0,
                    interTokenLatency: try fields["itl"]?.numberOrNull(),
                    interTokenSlope: try fields["itlSlope"]?.numberOrNull()
                )
            )
        }
        return clusters
    }

    private static func matrix(_ field: JSONReader?) throws(ProblemError) -> [RegionName: [RegionName: Double]] {
        var matrix: [RegionName: [RegionName: Double]] = [:]
        for (from, row) in try field?.members() ?? [:] {
            for (to, cell) in try row.members() {
                guard let value = try cell.numberOrNull() else { continue }
                guard !(value < 0) else { throw cell.error("expected 0 or more, found \(value)") }
                matrix[RegionName(unchecked: from), default: [:]][RegionName(unchecked: to)] = value
            }
        }
        return matrix
    }

    private static func memory(_ field: JSONReader?) throws(ProblemError) -> SolverMemory {
        var rows: [PlanRow] = []
        for (name, sources) in try field?.members(fields: Band.allCases.map(\.rawValue)) ?? [:] {
            guard let band = Band(rawValue: name) else { continue }
            for (source, clusters) in try sources.members() {
                var weights = ClusterShares()
                for (cluster, weight) in try clusters.members() {
                    weights[ClusterName(unchecked: cluster)] = try weight.number(in: 0...(.infinity), "as a weight")
                }
                rows.append(PlanRow(source: RegionName(unchecked: source), band: band, weights: weights))
            }
        }
        return rows.isEmpty ? SolverMemory() : SolverMemory(rows: rows)
    }
}
