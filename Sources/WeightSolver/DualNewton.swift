/// Finds the prices at which what the sources send to each cluster is what the cluster offers to take.
///
/// # The problem of one band
///
/// Sources r with demand λ_r, clusters c with convex cost F_c (``DelayCurve``), distance t_rc in seconds:
///
///     minimise  Σ x_rc·t_rc + Σ_c F_c(v_c)      v_c = base_c + Σ_r x_rc ≤ cap_c,   Σ_c x_rc = λ_r,   x ≥ 0
///
/// `base` is the load of the bands before this one. Bands are solved in order rather than weighted in one sum, which
/// would not be convex. With `ε Σ x ln(x/λ)` added there is one price p_c per cluster, and each source answers prices
/// with a soft minimum:
///
///     w_rc = e^(−(t_rc + p_c)/ε) / Σ_k e^(−(t_rk + p_k)/ε)          θ_r = −ε ln Σ_k e^(−(t_rk + p_k)/ε)
///
/// The prices maximise the concave, smooth dual
///
///     G(p) = Σ_r λ_r θ_r(p) + Σ_c min_v [F_c(v) − p_c (v − base_c)]
///     ∇G_c = d_c − (v_c(p_c) − base_c)           d = Σ_r λ_r w_r,   v_c = (F′_c)⁻¹(p_c)
///     −∇²G = diag(1/F″) + (1/ε)(diag(d) − Σ_r λ_r w_r w_rᵀ)
///
/// At the maximum every used pair has the same marginal cost `t_rc + F′_c` but for ε, and the plan costs at most
/// `ε·ln(clusters)` seconds a request more than the optimum without entropy.
///
/// Two limits are part of the answer to prices and so are met exactly. *Overflow* is one more place to go, at a fixed
/// price. A *remote limit* s splits a row whose soft minimum would send more than s away: the local part shares 1 − s,
/// the remote part s, each by its own soft minimum; it then counts as two rows in the Hessian.
///
/// # The algorithm
///
/// Damped Newton on the prices, from the last tick's prices, or by continuation over ε = 64, 16, 4 ms when there are
/// none. Three things make a step cheap and safe:
///
/// 1. *Sites.* t_rc is the same for all clusters of a site, hence `w_rc = w_rg·π_c` with π the soft minimum within
///    the site: R·G + C exponentials instead of R·C.
/// 2. *Low rank.* The Hessian is a diagonal less one rank for each row, and the rows are constant within sites but for
///    π. By Woodbury, with `D_c = 1/F″_c + d_c/ε` and `u_r = √(λ_r/ε)·w_r`, the step is
///    `s = D⁻¹(g + U z)`, `(1 − Uᵀ D⁻¹ U) z = Uᵀ D⁻¹ g`: one Cholesky factorisation of the size of the sources.
/// 3. *Two coordinates.* Where supply is flat (F″·d/ε ≤ 1) a step in price would hardly move the load, and where it is
///    steep a step in load would shoot off in price. The step `s_c` is taken as load `v += s_c/F″_c` in the first case
///    and as price in the second. Either way price and load are then brought together again exactly, so that G is a
///    true dual value, and backtracking on G makes the whole converge from anywhere.
/// 4. *No overshooting.* Demand is exponential in price, and one cluster that becomes too cheap would draw everything
///    and shorten the step of all. A cluster that is too dear falls no lower than where it would be asked for what it
///    supplies, and one whose supply turns steep rises no more than 2ε beyond its step. With that the warm solves of
///    the benchmark take whole steps only.
///
/// (Water-filling source by source and Frank–Wolfe were tried and do not converge in useful time: sources swap places
/// through a stiff F″.)
struct DualNewton: Sendable {
    /// Prices, and the loads that go with them: each price is the marginal cost of its load.
    private struct Position {
        var price: [Double] = []
        var load: [Double] = []
        var curvature: [Double] = []
        /// Σ F(v) − p·(v − base).
        var supplyValue = 0.0

        mutating func fit(_ columns: Int) {
            DualNewton.fit(&self.price, columns)
            DualNewton.fit(&self.load, columns)
            DualNewton.fit(&self.curvature, columns)
        }
    }

    /// Source × site, each row padded to whole vectors.
    private(set) var share: [Double] = []
    /// The part of a cluster in its site's share.
    private(set) var inSite: [Double] = []
    /// By source: the part that is put off.
    private(set) var overflow: [Double] = []
    private var current = Position()
    private var trial = Position()

