import FleetModel
import WeightSolver

/// The `policy` of a problem file.
enum PolicyFields {
    private static let bands = Band.allCases.map(\.rawValue)

    private static let perBand: [String: any WritableKeyPath<SolverPolicy, ByBand<Double>> & Sendable] = [
        "epsilon": \.epsilon, "floor": \.floor, "maxRemoteShare": \.maxRemoteShare,
    ]
    private static let shares: [String: any WritableKeyPath<SolverPolicy, Double> & Sendable] = [
        "floorBudget": \.floorBudget, "deadBand": \.deadBand, "batchCap": \.batchCap, "fullLoad": \.fullLoad,
        "shedStart": \.shedStart, "kvLimit": \.kvLimit, "negligible": \.negligible,
    ]
    private static let amounts: [String: any WritableKeyPath<SolverPolicy, Double> & Sendable] = [
        "overflowPrice": \.overflowPrice, "shedGain": \.shedGain, "egressPrice": \.egressPrice,
        "unknownRoundTrip": \.unknownRoundTrip, "localRoundTrip": \.localRoundTrip, "decodeWeight": \.decodeWeight,
        "staleAfter": \.staleAfter, "decayAfter": \.decayAfter, "decayTime": \.decayTime, "lostAfter": \.lostAfter,
        "timeToLive": \.timeToLive,
    ]

    /// The fields that are read.
    static let names =
        (Array(perBand.keys) + Array(shares.keys) + Array(amounts.keys) + ["stepLimit", "failover"]).sorted()

    static func read(_ reader: JSONReader) throws(ProblemError) -> SolverPolicy {
        let fields = try reader.members(fields: Self.names)
        var policy = SolverPolicy()
        if let field = fields["stepLimit"] { try Self.readStepLimit(field, into: &policy) }
        if let field = fields["failover"] { policy.failover = try Self.failover(field) }
        for (name, path) in Self.perBand {
            guard let field = fields[name] else { continue }
            let bounds = name == "epsilon" ? 1e-4...10 : 0.0...1.0
            let unit = name == "epsilon" ? "seconds" : "as a share"
            guard case .object = field.value else {
                policy[keyPath: path] = ByBand(all: try field.number(in: bounds, unit))
                continue
            }
            for (band, value) in try field.members(fields: Self.bands) {
                guard let band = Band(rawValue: band) else { continue }
                policy[keyPath: path][band] = try value.number(in: bounds, unit)
            }
        }
        for (name, path) in Self.shares {
            if let field = fields[name] { policy[keyPath: path] = try field.number(in: 0...1, "as a share") }
        }
        for (name, path) in Self.amounts {
            if let field = fields[name] { policy[keyPath: path] = try field.number(in: 0...1e9, "as an amount") }
        }
        return policy
    }

    private static func readStepLimit(_ field: JSONReader, into policy: inout SolverPolicy) throws(ProblemError) {
        switch field.value {
        case .bool(false): policy = policy.unlimited
        case .bool(true): break
        case .object:
            var limit = StepLimit()
            let fields = try field.members(fields: ["largest", "fraction"])
            if let field = fields["largest"] { limit.largest = try field.number(in: 0...1, "as a share") }
            if let field = fields["fraction"] { limit.fraction = try field.number(in: 0...1, "as a share") }
            policy.stepLimit = limit
        default: policy.stepLimit = StepLimit(largest: try field.number(in: 0...1, "as a share"))
        }
    }

    private static func failover(_ field: JSONReader) throws(ProblemError) -> FailoverChoice {
        switch field.value {
        case .string("all"): return .all
        case .string("none"), .bool(false): return .none
        case .array:
            var names: Set<ClusterName> = []
            for element in try field.elements() { names.insert(ClusterName(unchecked: try element.text())) }
            return .only(names)
        default: throw field.error("use \"all\", \"none\" or a list of clusters")
        }
    }
}
