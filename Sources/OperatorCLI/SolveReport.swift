import FleetModel
import Foundation
import WeightSolver

/// A solved problem, to be read by a program or by a person.
struct SolveReport {
    let answer: SolverAnswer
    /// The only pair to give reasons for.
    var explained: (source: Int, cluster: Int)?

    /// Weights from this on, and clusters that a rule keeps out, have their reasons in the answer.
    private static let worthAReason = 0.01

    private var problem: SolverProblem { self.answer.problem }

    // MARK: - JSON

    /// - Throws: what the encoder throws.
    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "Infinity",
            negativeInfinity: "-Infinity",
            nan: "NaN"
        )
        return String(decoding: try encoder.encode(self.tree), as: UTF8.self)
    }

    private var tree: JSONValue {
        var prices: [String: JSONValue] = [:]
        for (cluster, price) in zip(self.problem.clusters, self.answer.prices) {
            prices[cluster.name.text] = price.map { .number($0) } ?? .null
        }
        var failover: [String: JSONValue] = [:]
        for entry in self.answer.failover {
            failover[self.problem.clusters[entry.lost].name.text] = self.weights(entry.tables)
        }
        var overflow: [String: JSONValue] = [:]
        for band in Band.allCases { overflow[band.rawValue] = .number(self.answer.overflow[band]) }
        return .object([
            "weights": self.weights(self.answer.tables),
            "cost": .number(self.answer.cost),
            "gap": .number(self.answer.gap),
            "iterations": .number(Double(self.answer.iterations)),
            "residual": .number(self.answer.residual),
            "overflow": .object(overflow),
            "prices": .object(prices),
            "failover": .object(failover),
            "timeToLive": .number(self.answer.timeToLive),
            "changed": .bool(self.answer.isChanged),
            "faults": .array(self.answer.faults.map { .string($0) }),
            "reasons": .array(self.reasons),
        ])
    }

    private func weights(_ tables: ByBand<WeightTable>) -> JSONValue {
        var bands: [String: JSONValue] = [:]
        for band in Band.allCases {
            var sources: [String: JSONValue] = [:]
            for (place, source) in self.problem.sources.enumerated() {
                var row: [String: JSONValue] = [:]
                for entry in tables[band].row(place) {
                    row[self.problem.clusters[entry.cluster].name.text] = .number(entry.weight)
                }
                sources[source.region.text] = .object(row)
            }
            bands[band.rawValue] = .object(sources)
        }
        return .object(bands)
    }

    private var reasons: [JSONValue] {
        var reasons: [JSONValue] = []
        for (band, source, cluster) in self.pairs {
            let because = self.answer.reasons(band, source: source, cluster: cluster).map { reason in
                JSONValue.object([
                    "kind": .string(reason.kind.rawValue), "text": .string(reason.description),
                    "numbers": .object(reason.numbers.mapValues { .number($0) }),
                ])
            }
            reasons.append(
                .object([
                    "band": .string(band.rawValue),
                    "source": .string(self.problem.sources[source].region.text),
                    "cluster": .string(self.problem.clusters[cluster].name.text),
                    "weight": .number(self.answer.tables[band].weight(source: source, cluster: cluster)),
                    "because": .array(because),
                ])
            )
        }
        return reasons
    }

    /// The pairs to give reasons for, in the bands in which their source has demand.
    private var pairs: [(Band, Int, Int)] {
        var pairs: [(Band, Int, Int)] = []
        for band in Band.allCases {
            for source in self.problem.sources.indices {
                if let explained = self.explained {
                    if explained.source == source { pairs.append((band, source, explained.cluster)) }
                    continue
                }
                guard self.problem.sources[source].demand[band] > 0 else { continue }
                var weights = [Double](repeating: 0, count: self.problem.clusters.count)
                for entry in self.answer.tables[band].row(source) { weights[entry.cluster] = entry.weight }
                for cluster in self.problem.clusters.indices
                where weights[cluster] >= Self.worthAReason || self.answer.standings[cluster].exclusion != nil
                    || self.isKeptOut(source, cluster)
                {
                    pairs.append((band, source, cluster))
                }
            }
        }
        return pairs
    }

    private func isKeptOut(_ source: Int, _ cluster: Int) -> Bool {
        let residency = self.problem.residency[self.problem.sources[source].region]
        return !(residency?.contains(self.problem.clusters[cluster].region) ?? true)
    }

    // MARK: - Words

    /// The weights as a table for each band with demand, and the figures below; the reasons where asked for.
    var table: String {
        var lines: [String] = []
        for band in Band.allCases where self.problem.sources.contains(where: { $0.demand[band] > 0 }) {
            lines.append("\(band)")
            for (place, source) in self.problem.sources.enumerated() {
                let row = self.answer.tables[band].row(place).sorted {
                    ($1.weight, $0.cluster) < ($0.weight, $1.cluster)
                }
                let shown = row.filter { $0.weight >= 0.001 }.map { entry in
                    "\(self.problem.clusters[entry.cluster].name) \(Self.percent(entry.weight))"
                }
                let rate = String(format: "%8.1f/s", source.demand[band])
                lines.append(
                    "  \(source.region.text.padding(toLength: 16, withPad: " ", startingAt: 0)) \(rate)  "
                        + (shown.isEmpty ? "nowhere to go" : shown.joined(separator: "  "))
                )
            }
        }
        lines.append("")
        lines.append("cluster            load/s  capacity/s   price")
        for (place, cluster) in self.problem.clusters.enumerated() {
            let name = cluster.name.text.padding(toLength: 16, withPad: " ", startingAt: 0)
            guard let price = self.answer.prices[place] else {
                lines.append("\(name)  \(self.answer.standings[place].exclusion.map { "\($0)" } ?? "")")
                continue
            }
            let capacity = self.answer.standings[place].capacity
            lines.append(
                "\(name) " + String(format: "%8.1f  %10.1f  %.3f s", self.answer.loads[place], capacity, price)
            )
        }
        lines.append("")
        lines.append(
            String(
                format: "cost %.1f ms a request, at most %.2f ms above the optimum; %d Newton steps",
                1000 * self.answer.cost,
                1000 * self.answer.gap,
                self.answer.iterations
            )
        )
        for band in Band.allCases where self.answer.overflow[band] > 1e-6 {
            lines.append(String(format: "overflow: %.1f/s of %@", self.answer.overflow[band], band.rawValue))
        }
        for fault in self.answer.faults { lines.append("fault: \(fault)") }
        if self.explained != nil { lines += ["", self.explanation] }
        return lines.joined(separator: "\n")
    }

    private var explanation: String {
        self.pairs.map { band, source, cluster in
            let weight = self.answer.tables[band].weight(source: source, cluster: cluster)
            let names = "\(self.problem.sources[source].region) → \(self.problem.clusters[cluster].name)"
            let reasons = self.answer.reasons(band, source: source, cluster: cluster).map { "  - \($0)" }
            return (["\(names), \(band): \(Self.percent(weight))"] + reasons).joined(separator: "\n")
        }.joined(separator: "\n")
    }

    private static func percent(_ weight: Double) -> String { String(format: "%.1f%%", 100 * weight) }
}
