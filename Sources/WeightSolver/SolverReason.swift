package import FleetModel

/// One thing that made a weight what it is, in words and in numbers.
package struct SolverReason: Hashable, Sendable, CustomStringConvertible {
    /// What kind of thing it is.
    package enum Kind: String, Hashable, Sendable, CaseIterable {
        case distance, capacity, price, staleness, stepLimit, deadBand, drain, down, residency, unreachable
        case kvCache, floor, remoteLimit, batchCap, overflow
    }

    package var kind: Kind
    package var description: String
    /// The numbers in the words, by name: seconds, shares, requests per second.
    package var numbers: [String: Double]

    init(_ kind: Kind, _ description: String, _ numbers: [String: Double] = [:]) {
        self.kind = kind
        self.description = description
        self.numbers = numbers
    }
}

extension SolverAnswer {
    /// Why one weight is what it is, the weightiest reason first.
    ///
    /// Nothing is computed before it is asked for. Source and cluster are named by their places in the problem.
    package func reasons(_ band: Band, source: Int, cluster: Int) -> [SolverReason] {
        if let exclusion = self.exclusion(band, source: source, cluster: cluster) { return [exclusion] }
        return [
            self.price(band, source: source, cluster: cluster),
            self.distance(source: source, cluster: cluster),
            self.capacity(cluster),
            self.staleness(cluster),
            self.step(band, source: source, cluster: cluster),
            self.floor(band, source: source, cluster: cluster),
            self.remoteLimit(band, source: source, cluster: cluster),
            self.batchCap(band, cluster: cluster),
            self.overflow(band),
        ].compactMap { $0 }
    }

    private func exclusion(_ band: Band, source: Int, cluster: Int) -> SolverReason? {
        let name = self.problem.clusters[cluster].name
        let region = self.problem.clusters[cluster].region
        let from = self.problem.sources[source].region
        let inForce = self.previous[band]?.weight(source: source, cluster: cluster) ?? 0
        let moved = inForce > 0 ? "; its \(Words.share(inForce)) went to the others at once" : ""
        let numbers = inForce > 0 ? ["inForce": inForce] : [:]
        switch self.standings[cluster].exclusion {
        case .down: return SolverReason(.down, "\(name) is down\(moved)", numbers)
        case .draining:
            return SolverReason(.drain, "\(name) is draining and takes no new sessions\(moved)", numbers)
        case .lost:
            let age = self.problem.clusters[cluster].digestAge
            return SolverReason(
                .staleness,
                "the digest of \(name) is \(Words.seconds(age)) old, more than "
                    + "\(Words.seconds(self.problem.policy.lostAfter)): it counts as down\(moved)",
                numbers.merging(["digestAge": age]) { first, _ in first }
            )
        case .noCapacity: return SolverReason(.capacity, "\(name) says that it can finish nothing\(moved)", numbers)
        case nil: break
        }
        if let allowed = self.problem.residency[from], !allowed.contains(region) {
            let names = allowed.isEmpty ? "nowhere" : allowed.sorted().map(\.text).joined(separator: ", ")
            return SolverReason(
                .residency,
                "requests from \(from) may run in \(names), not in \(region)\(moved)",
                numbers
            )
        }
        let way = Survey.way(self.problem, source: source, cluster: cluster)
        guard way.total < .infinity else {
            return SolverReason(.unreachable, "\(from) cannot reach \(region)\(moved)", numbers)
        }
        if self.standings[cluster].isLocalOnly, from != region,
            inForce > 0 || self.bareWeight(band, source, cluster) == 0
        {
            let use = self.problem.clusters[cluster].kvUse ?? 0
            return SolverReason(
                .kvCache,
                "the KV cache of \(name) is \(Words.share(use)) full, more than "
                    + "\(Words.share(self.problem.policy.kvLimit)): nothing new from other regions\(moved)",
                numbers.merging(["kvUse": use]) { first, _ in first }
            )
        }
        return nil
    }

