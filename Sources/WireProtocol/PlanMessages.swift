package import FleetModel

extension Isobar_V1_PlanVersion {
    package init(_ version: PlanVersion) {
        self.init()
        self.epoch = version.epoch
        self.generation = version.generation
    }

    package var model: PlanVersion { PlanVersion(epoch: self.epoch, generation: self.generation) }
}

extension Isobar_V1_Band {
    package init(_ band: Band) {
        switch band {
        case .premium: self = .premium
        case .standard: self = .standard
        case .batch: self = .batch
        }
    }

    package func model(field: String) throws(WireError) -> Band {
        switch self {
        case .premium: return .premium
        case .standard: return .standard
        case .batch: return .batch
        case .unspecified, .UNRECOGNIZED: throw WireError(field: field, reason: "\(self.rawValue) is no band")
        }
    }
}

extension Isobar_V1_Plan {
    package init(_ plan: Plan) {
        self.init()
        self.version = Isobar_V1_PlanVersion(plan.version)
        if let parent = plan.parent { self.parent = Isobar_V1_PlanVersion(parent) }
        self.timeToLive = plan.timeToLive
        self.pools = plan.pools.map { Isobar_V1_PoolPlan($0) }
    }

    /// Checks and reads the plan.
    ///
    /// - Throws: ``WireError`` naming the first field that does not hold what it should.
    package func model() throws(WireError) -> Plan {
        var pools: [PoolPlan] = []
        for pool in self.pools { pools.append(try pool.model()) }
        return Plan(
            version: self.version.model,
            parent: self.hasParent ? self.parent.model : nil,
            timeToLive: try WireError.quantity("time_to_live", self.timeToLive),
            pools: pools
        )
    }
}

extension Isobar_V1_PoolPlan {
    init(_ plan: PoolPlan) {
        self.init()
        let clusters = plan.clusters.sorted { $0.name < $1.name }
        // Most rows use few of many clusters: places and weights of those alone. Both are by name, so that one walk over
        // the clusters finds all.
        func message(_ row: PlanRow) -> Isobar_V1_PlanRow {
            var message = Isobar_V1_PlanRow()
            message.source = row.source.text
            message.band = Isobar_V1_Band(row.band)
            message.weights.reserveCapacity(row.weights.count)
            message.places.reserveCapacity(row.weights.count)
            var place = 0
            for share in row.weights where share.weight != 0 {
                while place < clusters.count, clusters[place].name < share.cluster { place += 1 }
                guard place < clusters.count, clusters[place].name == share.cluster else { continue }
                message.weights.append(share.weight)
                message.places.append(UInt32(place))
            }
            if message.places.count == clusters.count { message.places = [] }
            return message
        }
        self.pool = plan.pool.description
        self.clusters = clusters.map { Isobar_V1_PlanCluster($0) }
        self.rows = plan.rows.map(message)
        self.failover = plan.failover.map { failover in
            var rows = Isobar_V1_FailoverRows()
            rows.lost = failover.lost.text
            rows.rows = failover.rows.map(message)
            return rows
        }
        self.cost = plan.cost
        self.gap = plan.gap
        // Sorted, so that equal plans have equal bytes.
        self.objectives = plan.objectives.sorted { $0.key < $1.key }.map { name, band in
            var message = Isobar_V1_PlanObjective()
            message.name = name
            message.band = Isobar_V1_Band(band)
            return message
        }
    }

    func model() throws(WireError) -> PoolPlan {
        var clusters: [PlanCluster] = []
        for cluster in self.clusters { clusters.append(try cluster.model()) }
        let order = clusters.map(\.name)
        func row(_ message: Isobar_V1_PlanRow, field: String) throws(WireError) -> PlanRow {
            let count = message.places.isEmpty && !message.weights.isEmpty ? order.count : message.places.count
            guard message.weights.count == count else {
                throw WireError(
                    field: "\(field).weights",
                    reason: "\(message.weights.count) weights for \(count) clusters"
                )
            }
            var weights = ClusterShares(minimumCapacity: message.weights.count)
            for (index, weight) in message.weights.enumerated() where weight != 0 {
                let place = message.places.at(index).map(Int.init) ?? index
                guard let cluster = order.at(place) else {
                    throw WireError(field: "\(field).places", reason: "\(place) of \(order.count) clusters")
                }
                weights[cluster] = try WireError.quantity("\(field).weights", weight)
            }
            return PlanRow(
                source: try WireError.checking("\(field).source") { () throws(InvalidName) in
                    try RegionName(message.source)
                },
                band: try message.band.model(field: "\(field).band"),
                weights: weights
            )
        }
        var rows: [PlanRow] = []
        for message in self.rows { rows.append(try row(message, field: "rows")) }
        var failover: [FailoverRows] = []
        for message in self.failover {
            var lostRows: [PlanRow] = []
            for lost in message.rows { lostRows.append(try row(lost, field: "failover.rows")) }
            failover.append(
                FailoverRows(
                    lost: try WireError.checking("failover.lost") { () throws(InvalidName) in
                        try ClusterName(message.lost)
                    },
                    rows: lostRows
                )
            )
        }
        var objectives: [String: Band] = [:]
        for message in self.objectives {
            objectives[message.name] = try message.band.model(field: "objectives.band")
        }
        return PoolPlan(
            pool: try WireError.checking("pools.pool") { () throws(InvalidName) in try PoolName(self.pool) },
            clusters: clusters,
            rows: rows,
            failover: failover,
            cost: try WireError.quantity("pools.cost", self.cost),
            gap: try WireError.quantity("pools.gap", self.gap),
            objectives: objectives
        )
    }
}

