import FleetModel

/// How good the weights are: their cost, and how much better any others could be at most.
///
/// For a convex objective f and weights x, `f(x) − f(z) ≤ ∇f(x)·(x − z)` for every feasible z, so that the largest
/// right-hand side, the Frank–Wolfe gap, bounds the excess of x over the optimum. The largest is found source by
/// source: all of its requests go where `t_rc + p_c` is least, `p_c = F′_c(v_c)`, but for floors and remote limits.
///
/// Any other prices p prove as much by weak duality, when what F bends away from its tangent is added:
///
///     gap(p) = Σ_r λ_r·(mean over the row − least) of (t + p)  +  Σ_c [F(v) − F(u) − p·(v − u)],   F′(u) = p
///
/// The second sum is zero at `p = F′(v)`. Where F is stiff a load that is wrong by little has a marginal cost that is
/// wrong by much, and the solver's own prices prove more; they also carry the multipliers of the caps. The certificate
/// is the smaller of the two.
struct Certificate {
    /// Seconds per second, over all bands.
    private(set) var gap = 0.0
    /// Σ x·t, in seconds per second.
    private(set) var distanceCost = 0.0
    /// Requests per second that the weights stand for.
    private(set) var admitted = 0.0

    /// Adds one band, with the requests per second that its rows stand for by source, and the load by column of the
    /// bands so far.
    mutating func add(
        _ stage: BandStage,
        _ survey: Survey,
        _ table: WeightTable,
        admitted: [Double],
        load: [Double],
        newton: DualNewton
    ) {
        for source in 0..<survey.sourceCount where admitted[source] > 0 {
            for entry in table.row(source) {
                guard let column = survey.standings[entry.cluster].column else { continue }
                self.distanceCost += admitted[source] * entry.weight * stage.way(source, column: column)
            }
            self.admitted += admitted[source]
        }

        var marginal = [Double](repeating: 0, count: load.count)
        var bend = 0.0
        for c in load.indices {
            let here = survey.curves[c].at(load[c])
            marginal[c] = here.marginal
            guard stage.isOpen[c] else { continue }
            let price = newton.prices[c]
            // Where a cap binds, the load that answers the price is the cap.
            let cap = stage.newton.cap[c]
            let answer =
                newton.loads[c] > 0.999 * cap
                ? min(survey.curves[c].load(atMarginal: price, from: cap), cap) : newton.loads[c]
            let there = survey.curves[c].at(answer)
            bend += load[c] * here.delay - answer * there.delay - price * (load[c] - answer)
        }
        let atPrices = bend + Self.spread(stage, survey, table, admitted: admitted, prices: newton.prices)
        let atMarginals = Self.spread(stage, survey, table, admitted: admitted, prices: marginal)
        // Marginal costs alone prove nothing of a cap that binds.
        let isCapped = load.indices.contains { stage.newton.cap[$0] < .infinity && newton.prices[$0] > marginal[$0] }
        self.gap += max(isCapped ? atPrices : min(atPrices, atMarginals), 0)
    }

    /// Σ_r λ_r·(mean over the row − least) of (t + p).
    private static func spread(
        _ stage: BandStage,
        _ survey: Survey,
        _ table: WeightTable,
        admitted: [Double],
        prices: [Double]
    ) -> Double {
        let sites = survey.siteCount
        var cheapest = [Double](repeating: .infinity, count: sites)
        var priceSum = [Double](repeating: 0, count: sites)
        var openCount = [Double](repeating: 0, count: sites)
        for site in 0..<sites {
            for c in survey.siteStart[site]..<survey.siteStart[site + 1] where stage.isOpen[c] {
                cheapest[site] = min(cheapest[site], prices[c])
                priceSum[site] += prices[c]
                openCount[site] += 1
            }
        }

        var sum = 0.0
        for source in 0..<survey.sourceCount where admitted[source] > 0 {
            var mean = 0.0
            for entry in table.row(source) {
                guard let column = survey.standings[entry.cluster].column else { continue }
                mean += entry.weight * (stage.way(source, column: column) + prices[column])
            }
            let floors = stage.floors[source]
            var local = stage.newton.overflowPrice
            var remote = Double.infinity
            var least = 0.0
            for site in 0..<sites {
                let way = survey.distance[source * sites + site]
                guard way < .infinity else { continue }
                let isLocal = survey.localSites[source].contains(site)
                least += stage.floor(source, site: site, isLocal: isLocal) * (priceSum[site] + openCount[site] * way)
                if isLocal {
                    local = min(local, way + cheapest[site])
                } else {
                    remote = min(remote, way + cheapest[site])
                }
            }
            let limit = stage.newton.remoteLimit[source]
            let isBinding = limit < 1 && local < .infinity && remote < local
            least += (1 - floors.total) * (isBinding ? limit * remote + (1 - limit) * local : min(local, remote))
            sum += admitted[source] * mean - stage.demand[source] * least
            let putOff = stage.demand[source] - admitted[source]
            if putOff > 0 { sum += putOff * stage.newton.overflowPrice }
        }
        return sum
    }
}
