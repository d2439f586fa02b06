import ArgumentParser
import FleetModel
import Foundation
import OperatorLink
import PlanStream
import WeightSolver
import WireProtocol

/// A kept plan, to be read by a person.
struct PlanText {
    let kept: Isobar_V1_KeptPlan
    let plan: Plan
    /// By pool.
    let questions: [PoolName: (question: SolverQuestion, because: [String])]

    init(_ kept: Isobar_V1_KeptPlan) throws {
        self.kept = kept
        self.plan = try kept.plan.model()
        var questions: [PoolName: (SolverQuestion, [String])] = [:]
        for message in kept.questions {
            let question = try SolverQuestion(bytes: [UInt8](message.question))
            questions[question.problem.pool] = (question, message.because)
        }
        self.questions = questions
    }

    var title: String {
        let summary = self.kept.summary
        return "plan \(self.plan.version), \(Figure.ago(unixMs: summary.madeUnixMs)) ago, because of \(summary.cause)"
    }

    func demand(_ pool: PoolName, _ source: RegionName, _ band: Band) -> Double {
        self.questions[pool]?.question.problem.sources.first { $0.region == source }?.demand[band] ?? 0
    }

    func lines(pool name: String?, all: Bool) throws -> [String] {
        var lines = [Columns.fit(self.title)]
        if !self.kept.summary.what.isEmpty {
            lines += Columns.wrap("what happened: \(self.kept.summary.what)", indent: 2)
        }
        for pool in try self.pools(name) {
            let isIdle = self.isIdle(pool)
            let cost = "\(Figure.seconds(pool.cost)) a request, at most \(Figure.seconds(pool.gap)) above the best"
            lines += ["", "\(pool.pool): \(isIdle ? "no requests at the moment" : cost)"]
            for reason in self.questions[pool.pool]?.because ?? [] { lines += Columns.wrap("  \(reason)", indent: 4) }
            lines += Columns.lines(
                ["CLUSTER", "REGION", "STATE", "CAPACITY>", "WAITING>", "DIGEST>", "PRICE>"],
                pool.clusters.map { cluster in
                    let asked = self.questions[pool.pool]?.question.problem.clusters.first { $0.name == cluster.name }
                    return [
                        cluster.name.text, cluster.region.text, cluster.state.rawValue,
                        cluster.capacity.map(Figure.rate) ?? "–", "\(cluster.waiting)",
                        asked.map { Figure.seconds($0.digestAge) } ?? "–",
                        cluster.state == .active ? Figure.seconds(cluster.price) : "–",
                    ]
                },
                indent: 2
            )
            lines.append("")
            lines += self.weights(pool, all: all)
        }
        return lines
    }

    func pools(_ name: String?) throws -> [PoolPlan] {
        guard let name else { return self.plan.pools }
        let pool = try PoolName(name)
        guard let found = self.plan[pool] else {
            let known = self.plan.pools.map(\.pool.description).joined(separator: ", ")
            throw OperatorRefusal(.absent, "plan \(self.plan.version) has no pool \(pool); it has \(known)")
        }
        return [found]
    }

    /// Requests per second below which a row is of no interest.
    static let leastDemand = 0.01

    private func isIdle(_ pool: PoolPlan) -> Bool {
        pool.rows.allSatisfy { self.demand(pool.pool, $0.source, $0.band) < Self.leastDemand }
    }

    private func weights(_ pool: PoolPlan, all: Bool) -> [String] {
        let isIdle = self.isIdle(pool)
        let rows = pool.rows.filter { row in
            all || self.demand(pool.pool, row.source, row.band) >= Self.leastDemand || (isIdle && row.band == .standard)
        }
        let cells = rows.map { row in
            let shares = row.weights.sorted { ($1.weight, $0.cluster) < ($0.weight, $1.cluster) }.filter {
                $0.weight >= 0.001
            }
            return [
                row.source.text, row.band.rawValue, Figure.rate(self.demand(pool.pool, row.source, row.band)),
                shares.map { "\($0.cluster) \(Figure.share($0.weight))" }.joined(separator: "  "),
            ]
        }
        return Columns.lines(["FROM", "BAND", "DEMAND>", "TO"], cells, indent: 2)
    }
}

/// What differs between two plans.
struct PlanDifference {
    let from: PlanText
    let to: PlanText

    private struct Move: Encodable {
        var pool: String
        var source: String
        var band: String
        var cluster: String
        var before: Double
        var after: Double
    }

    private struct StateChange: Encodable {
        var pool: String
        var cluster: String
        var before: String
        var after: String
    }

    private static let smallest = 0.001