    private var siteCount = 0
    private var siteDemand: [Double] = []
    private var softPrice: [Double] = []
    /// θ, by source.
    private var rowPrice: [Double] = []
    private var isSplit: [Bool] = []
    private var gradient: [Double] = []
    private var diagonal: [Double] = []
    private var step: [Double] = []
    private var rows: [Double] = []
    private var siteScale: [Double] = []
    private var siteVector: [Double] = []
    private var scaledRow: [Double] = []
    private var matrix: [Double] = []
    private var unknowns: [Double] = []

    /// The prices found, by column.
    var prices: [Double] { self.current.price }
    /// The loads that go with them, with those of the bands before.
    var loads: [Double] { self.current.load }

    /// Largest sum of differences between demand and supply, as a part of the demand.
    static let tolerance = 1e-4
    static let iterationLimit = 80

    init() {}

    /// Solves one band; `warm` has prices to start from, and loads near those that they ask for, by column.
    mutating func solve(_ stage: Stage, on survey: Survey, from warm: (prices: [Double], loads: [Double])?) -> Outcome {
        self.prepare(survey)
        let total = stage.demand.reduce(0, +)
        if let warm {
            self.start(at: warm, stage, survey)
            guard total > 0 else {
                self.answerPrices(stage, survey, epsilon: stage.epsilon)
                return Outcome()
            }
            let outcome = self.climb(stage, survey, epsilon: stage.epsilon, total: total, limit: 30)
            if outcome.isConverged { return outcome }
        }
        self.startCold(stage, survey, total: total)
        guard total > 0 else {
            self.answerPrices(stage, survey, epsilon: stage.epsilon)
            return Outcome()
        }
        var outcome = Outcome()
        for epsilon in [0.064, 0.016, 0.004].filter({ $0 > stage.epsilon }) + [stage.epsilon] {
            let part = self.climb(stage, survey, epsilon: epsilon, total: total, limit: Self.iterationLimit)
            outcome = Outcome(
                iterations: outcome.iterations + part.iterations,
                residual: part.residual,
                isConverged: part.isConverged
            )
        }
        return outcome
    }

    /// Makes room; once warm it finds that there is enough.
    private mutating func prepare(_ survey: Survey) {
        let sources = survey.sourceCount
        let columns = survey.columnCount
        self.siteCount = LinearAlgebra.padded(survey.siteCount)
        Self.fit(&self.gradient, columns)
        Self.fit(&self.diagonal, columns)
        Self.fit(&self.step, columns)
        Self.fit(&self.inSite, columns)
        self.current.fit(columns)
        self.trial.fit(columns)
        Self.fit(&self.siteDemand, self.siteCount)
        Self.fit(&self.softPrice, self.siteCount)
        Self.fit(&self.siteScale, self.siteCount)
        Self.fit(&self.siteVector, self.siteCount)
        Self.fit(&self.scaledRow, self.siteCount)
        Self.fit(&self.share, sources * self.siteCount)
        Self.fit(&self.rows, 2 * sources * self.siteCount)
        Self.fit(&self.matrix, 2 * sources * 2 * sources)
        Self.fit(&self.unknowns, 2 * sources)
        Self.fit(&self.overflow, sources)
        Self.fit(&self.rowPrice, sources)
        // Sums run over whole vectors: what is beyond the last site must not count.
        for site in survey.siteCount..<self.siteCount {
            self.siteScale[site] = 0
            self.siteVector[site] = 0
            for source in 0..<sources { self.share[source * self.siteCount + site] = 0 }
        }
        if self.isSplit.count != sources { self.isSplit = [Bool](repeating: false, count: sources) }
    }

    private static func fit(_ array: inout [Double], _ count: Int) {
        if array.count != count { array = [Double](repeating: 0, count: count) }
    }
}

// MARK: - Positions

extension DualNewton {
    private mutating func start(at warm: (prices: [Double], loads: [Double]), _ stage: Stage, _ survey: Survey) {
        for c in 0..<survey.columnCount {
            self.current.load[c] = stage.wall(c).load(
                atMarginal: warm.prices[c],
                of: survey.curves[c],
                from: warm.loads[c]
            )
        }
        Self.settle(&self.current, stage, survey)
    }