    private func bareWeight(_ band: Band, _ source: Int, _ cluster: Int) -> Double {
        self.tables[band].weight(source: source, cluster: cluster)
    }

    private func price(_ band: Band, source: Int, cluster: Int) -> SolverReason? {
        let prices = self.bandPrices[band]
        guard prices.indices.contains(cluster), prices[cluster].isFinite else { return nil }
        let here = prices[cluster] + Survey.way(self.problem, source: source, cluster: cluster).total
        var best = (cluster: cluster, cost: here)
        for other in prices.indices where prices[other].isFinite && self.mayUse(source: source, cluster: other) {
            let cost = prices[other] + Survey.way(self.problem, source: source, cluster: other).total
            if cost < best.cost { best = (other, cost) }
        }
        let epsilon = self.problem.policy.epsilon[band]
        let name = self.problem.clusters[cluster].name
        let numbers = ["price": prices[cluster], "cost": here, "leastCost": best.cost, "epsilon": epsilon]
        let words =
            "one more request costs \(Words.seconds(prices[cluster])) in \(name), \(Words.seconds(here)) with the way"
        guard best.cluster != cluster else { return SolverReason(.price, "\(words): the least there is", numbers) }
        let difference = here - best.cost
        return SolverReason(
            .price,
            "\(words); that is \(Words.seconds(difference)) more than \(self.problem.clusters[best.cluster].name), "
                + "and at ε = \(Words.seconds(epsilon)) divides the weight by \(Words.factor(Math.exp(difference / epsilon)))",
            numbers
        )
    }

    /// Whether neither residency nor a full cache nor the network keeps a source out.
    private func mayUse(source: Int, cluster: Int) -> Bool {
        let region = self.problem.clusters[cluster].region
        let from = self.problem.sources[source].region
        if let allowed = self.problem.residency[from], !allowed.contains(region) { return false }
        return !self.standings[cluster].isLocalOnly || from == region
    }

    private func distance(source: Int, cluster: Int) -> SolverReason {
        let way = Survey.way(self.problem, source: source, cluster: cluster)
        let from = self.problem.sources[source].region
        let to = self.problem.clusters[cluster].region
        let measured = way.isMeasured ? "" : ", which nobody has measured"
        let egress = way.egress > 0 ? " and \(Words.seconds(way.egress)) for egress" : ""
        return SolverReason(
            .distance,
            "\(from) to \(to) is \(Words.seconds(way.roundTrip)) there and back\(measured)\(egress)",
            ["roundTrip": way.roundTrip, "egress": way.egress]
        )
    }

    private func capacity(_ cluster: Int) -> SolverReason? {
        guard self.loads.indices.contains(cluster) else { return nil }
        let standing = self.standings[cluster]
        let name = self.problem.clusters[cluster].name
        let known = standing.isCapacityAssumed ? ", a guess since nobody knows it" : ""
        return SolverReason(
            .capacity,
            "\(name) is to carry \(Words.rate(self.loads[cluster])) of \(Words.rate(standing.capacity))\(known), a load of "
                + Words.share(self.loads[cluster] / max(standing.capacity, 1e-9)),
            ["load": self.loads[cluster], "capacity": standing.capacity]
        )
    }

    private func staleness(_ cluster: Int) -> SolverReason? {
        let standing = self.standings[cluster]
        guard standing.isHeld else { return nil }
        let age = self.problem.clusters[cluster].digestAge
        let name = self.problem.clusters[cluster].name
        let trust = standing.trust < 1 ? ", and \(Words.share(standing.trust)) of its capacity is still believed" : ""
        return SolverReason(
            .staleness,
            "the digest of \(name) is \(Words.seconds(age)) old: its weights may not grow\(trust)",
            ["digestAge": age, "trust": standing.trust]
        )
    }

