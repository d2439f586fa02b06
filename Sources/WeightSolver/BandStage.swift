import FleetModel

/// What the fleet cannot carry, by band, before any band is solved.
///
/// With ρ the demand of premium and standard over the usable capacity: standard is shed by
/// `p = min(1, k·s⁵)`, `s = (ρ − start)/(1 − start)` held within 0 and 1, and by as much as brings ρ down to full load
/// if that is more; premium only when it is more than full load alone. Batch needs no rule here: it has its cap, and
/// its overflow is part of the optimum. Premium's rows are solved for all of its demand in any case, since a delay is
/// defined at every load.
struct Overload {
    /// The part of the band's demand that is not to be solved for.
    var shed = ByBand(all: 0.0)
    /// Requests per second.
    var overflow = ByBand(all: 0.0)

    init(_ survey: Survey, _ policy: SolverPolicy) {
        let capacity = survey.curves.reduce(0) { $0 + $1.capacity }
        guard capacity > 0 else { return }
        let premium = survey.demand.premium.reduce(0, +)
        let standard = survey.demand.standard.reduce(0, +)
        self.overflow.premium = max(premium - policy.fullLoad * capacity, 0)
        guard standard > 0 else { return }
        let use = (premium + standard) / capacity
        let s = min(max((use - policy.shedStart) / max(1 - policy.shedStart, 1e-9), 0), 1)
        let smooth = policy.shedGain * s * s * s * s * s
        let needed = (premium + standard - policy.fullLoad * capacity) / standard
        self.shed.standard = min(max(smooth, needed, 0), 1)
        self.overflow.standard = self.shed.standard * standard
    }
}

/// One band made ready: its demand, its base load, its floors, and what remains for the Newton solve.
struct BandStage {
    /// The least weights of one source.
    struct Floors {
        var local = 0.0
        var remote = 0.0
        /// Sites farther away than this have none.
        var reach = -Double.infinity
        /// All floors of the row together.
        var total = 0.0
        /// Those that leave the region.
        var remoteTotal = 0.0
    }

    /// By source, after shedding.
    let demand: [Double]
    /// The load of the bands before, by column.
    let base: [Double]
    /// Whether this band may use the cluster at all, by column.
    let isOpen: [Bool]
    let floors: [Floors]
    let newton: DualNewton.Stage
    /// Source × column reachability, by site.
    private let distance: [Double]
    private let siteOfColumn: [Int]
    private let siteCount: Int

    init(_ band: Band, _ survey: Survey, _ policy: SolverPolicy, admitted: Double, base: [Double]) {
        let demand = survey.demand[band].map { $0 * admitted }
        let sites = survey.siteCount
        var siteOfColumn = [Int](repeating: 0, count: survey.columnCount)
        var cap = [Double](repeating: .infinity, count: survey.columnCount)
        for site in 0..<sites {
            for c in survey.siteStart[site]..<survey.siteStart[site + 1] { siteOfColumn[c] = site }
        }
        if band == .batch { for c in cap.indices { cap[c] = policy.batchCap * survey.curves[c].capacity } }
        let isOpen = cap.indices.map { cap[$0] > base[$0] }
        var openInSite = [Int](repeating: 0, count: sites)
        for c in isOpen.indices where isOpen[c] { openInSite[siteOfColumn[c]] += 1 }

        let limit = min(max(policy.maxRemoteShare[band], 0), 1)
        var floors: [Floors] = []
        floors.reserveCapacity(survey.sourceCount)
        var limits: [Double] = []
        limits.reserveCapacity(survey.sourceCount)
        var rest = demand
        var floored = base
        for source in 0..<survey.sourceCount {
            let row = Self.floors(
                source,
                survey,
                openInSite: openInSite,
                floor: min(max(policy.floor[band], 0), 1),
                budget: min(max(policy.floorBudget, 0), 1),
                remoteLimit: limit
            )
            floors.append(row)
            limits.append(limit < 1 ? max((limit - row.remoteTotal) / max(1 - row.total, 1e-9), 0) : 1)
            rest[source] *= 1 - row.total
            guard row.total > 0, demand[source] > 0 else { continue }
            for site in 0..<sites where survey.distance[source * sites + site] <= row.reach {
                let load = demand[source] * (survey.localSites[source].contains(site) ? row.local : row.remote)
                for c in survey.siteStart[site]..<survey.siteStart[site + 1] where isOpen[c] { floored[c] += load }
            }
        }
        self.demand = demand
        self.base = base
        self.isOpen = isOpen
        self.floors = floors
        self.newton = DualNewton.Stage(
            epsilon: max(policy.epsilon[band], 1e-4),
            demand: rest,
            base: floored,
            cap: cap,
            overflowPrice: band == .batch ? policy.overflowPrice : .infinity,
            remoteLimit: limits
        )
        self.distance = survey.distance
        self.siteOfColumn = siteOfColumn
        self.siteCount = sites
    }

    /// Floors go to the nearest clusters, as many as the budget has whole floors for; where the very nearest are more,
    /// to those alone and smaller.
    private static func floors(
        _ source: Int,
        _ survey: Survey,
        openInSite: [Int],
        floor: Double,
        budget: Double,
        remoteLimit: Double
    ) -> Floors {
        var floors = Floors()
        guard floor > 0, budget > 0 else { return floors }
        let row = source * survey.siteCount
        let local = survey.localSites[source]
        var count = (local: 0, remote: 0)
        var place = row
        while place < row + survey.siteCount {
            let next = survey.distance[row + survey.nearest[place]]
            guard next < .infinity else { break }
            // Sites that are equally far stand or fall together.
            var wider = count
            while place < row + survey.siteCount, survey.distance[row + survey.nearest[place]] == next {
                let site = survey.nearest[place]
                if local.contains(site) { wider.local += openInSite[site] } else { wider.remote += openInSite[site] }
                place += 1
            }
            guard wider != count else { continue }
            let isWithin = Double(wider.local + wider.remote) * floor <= budget * (1 + 1e-9)
            guard isWithin || count == (0, 0) else { break }
            count = wider
            floors.reach = next
            if !isWithin { break }
        }
        guard count != (0, 0) else { return floors }
        floors.local = min(floor, budget / Double(count.local + count.remote))
        floors.remote =
            count.local > 0 && count.remote > 0 ? min(floors.local, remoteLimit / Double(count.remote)) : floors.local
        floors.remoteTotal = floors.remote * Double(count.remote)
        floors.total = floors.local * Double(count.local) + floors.remoteTotal
        return floors
    }

    /// The least weight of an open cluster of a site.
    func floor(_ source: Int, site: Int, isLocal: Bool) -> Double {
        let floors = self.floors[source]
        guard self.distance[source * self.siteCount + site] <= floors.reach else { return 0 }
        return isLocal ? floors.local : floors.remote
    }

    /// Whether a source's requests may go to a cluster.
    func reaches(_ source: Int, column: Int) -> Bool { self.way(source, column: column) < .infinity }

    /// Seconds from a source to a cluster.
    func way(_ source: Int, column: Int) -> Double {
        self.distance[source * self.siteCount + self.siteOfColumn[column]]
    }
}