    /// One price for all clusters at which they take what is asked: the optimum, if nothing were far away.
    private mutating func startCold(_ stage: Stage, _ survey: Survey, total: Double) {
        var low = 0.0
        var high = 1.0
        while high < min(1e6, stage.overflowPrice), self.supply(at: high, stage, survey) < total {
            low = high
            high *= 2
        }
        high = min(high, stage.overflowPrice)
        for _ in 0..<30 {
            let middle = (low + high) / 2
            if self.supply(at: middle, stage, survey) < total { low = middle } else { high = middle }
        }
        _ = self.supply(at: high, stage, survey)
        Self.settle(&self.current, stage, survey)
    }

    /// What the clusters take beyond their base at one price for all; leaves their loads in the current position.
    private mutating func supply(at price: Double, _ stage: Stage, _ survey: Survey) -> Double {
        var sum = 0.0
        for c in 0..<survey.columnCount {
            let load = stage.wall(c).load(
                atMarginal: price,
                of: survey.curves[c],
                from: 0.5 * survey.curves[c].capacity
            )
            self.current.load[c] = load
            if stage.isOpen(c) { sum += max(load - stage.base[c], 0) }
        }
        return sum
    }

    /// Keeps loads above their base, and makes each price that of its load.
    private static func settle(_ position: inout Position, _ stage: Stage, _ survey: Survey) {
        var value = 0.0
        for c in 0..<survey.columnCount {
            let load = max(position.load[c], stage.base[c])
            let point = stage.wall(c).on(survey.curves[c].at(load), load: load)
            position.load[c] = load
            position.price[c] = point.marginal
            position.curvature[c] = point.curvature
            value += load * point.delay - point.marginal * (load - stage.base[c])
        }
        position.supplyValue = value
    }

    /// The trial position, `length` of the step away from the current one.
    private mutating func tryStep(_ length: Double, _ stage: Stage, _ survey: Survey) {
        for site in 0..<survey.siteCount {
            for c in survey.siteStart[site]..<survey.siteStart[site + 1] {
                let price = self.current.price[c]
                let load = self.current.load[c]
                let curvature = self.current.curvature[c]
                let demand = self.siteDemand[site] * self.inSite[c]
                let supply = load - stage.base[c]
                var move = length * self.step[c]
                if move < 0, demand < 0.2 * supply {
                    let par = self.priceAtPar(c, site: site, demand: demand, supply: supply, stage, survey)
                    move = max(move, min(par - price, 0))
                }
                let curve = survey.curves[c]
                if curvature * demand <= stage.epsilon {
                    let next = load + move / curvature
                    let highest = price + move + 2 * stage.epsilon
                    let isSteep = move > 0 && stage.wall(c).on(curve.at(next), load: next).marginal > highest
                    self.trial.load[c] = isSteep ? stage.wall(c).load(atMarginal: highest, of: curve, from: next) : next
                } else {
                    self.trial.load[c] = stage.wall(c).load(
                        atMarginal: price + move,
                        of: curve,
                        from: load + move / curvature
                    )
                }
            }
        }
        Self.settle(&self.trial, stage, survey)
    }

    /// The price at which a cluster that is too dear would be asked for what it supplies at present, the others' prices
    /// being as they are: demand goes with `e^(−p/ε)`.
    private func priceAtPar(
        _ column: Int,
        site: Int,
        demand: Double,
        supply: Double,
        _ stage: Stage,
        _ survey: Survey
    ) -> Double {
        let epsilon = stage.epsilon
        if demand > 1e-100 { return self.current.price[column] - epsilon * Math.log(supply / demand) }
        var best = -Double.infinity
        for source in 0..<survey.sourceCount where stage.demand[source] > 0 {
            let way = survey.distance[source * survey.siteCount + site]
            best = max(best, self.rowPrice[source] - way + epsilon * Math.log(stage.demand[source]))
        }
        return best - epsilon * Math.log(max(supply, 1e-100))
    }
}

// MARK: - Steps