    private func step(_ band: Band, source: Int, cluster: Int) -> SolverReason? {
        guard let inForce = self.previous[band], self.outcomes[band].indices.contains(source) else { return nil }
        let before = inForce.weight(source: source, cluster: cluster)
        let target = self.targets[band].weight(source: source, cluster: cluster)
        let numbers = ["inForce": before, "target": target]
        switch self.outcomes[band][source] {
        case .free: return nil
        case .kept:
            return SolverReason(
                .deadBand,
                "its target of \(Words.share(target)) and the rest of the row are within "
                    + "\(Words.share(self.problem.policy.deadBand)) of what is in force, which stays",
                numbers
            )
        case .limited(let part):
            return SolverReason(
                .stepLimit,
                "\(Words.share(before)) was in force and \(Words.share(target)) is the target: the row goes "
                    + "\(Words.share(part)) of its way in this tick",
                numbers.merging(["part": part]) { first, _ in first }
            )
        }
    }

    private func floor(_ band: Band, source: Int, cluster: Int) -> SolverReason? {
        let floor = self.problem.policy.floor[band]
        let weight = self.bareWeight(band, source, cluster)
        guard floor > 0, weight > 0, weight <= 1.05 * floor else { return nil }
        return SolverReason(
            .floor,
            "every allowed cluster keeps up to \(Words.share(floor)), so that its capacity stays known",
            ["floor": floor]
        )
    }

    private func remoteLimit(_ band: Band, source: Int, cluster: Int) -> SolverReason? {
        let limit = self.problem.policy.maxRemoteShare[band]
        guard limit < 1 else { return nil }
        let from = self.problem.sources[source].region
        var remote = 0.0
        for entry in self.tables[band].row(source) where self.problem.clusters[entry.cluster].region != from {
            remote += entry.weight
        }
        guard remote >= limit - 1e-6 else { return nil }
        return SolverReason(
            .remoteLimit,
            "\(Words.share(remote)) of \(from) leaves the region; the limit is \(Words.share(limit))",
            ["remoteShare": remote, "limit": limit]
        )
    }

    private func batchCap(_ band: Band, cluster: Int) -> SolverReason? {
        guard band == .batch, self.loads.indices.contains(cluster) else { return nil }
        let cap = self.problem.policy.batchCap * self.standings[cluster].capacity
        guard self.loads[cluster] >= 0.999 * cap else { return nil }
        return SolverReason(
            .batchCap,
            "batch may fill \(self.problem.clusters[cluster].name) to \(Words.rate(cap)), and it is there",
            ["cap": cap, "load": self.loads[cluster]]
        )
    }

    private func overflow(_ band: Band) -> SolverReason? {
        guard self.overflow[band] > 1e-6 else { return nil }
        let what = band == .batch ? "put off" : "shed"
        return SolverReason(
            .overflow,
            "\(Words.rate(self.overflow[band])) of \(band) are to be \(what): the fleet cannot carry them",
            ["overflow": self.overflow[band]]
        )
    }
}

/// Numbers as people read them.
enum Words {
    static func seconds(_ value: Double) -> String {
        abs(value) < 1 ? "\(Self.rounded(value * 1000, 1)) ms" : "\(Self.rounded(value, 2)) s"
    }

    static func share(_ value: Double) -> String { "\(Self.rounded(value * 100, 1)) %" }

    static func rate(_ value: Double) -> String { "\(Self.rounded(value, 1)) req/s" }

    static func factor(_ value: Double) -> String { value < 1e6 ? Self.rounded(value, 1) : "more than a million" }

    /// Without the digits that say nothing.
    static func rounded(_ value: Double, _ digits: Int) -> String {
        guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
        let scale = (0..<digits).reduce(1.0) { scale, _ in scale * 10 }
        let rounded = (value * scale).rounded() / scale
        return rounded == rounded.rounded() ? "\(Int(rounded))" : "\(rounded)"
    }
}
