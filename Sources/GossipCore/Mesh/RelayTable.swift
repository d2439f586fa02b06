import FleetModel

/// Agents that reach a hub themselves, by region: from them each agent is named a few relays.
struct RelayTable: Sendable {
    /// How often an agent is told, and how old the table may be, in seconds.
    static let offerEvery: Seconds = 30
    private static let rebuiltEvery: Seconds = 5

    /// Relays named in the own region, and elsewhere.
    static let near = 3
    static let far = 5

    fileprivate var regions: [(name: RegionName, slots: [Int])] = []
    fileprivate var builtAt: Seconds = -.infinity

    fileprivate func isOld(now: Seconds) -> Bool { now - self.builtAt >= Self.rebuiltEvery }
}

extension HubMesh {
    /// The relays named to an agent: some of its own region, the rest each of another region, spread by its number so
    /// that no relay serves all.
    mutating func relays(for slot: Int) -> [RelayOffer] {
        if self.relayTable.isOld(now: self.now) { self.rebuildRelayTable() }
        let own = self.registers[slot].region
        let number = UInt64(self.registers[slot].agent.number)
        var hash = (number &+ 1) &* 0x9E37_79B9_7F4A_7C15
        hash = (hash ^ (hash >> 29)) &* 0xBF58_476D_1CE4_E5B9
        let turn = Int((hash ^ (hash >> 32)) & 0xffff_ffff)
        var chosen: [Int] = []
        let table = self.relayTable.regions
        if let own, let near = table.first(where: { $0.name == own })?.slots {
            for step in 0..<min(RelayTable.near + 1, near.count) where chosen.count < RelayTable.near {
                let candidate = near[(turn + step) % near.count]
                if candidate != slot { chosen.append(candidate) }
            }
        }
        let others = table.filter { $0.name != own }
        for step in 0..<min(RelayTable.far, others.count) {
            let slots = others[(turn + step * max(1, others.count / RelayTable.far)) % others.count].slots
            let candidate = slots[(turn / 7 + step) % slots.count]
            if !chosen.contains(candidate) { chosen.append(candidate) }
        }
        return chosen.compactMap { candidate in
            let register = self.registers[candidate]
            guard let region = register.region, let frame = register.frame else { return nil }
            return RelayOffer(
                agent: register.agent,
                region: region,
                reach: frame.header.reach,
                address: register.address
            )
        }
    }

    private mutating func rebuildRelayTable() {
        var regions: [RegionName: [Int]] = [:]
        for slot in self.registers.indices {
            let register = self.registers[slot]
            guard let region = register.region, register.liveness == .fresh,
                register.frame?.header.reach.isEmpty == false, !register.address.isEmpty
            else { continue }
            regions[region, default: []].append(slot)
        }
        self.relayTable.regions = regions.sorted { $0.key < $1.key }.map { name, slots in
            (name, slots.sorted { self.registers[$0].agent < self.registers[$1].agent })
        }
        self.relayTable.builtAt = self.now
    }
}