extension DualNewton {
    private mutating func climb(
        _ stage: Stage,
        _ survey: Survey,
        epsilon: Double,
        total: Double,
        limit: Int
    ) -> Outcome {
        var stage = stage
        stage.epsilon = epsilon
        var value = self.answerPrices(stage, survey, epsilon: epsilon) + self.current.supplyValue
        var iterations = 0
        while true {
            let residual = self.measure(stage, survey) / total
            if !residual.isFinite { return Outcome(iterations: iterations, residual: residual, isConverged: false) }
            if residual <= Self.tolerance { return Outcome(iterations: iterations, residual: residual) }
            guard iterations < limit else {
                return Outcome(iterations: iterations, residual: residual, isConverged: false)
            }
            iterations += 1
            let rise = self.findStep(stage, survey)
            var length = 1.0
            var next = -Double.infinity
            for _ in 0..<30 {
                self.tryStep(length, stage, survey)
                swap(&self.current, &self.trial)
                next = self.answerPrices(stage, survey, epsilon: epsilon) + self.current.supplyValue
                if next >= value + 1e-4 * length * rise - 1e-11 * abs(value) { break }
                swap(&self.current, &self.trial)
                next = -.infinity
                // The trial was made from these shares.
                self.answerPrices(stage, survey, epsilon: epsilon)
                length /= 2
            }
            guard next > -.infinity else {
                return Outcome(iterations: iterations, residual: residual, isConverged: false)
            }
            value = next
        }
    }

    /// Fills the gradient, and returns the sum of its sizes.
    private mutating func measure(_ stage: Stage, _ survey: Survey) -> Double {
        var sum = 0.0
        for site in 0..<survey.siteCount {
            let demand = self.siteDemand[site]
            for c in survey.siteStart[site]..<survey.siteStart[site + 1] {
                let excess = demand * self.inSite[c] - (self.current.load[c] - stage.base[c])
                self.gradient[c] = excess
                sum += abs(excess)
            }
        }
        return sum
    }

    /// Fills the Newton step, and returns how fast G rises along it.
    private mutating func findStep(_ stage: Stage, _ survey: Survey) -> Double {
        let sites = survey.siteCount
        for site in 0..<sites {
            let demand = self.siteDemand[site] / stage.epsilon
            var scale = 0.0
            var vector = 0.0
            for c in survey.siteStart[site]..<survey.siteStart[site + 1] {
                let part = self.inSite[c]
                let diagonal = 1 / self.current.curvature[c] + demand * part + 1e-9
                self.diagonal[c] = diagonal
                scale += part * part / diagonal
                vector += part * self.gradient[c] / diagonal
            }
            self.siteScale[site] = scale
            self.siteVector[site] = vector
        }

        let count = self.fillRows(stage, survey)
        let stride = 2 * survey.sourceCount
        let width = self.siteCount
        LinearAlgebra.identityMinusGram(
            &self.matrix,
            stride: stride,
            rows: self.rows,
            scale: self.siteScale,
            scaled: &self.scaledRow,
            count: count,
            width: width
        )
        for n in 0..<count {
            self.unknowns[n] = LinearAlgebra.rowDot(self.rows, row: n, self.siteVector, width: width)
        }
        LinearAlgebra.solve(&self.matrix, stride: stride, &self.unknowns, count: count)

        // The vector has been used up; it takes U z.
        for site in 0..<width { self.siteVector[site] = 0 }
        LinearAlgebra.addRows(&self.siteVector, rows: self.rows, factors: self.unknowns, count: count, width: width)

        var rise = 0.0
        for site in 0..<sites {
            let lift = self.siteVector[site]
            for c in survey.siteStart[site]..<survey.siteStart[site + 1] {
                let step = (self.gradient[c] + self.inSite[c] * lift) / self.diagonal[c]
                self.step[c] = step
                rise += step * self.gradient[c]
            }
        }
        return rise
    }

    /// Writes the rows u of the Hessian, one for each source or two where it is split, and returns their count.
    private mutating func fillRows(_ stage: Stage, _ survey: Survey) -> Int {
        let width = self.siteCount
        var count = 0
        func add(_ source: Int, mass: Double, where isPart: (Int) -> Bool, to rows: inout [Double], _ share: [Double]) {
            guard mass > 0 else { return }
            let factor = (stage.demand[source] / (mass * stage.epsilon)).squareRoot()
            for site in 0..<width {
                rows[count * width + site] = isPart(site) ? factor * share[source * width + site] : 0
            }
            count += 1
        }
        for source in 0..<survey.sourceCount where stage.demand[source] > 0 {
            if self.isSplit[source] {
                let local = survey.localSites[source]
                let limit = stage.remoteLimit[source]
                add(source, mass: 1 - limit, where: { local.contains($0) }, to: &self.rows, self.share)
                add(source, mass: limit, where: { !local.contains($0) }, to: &self.rows, self.share)
            } else {
                add(source, mass: 1, where: { _ in true }, to: &self.rows, self.share)
            }
        }
        return count
    }
}

