import FleetModel
import Foundation
import ProgramShell
import Resources
import WireProtocol

/// What became of a change, or would become of it.
struct ChangeReport {
    let answer: Isobar_V1_ChangeAnswer
    let isDryRun: Bool

    /// One line a resource, then what the plan would be.
    var lines: [String] {
        let rows = self.answer.changes.map { change in
            [
                Isobar_V1_ResourceProblem.name(change.key), self.outcome(change),
                change.hasAfter && change.hasResourceVersion && !self.isDryRun
                    ? "revision \(change.resourceVersion)" : "",
            ]
        }
        let widths = (0..<2).map { column in rows.map { $0[column].count }.max() ?? 0 }
        var lines = rows.map { row in
            let padded = zip(row, widths).map { $0.padding(toLength: $1, withPad: " ", startingAt: 0) }
            return "\(padded[0])  \(padded[1])\(row[2].isEmpty ? "" : "  \(row[2])")".trimmingCharacters(
                in: .whitespaces
            )
        }
        lines += self.answer.warnings.flatMap { Columns.wrap("warning: \($0)", indent: 9) }
        if self.isDryRun { lines += self.forecast }
        return lines
    }

    private func outcome(_ change: Isobar_V1_ResourceChange) -> String {
        self.isDryRun && !["unchanged", "absent"].contains(change.outcome)
            ? "would be \(change.outcome)" : change.outcome
    }

    /// What would become of the weights.
    var forecast: [String] {
        guard !self.answer.forecast.isEmpty else { return ["", "The plan would not change."] }
        return self.answer.forecast.flatMap { pool -> [String] in
            let cost = "\(Figure.seconds(pool.costBefore)) → \(Figure.seconds(pool.costAfter)) a request"
            var lines = ["", "\(pool.pool): \(cost), settled after \(pool.ticks) plan\(pool.ticks == 1 ? "" : "s")"]
            if pool.overflowAfter > 0.01 {
                let before = pool.overflowBefore > 0.01 ? ", now \(Figure.rate(pool.overflowBefore))" : ""
                lines.append("  \(Figure.rate(pool.overflowAfter)) could not be placed\(before)")
            }
            lines += Columns.lines(
                ["FROM", "BAND", "TO", "NOW>", "NEXT>", "SETTLED>"],
                pool.weights.map { weight in
                    [
                        weight.source, weight.band.word, weight.cluster, Figure.share(weight.now),
                        Figure.share(weight.next), Figure.share(weight.settled),
                    ]
                },
                indent: 2
            )
            return lines
        }
    }

    /// The fields that differ, as `diff` shows them.
    func differences() throws -> [String] {
        var lines: [String] = []
        for change in self.answer.changes {
            let differences = ResourceDifference.between(
                change.hasBefore ? try change.before.model() : nil,
                change.hasAfter ? try change.after.model() : nil
            )
            guard !differences.isEmpty, change.outcome != "unchanged" else { continue }
            lines.append("\(Isobar_V1_ResourceProblem.name(change.key)) would be \(change.outcome)")
            for difference in differences {
                if let before = difference.before { lines.append("- \(difference.path): \(before.said)") }
                if let after = difference.after { lines.append("+ \(difference.path): \(after.said)") }
            }
        }
        return lines
    }

    /// Reports problems, if there are any, each with its file and line.
    ///
    /// - Throws: `ExitCode` when there are some.
    func check(_ command: String, _ manifests: [ManifestOptions.Read] = []) throws {
        guard !self.answer.problems.isEmpty else { return }
        for problem in self.answer.problems {
            let document = manifests.first { Isobar_V1_ResourceKey($0.resource.key) == problem.key }?.document
            ManifestOptions.report(command, document, problem.name, problem.model)
        }
        throw self.answer.problems.contains(where: \.conflict) ? Answers.conflict : Failures.badInput
    }
}

extension Isobar_V1_Band {
    /// As operators say it.
    var word: String { (try? self.model(field: "band").rawValue) ?? "unknown" }
}