    private var moves: [Move] {
        let pools = Set(self.from.plan.pools.map(\.pool)).union(self.to.plan.pools.map(\.pool)).sorted()
        return pools.flatMap { pool -> [Move] in
            let (old, new) = (self.from.plan[pool], self.to.plan[pool])
            let sources = Set(((old?.rows ?? []) + (new?.rows ?? [])).map(\.source)).sorted()
            let clusters = Set(((old?.clusters ?? []) + (new?.clusters ?? [])).map(\.name)).sorted()
            return Band.allCases.flatMap { band in
                sources.flatMap { source -> [Move] in
                    let demand = self.from.demand(pool, source, band) + self.to.demand(pool, source, band)
                    guard demand >= PlanText.leastDemand else { return [] }
                    let before = old?.weights(from: source, band: band) ?? [:]
                    let after = new?.weights(from: source, band: band) ?? [:]
                    return clusters.compactMap { cluster in
                        let (was, becomes) = (before[cluster] ?? 0, after[cluster] ?? 0)
                        guard abs(was - becomes) >= Self.smallest else { return nil }
                        return Move(
                            pool: pool.description,
                            source: source.text,
                            band: band.rawValue,
                            cluster: cluster.text,
                            before: was,
                            after: becomes
                        )
                    }
                }
            }
        }
    }

    private var states: [StateChange] {
        let pools = Set(self.from.plan.pools.map(\.pool)).union(self.to.plan.pools.map(\.pool)).sorted()
        return pools.flatMap { pool -> [StateChange] in
            func states(_ plan: Plan) -> [ClusterName: String] {
                Dictionary((plan[pool]?.clusters ?? []).map { ($0.name, $0.state.rawValue) }) { $1 }
            }
            let (old, new) = (states(self.from.plan), states(self.to.plan))
            return Set(old.keys).union(new.keys).sorted().compactMap { name in
                guard old[name] != new[name] else { return nil }
                let (before, after) = (old[name] ?? "absent", new[name] ?? "absent")
                return StateChange(pool: "\(pool)", cluster: name.text, before: before, after: after)
            }
        }
    }

    var lines: [String] {
        var lines = ["from \(self.from.title)", "to   \(self.to.title)"].map { Columns.fit($0) }
        for state in self.states { lines.append("\(state.pool): \(state.cluster) \(state.before) → \(state.after)") }
        let (known, now) = (self.because(self.from), self.because(self.to))
        lines += now.filter { !known.contains($0) }.map { Columns.fit("+ \($0)") }
        lines += known.filter { !now.contains($0) }.map { Columns.fit("- \($0)") }
        guard !self.moves.isEmpty else { return lines + ["No weight that requests follow has moved by 0.1 % or more."] }
        return lines
            + Columns.lines(
                ["POOL", "FROM", "BAND", "TO", "BEFORE>", "AFTER>", "MOVED>"],
                self.moves.map { move in
                    let moved = String(format: "%+.1f pt", 100 * (move.after - move.before))
                    return [
                        move.pool, move.source, move.band, move.cluster, Figure.share(move.before),
                        Figure.share(move.after), moved,
                    ]
                }
            )
    }

    private func because(_ text: PlanText) -> [String] {
        text.questions.sorted { $0.key < $1.key }.flatMap(\.value.because)
    }

    func json() throws -> String {
        struct Whole: Encodable {
            var from: String
            var to: String
            var states: [StateChange]
            var moves: [Move]
        }
        let whole = Whole(
            from: self.from.plan.version.description,
            to: self.to.plan.version.description,
            states: self.states,
            moves: self.moves
        )
        return try Lines.json(whole)
    }
}

/// Why a weight is what it is.
struct PlanReasons {
    private struct Pair: Encodable {
        struct Reason: Encodable {
            var kind: String
            var text: String
            var numbers: [String: Double]
        }
        var pool: String
        var band: String
        var source: String
        var cluster: String
        var demand: Double
        var weight: Double
        var because: [Reason]
        var resources: [String]
    }

    private let title: String
    private var pairs: [Pair] = []

    init(_ text: PlanText, pair: String, pool name: String?, band: String?) throws {
        self.title = text.title
        let parts = pair.split(separator: "/").map(String.init)
        guard parts.count == 2 else {
            throw ValidationError("\"\(pair)\" is no pair; write REGION/CLUSTER, as in us-east/europe-west-a")
        }
        if let band, Band(rawValue: band) == nil {
            throw ValidationError("\"\(band)\" is no band; use premium, standard or batch")
        }
        for pool in try text.pools(name) {
            guard let (question, because) = text.questions[pool.pool] else { continue }
            let problem = question.problem
            guard let source = problem.sources.firstIndex(where: { $0.region.text == parts[0] }),
                let cluster = problem.clusters.firstIndex(where: { $0.name.text == parts[1] })
            else { continue }
            let answer = question.answer()
            let busy = Band.allCases.filter { problem.sources[source].demand[$0] >= PlanText.leastDemand }
            let bands = band.flatMap(Band.init(rawValue:)).map { [$0] } ?? (busy.isEmpty ? [.standard] : busy)
            for band in bands {
                self.pairs.append(
                    Pair(
                        pool: pool.pool.description,
                        band: band.rawValue,
                        source: parts[0],
                        cluster: parts[1],
                        demand: problem.sources[source].demand[band],
                        weight: answer.tables[band].weight(source: source, cluster: cluster),
                        because: answer.reasons(band, source: source, cluster: cluster).map {
                            Pair.Reason(kind: $0.kind.rawValue, text: $0.description, numbers: $0.numbers)
                        },
                        resources: because.filter { $0.contains(parts[1]) || $0.hasPrefix("RoutingPolicy") }
                    )
                )
            }
        }
        guard !self.pairs.isEmpty else {
            let problems = text.questions.values.map(\.question.problem)
            let sources = Set(problems.flatMap { $0.sources.map(\.region.text) }).sorted().joined(separator: ", ")
            let clusters = Set(problems.flatMap { $0.clusters.map(\.name.text) }).sorted().joined(separator: ", ")
            throw OperatorRefusal(
                .absent,
                "plan \(text.plan.version) knows no pair \(pair); regions: \(sources); clusters: \(clusters)"
            )
        }
    }

