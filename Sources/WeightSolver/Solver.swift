import FleetModel

/// Turns what is known of a pool into weights: one mutating value per thread, which keeps only scratch space.
///
/// The bands are solved in order, each on top of the load that the bands before it will really place. For one band:
///
/// 1. ``Survey`` says which clusters may be used at all, at which capacity, and how far they are.
/// 2. What the fleet cannot carry is taken off the demand (``Overload``).
/// 3. Floors are taken out beforehand: with `x = f·λ + x̃`, the rest `x̃ ≥ 0` is the same problem with a smaller demand
///    over a larger base load, so that floors are met exactly and paid for.
/// 4. ``DualNewton`` finds prices and target shares.
/// 5. ``StepRule`` moves the weights in force toward them.
/// 6. ``Certificate`` says how far from the optimum the result can be at most.
///
/// The answer depends on the problem and the memory alone: no clock, no dice, no order of a dictionary.
package struct Solver: Sendable {
    private var newton = DualNewton()
    private var row = WeightRow()

    package init() {}

    /// Solves one pool.
    ///
    /// Degenerate problems have answers: without a usable cluster, or where residency leaves none, a source's row is
    /// empty and its demand is overflow; without demand the rows say where a request would best go.
    ///
    /// `memory` is what the last tick left, and becomes what the next tick needs.
    package mutating func solve(_ problem: SolverProblem, memory: inout SolverMemory) -> SolverAnswer {
        memory.align(to: problem)
        let survey = Survey(problem)
        var answer = SolverAnswer(problem: problem, survey: survey, previous: memory.tables)
        self.solveBands(problem, survey, memory: memory, isFailover: false, into: &answer)

        memory.sources = problem.sources.map(\.region)
        memory.clusters = problem.clusters.map(\.name)
        memory.prices = answer.bandPrices
        memory.loads = answer.bandLoads
        for band in Band.allCases { memory.tables[band] = answer.tables[band] }

        for place in problem.clusters.indices where survey.standings[place].column != nil {
            guard problem.policy.failover.includes(problem.clusters[place].name) else { continue }
            let survey = Survey(problem, lost: place)
            var without = SolverAnswer(problem: problem, survey: survey, previous: memory.tables)
            self.solveBands(problem, survey, memory: memory, isFailover: true, into: &without)
            answer.failover.append(SolverAnswer.Failover(lost: place, tables: without.tables))
        }
        return answer
    }

    private mutating func solveBands(
        _ problem: SolverProblem,
        _ survey: Survey,
        memory: SolverMemory,
        isFailover: Bool,
        into answer: inout SolverAnswer
    ) {
        let overload = Overload(survey, problem.policy)
        var load = [Double](repeating: 0, count: survey.columnCount)
        var certificate = Certificate()
        for band in Band.allCases {
            let stage = BandStage(
                band,
                survey,
                problem.policy,
                admitted: 1 - overload.shed[band],
                base: load
            )
            let outcome = self.newton.solve(
                stage.newton,
                on: survey,
                from: Self.warmStart(memory, band, survey)
            )
            answer.iterations += outcome.iterations
            answer.residual = max(answer.residual, outcome.residual)
            answer.keepPrices(band, survey, prices: self.newton.prices, loads: self.newton.loads)

            // When a cluster is lost nothing holds the others back but digests that are too old.
            let rule =
                isFailover
                ? StepRule(limit: nil, deadBand: 0)
                : StepRule(limit: problem.policy.stepLimit, deadBand: problem.policy.deadBand)
            let placed = self.makeRows(band, stage, survey, rule, problem.policy, into: &answer)
            for c in load.indices { load[c] += placed.load[c] }
            answer.overflow[band] = overload.overflow[band] + placed.unplaced
            if !isFailover {
                certificate.add(
                    stage,
                    survey,
                    answer.tables[band],
                    admitted: placed.admitted,
                    load: load,
                    newton: self.newton
                )
            }
        }
        guard !isFailover else { return }
        answer.close(survey, load: load, certificate: certificate)
    }

    /// The last tick's prices by column; `nil` when most of them are not known.
    private static func warmStart(
        _ memory: SolverMemory,
        _ band: Band,
        _ survey: Survey
    ) -> (prices: [Double], loads: [Double])? {
        let known = memory.prices[band]
        guard known.count >= survey.standings.count, survey.columnCount > 0 else { return nil }
        var prices = [Double](repeating: 0, count: survey.columnCount)
        var loads = prices
        var missing = 0
        for (c, place) in survey.order.enumerated() {
            prices[c] = known[place]
            loads[c] = memory.loads[band][place]
            if !(prices[c].isFinite && loads[c].isFinite) {
                missing += 1
                loads[c] = 0.5 * survey.curves[c].capacity
                prices[c] = survey.curves[c].at(loads[c]).marginal
            }
        }
        return 2 * missing > survey.columnCount ? nil : (prices, loads)
    }

    private struct Placed {
        /// By column.
        var load: [Double]
        /// By source: requests per second that the rows stand for.
        var admitted: [Double]
        var unplaced = 0.0
    }

    /// From shares of sites to rows of weights: floors added, overflow taken out, steps limited.
    private mutating func makeRows(
        _ band: Band,
        _ stage: BandStage,
        _ survey: Survey,
        _ rule: StepRule,
        _ policy: SolverPolicy,
        into answer: inout SolverAnswer
    ) -> Placed {
        let columns = survey.columnCount
        var placed = Placed(
            load: [Double](repeating: 0, count: columns),
            admitted: [Double](repeating: 0, count: survey.sourceCount)
        )
        let isHeld = survey.order.map { survey.standings[$0].isHeld }
        let inForce = answer.previous[band]
        let isOverloaded = Self.overloaded(inForce, stage, survey, policy)
        var table = WeightTable()
        table.reserve(rows: survey.sourceCount, entries: survey.sourceCount * min(columns, 64))
        var targets = WeightTable()
        var outcomes: [StepRule.Outcome] = []
        outcomes.reserveCapacity(survey.sourceCount)

        for source in 0..<survey.sourceCount {
            let admitted = 1 - (1 - stage.floors[source].total) * self.newton.overflow[source]
            let sum = self.fillRow(source, stage, survey, negligible: policy.negligible)
            guard sum > 0, admitted > 1e-9 else {
                placed.unplaced += stage.demand[source]
                table.endRow()
                targets.endRow()
                outcomes.append(.free)
                continue
            }
            placed.admitted[source] = stage.demand[source] * admitted
            placed.unplaced += stage.demand[source] * (1 - admitted)

            var outcome = StepRule.Outcome.free
            if let inForce, !inForce.row(source).isEmpty {
                var freed = 0.0
                for entry in inForce.row(source) {
                    let column =
                        survey.standings.indices.contains(entry.cluster)
                        ? survey.standings[entry.cluster].column : nil
                    if let column, stage.reaches(source, column: column) {
                        self.row.setInForce(entry.weight, column: column)
                    } else {
                        freed += entry.weight
                    }
                }
                outcome = rule.move(&self.row, freed: freed, isOverloaded: isOverloaded, isHeld: isHeld)
                if outcome != .free {
                    for item in self.row.items where item.target > 0 {
                        targets.append(cluster: survey.order[item.column], weight: item.target)
                    }
                }
            }
            outcomes.append(outcome)
            targets.endRow()
            let rate = placed.admitted[source]
            for item in self.row.items where item.weight > 0 {
                table.append(cluster: survey.order[item.column], weight: item.weight)
                placed.load[item.column] += rate * item.weight
            }
            table.endRow()
        }
        answer.tables[band] = table
        answer.targets[band] = targets
        answer.outcomes[band] = outcomes
        return placed
    }

    /// Fills the row with a source's target, and returns what it sums to before it is brought to 1.
    private mutating func fillRow(_ source: Int, _ stage: BandStage, _ survey: Survey, negligible: Double) -> Double {
        let width = LinearAlgebra.padded(survey.siteCount)
        self.row.begin(columns: survey.columnCount)
        let rest = 1 - stage.floors[source].total
        let local = survey.localSites[source]
        for site in 0..<survey.siteCount {
            let floor = stage.floor(source, site: site, isLocal: local.contains(site))
            let share = rest * self.newton.share[source * width + site]
            guard floor > 0 || share >= negligible else { continue }
            for c in survey.siteStart[site]..<survey.siteStart[site + 1] {
                let weight = share * self.newton.inSite[c] + (stage.isOpen[c] ? floor : 0)
                if weight >= negligible { self.row.append(weight, column: c) }
            }
        }
        return self.row.normalise()
    }

    /// The clusters that the weights in force would take past full load at this tick's demand.
    private static func overloaded(
        _ inForce: WeightTable?,
        _ stage: BandStage,
        _ survey: Survey,
        _ policy: SolverPolicy
    ) -> [Bool] {
        var load = stage.base
        if let inForce {
            for source in 0..<survey.sourceCount {
                for entry in inForce.row(source) where survey.standings.indices.contains(entry.cluster) {
                    guard let column = survey.standings[entry.cluster].column else { continue }
                    load[column] += stage.demand[source] * entry.weight
                }
            }
        }
        return load.indices.map { load[$0] > policy.fullLoad * survey.curves[$0].capacity }
    }
}