extension Isobar_V1_PlanCluster {
    init(_ cluster: PlanCluster) {
        self.init()
        self.name = cluster.name.text
        self.region = cluster.region.text
        self.state = Isobar_V1_ClusterState(cluster.state)
        if let capacity = cluster.capacity { self.capacity = capacity }
        self.unloadedTtft = cluster.unloadedTTFT
        self.waiting = UInt32(clamping: cluster.waiting)
        self.freeSeats = UInt32(clamping: cluster.freeSeats)
        self.frame = Isobar_V1_FrameID(cluster.frame)
        self.price = cluster.price
    }

    func model() throws(WireError) -> PlanCluster {
        guard self.price.isFinite else { throw WireError(field: "clusters.price", reason: "\(self.price)") }
        return PlanCluster(
            name: try WireError.checking("clusters.name") { () throws(InvalidName) in try ClusterName(self.name) },
            region: try WireError.checking("clusters.region") { () throws(InvalidName) in
                try RegionName(self.region)
            },
            state: try self.state.model(field: "clusters.state"),
            capacity: self.hasCapacity ? try WireError.quantity("clusters.capacity", self.capacity) : nil,
            unloadedTTFT: try WireError.quantity("clusters.unloaded_ttft", self.unloadedTtft),
            waiting: Int(self.waiting),
            freeSeats: Int(self.freeSeats),
            frame: try self.frame.model(),
            price: self.price
        )
    }
}

extension Isobar_V1_DemandReport {
    package init(_ report: DemandReport) {
        self.init()
        self.gateway = report.gateway.text
        self.region = report.region.text
        self.demand = report.demand.map { demand in
            var message = Isobar_V1_BandDemand()
            message.pool = demand.pool.description
            message.band = Isobar_V1_Band(demand.band)
            message.rate = demand.rate
            return message
        }
        self.roundTrips = report.roundTrips.sorted { $0.key < $1.key }.map { region, seconds in
            var message = Isobar_V1_RoundTrip()
            message.region = region.text
            message.seconds = seconds
            return message
        }
        self.unreachable = report.unreachable.sorted().map(\.text)
    }

    /// Checks and reads the report.
    ///
    /// - Throws: ``WireError`` naming the first field that does not hold what it should.
    package func model() throws(WireError) -> DemandReport {
        func region(_ field: String, _ text: String) throws(WireError) -> RegionName {
            try WireError.checking(field) { () throws(InvalidName) in try RegionName(text) }
        }
        guard self.demand.count <= 4_096, self.roundTrips.count <= 1_024, self.unreachable.count <= 1_024 else {
            throw WireError(field: "demand", reason: "more than 4096 pools and bands or 1024 regions in one report")
        }
        var demand: [BandDemand] = []
        for message in self.demand {
            demand.append(
                BandDemand(
                    pool: try WireError.checking("demand.pool") { () throws(InvalidName) in
                        try PoolName(message.pool)
                    },
                    band: try message.band.model(field: "demand.band"),
                    rate: try WireError.quantity("demand.rate", message.rate)
                )
            )
        }
        var roundTrips: [RegionName: Seconds] = [:]
        for message in self.roundTrips {
            roundTrips[try region("round_trips.region", message.region)] = try WireError.quantity(
                "round_trips.seconds",
                message.seconds
            )
        }
        var unreachable: Set<RegionName> = []
        for text in self.unreachable { unreachable.insert(try region("unreachable", text)) }
        return DemandReport(
            gateway: try WireError.checking("gateway") { () throws(InvalidName) in try GatewayName(self.gateway) },
            region: try region("region", self.region),
            demand: demand,
            roundTrips: roundTrips,
            unreachable: unreachable
        )
    }
}