    var lines: [String] {
        var lines = [Columns.fit(self.title)]
        for pair in self.pairs {
            let share = Figure.share(pair.weight)
            let demand = pair.demand > 0 ? Figure.rate(pair.demand) : "none at the moment"
            lines += [
                "",
                "\(pair.pool), \(pair.band): \(pair.source) sends \(share) of its requests (\(demand)) to \(pair.cluster)",
            ]
            for reason in pair.because { lines += Columns.wrap("  · \(reason.text)", indent: 4) }
            for resource in pair.resources { lines += Columns.wrap("  · by \(resource)", indent: 4) }
        }
        return lines
    }

    func json() throws -> String { try Lines.json(self.pairs) }
}

/// A plan solved again.
struct PlanReplay {
    private struct Pool: Encodable {
        var pool: String
        var same: Bool
        /// The largest difference of one weight.
        var largest_difference: Double
        var weights: Int
    }

    private let text: PlanText
    private let pools: [Pool]
    private let hash: Data
    private let seconds: Double

    var isSame: Bool { self.pools.allSatisfy(\.same) && self.hash == self.text.kept.hash }

    init(_ text: PlanText) throws {
        self.text = text
        var plan = text.plan
        var pools: [Pool] = []
        let start = ContinuousClock.now
        for place in plan.pools.indices {
            let kept = plan.pools[place]
            guard let question = text.questions[kept.pool]?.question else { continue }
            let answer = question.answer()
            pools.append(Self.compare(kept, answer.rows))
            plan.pools[place].rows = answer.rows
            plan.pools[place].failover = answer.failoverRows
            plan.pools[place].cost = max(0, answer.cost)
            plan.pools[place].gap = max(0, answer.gap)
            for (cluster, price) in zip(plan.pools[place].clusters.indices, answer.prices) {
                plan.pools[place].clusters[cluster].price = price ?? 0
            }
        }
        self.pools = pools
        self.hash = try EncodedPlan(plan).envelope.hash
        self.seconds = (ContinuousClock.now - start) / .seconds(1)
    }

    private static func compare(_ kept: PoolPlan, _ rows: [PlanRow]) -> Pool {
        var largest = 0.0
        var isSame = kept.rows.count == rows.count
        for row in rows {
            let was = kept.weights(from: row.source, band: row.band) ?? [:]
            for cluster in was.clusters(with: row.weights) {
                let (before, after) = (was[cluster] ?? 0, row.weights[cluster] ?? 0)
                if before.bitPattern != after.bitPattern { isSame = false }
                largest = max(largest, abs(before - after))
            }
        }
        let count = rows.reduce(0) { $0 + $1.weights.count }
        return Pool(pool: kept.pool.description, same: isSame, largest_difference: largest, weights: count)
    }

    var lines: [String] {
        var lines = [Columns.fit(self.text.title)]
        for pool in self.pools {
            let what =
                pool.same
                ? "the same \(pool.weights) weights, to the last bit"
                : "differs by up to \(pool.largest_difference) in a weight"
            lines.append("\(pool.pool): \(what)")
        }
        let hash = self.hash.prefix(8).map { String(format: "%02x", $0) }.joined()
        lines.append(
            self.hash == self.text.kept.hash
                ? "the whole plan, with its failover rows, has the hash that was sent: \(hash)…"
                : "the whole plan has another hash than the one that was sent; made by version \(self.text.kept.software)"
        )
        lines.append("solved in \(Figure.seconds(self.seconds))")
        return lines
    }

    func json() throws -> String {
        struct Whole: Encodable {
            var plan: String
            var same: Bool
            var same_hash: Bool
            var pools: [Pool]
        }
        return try Lines.json(
            Whole(
                plan: self.text.plan.version.description,
                same: self.isSame,
                same_hash: self.hash == self.text.kept.hash,
                pools: self.pools
            )
        )
    }
}

/// JSON of values that are not messages.
enum Lines {
    static func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}