// MARK: - What the sources answer

extension DualNewton {
    /// Fills the shares that the current prices ask for, and returns Σ λ_r θ_r.
    @discardableResult
    private mutating func answerPrices(_ stage: Stage, _ survey: Survey, epsilon: Double) -> Double {
        let sites = survey.siteCount
        for site in 0..<sites {
            let columns = survey.siteStart[site]..<survey.siteStart[site + 1]
            var least = Double.infinity
            for c in columns where stage.isOpen(c) { least = min(least, self.current.price[c]) }
            var sum = 0.0
            for c in columns {
                let part = stage.isOpen(c) ? Math.exp((least - self.current.price[c]) / epsilon) : 0
                self.inSite[c] = part
                sum += part
            }
            if sum > 0 { for c in columns { self.inSite[c] /= sum } }
            self.softPrice[site] = sum > 0 ? least - epsilon * Math.log(sum) : .infinity
            self.siteDemand[site] = 0
        }

        var total = 0.0
        for source in 0..<survey.sourceCount {
            let price = self.answer(source, stage, survey, epsilon: epsilon)
            self.rowPrice[source] = price
            let demand = stage.demand[source]
            guard demand > 0, price < .infinity else { continue }
            total += demand * price
            LinearAlgebra.add(
                &self.siteDemand,
                self.share,
                from: source * self.siteCount,
                times: demand,
                count: sites
            )
        }
        return total
    }

    /// Fills one source's shares, and returns its soft minimum; infinite, with no shares, where there is no way.
    private mutating func answer(_ source: Int, _ stage: Stage, _ survey: Survey, epsilon: Double) -> Double {
        let sites = survey.siteCount
        let row = source * self.siteCount
        let way = source * sites
        let least = min(
            stage.overflowPrice,
            LinearAlgebra.leastSum(survey.distance, from: way, self.softPrice, count: sites)
        )
        self.isSplit[source] = false
        guard least < .infinity else {
            for site in 0..<sites { self.share[row + site] = 0 }
            self.overflow[source] = 0
            return .infinity
        }
        var sum = LinearAlgebra.softMinimum(
            &self.share,
            from: row,
            survey.distance,
            from: way,
            self.softPrice,
            count: sites,
            least: least,
            epsilon: epsilon
        )
        let put = Math.exp((least - stage.overflowPrice) / epsilon)
        sum += put

        let limit = stage.remoteLimit[source]
        let local = survey.localSites[source]
        var localLeast = stage.overflowPrice
        if limit < 1 {
            for site in local { localLeast = min(localLeast, survey.distance[way + site] + self.softPrice[site]) }
        }
        var remote = sum
        if limit < 1, localLeast < .infinity {
            remote -= put
            for site in local { remote -= self.share[row + site] }
        }
        guard limit < 1, localLeast < .infinity, remote > limit * sum else {
            LinearAlgebra.scale(&self.share, from: row, by: 1 / sum, count: sites)
            self.overflow[source] = put / sum
            return least - epsilon * Math.log(sum)
        }

        self.isSplit[source] = true
        for site in 0..<sites where !local.contains(site) { self.share[row + site] *= limit / remote }
        var localSum = Math.exp((localLeast - stage.overflowPrice) / epsilon)
        let localPut = localSum
        for site in local {
            let part = Math.exp((localLeast - survey.distance[way + site] - self.softPrice[site]) / epsilon)
            self.share[row + site] = part
            localSum += part
        }
        for site in local { self.share[row + site] *= (1 - limit) / localSum }
        self.overflow[source] = (1 - limit) * localPut / localSum
        let mixing = (limit > 0 ? limit * Math.log(limit) : 0) + (1 - limit) * Math.log(1 - limit)
        return (1 - limit) * (localLeast - epsilon * Math.log(localSum))
            + limit * (least - epsilon * Math.log(remote)) + epsilon * mixing
    }
}
