import FleetModel
import Foundation

/// The processes of a layout and the files that they read, in the order in which they are started.
struct Cast: Sendable {
    let layout: Layout
    let policy: DemoPolicy

    static let hubName = "hub"

    /// Model servers of every region, and the hub.
    var first: [Child] {
        self.layout.geography.regions.flatMap(self.engines) + [
            self.child(
                Self.hubName,
                in: Geography.hubRegion,
                ["hub", "--config", self.layout.config("hub")],
                Child.Probe(address: self.layout.hubAdmin, path: "/livez")
            )
        ]
    }

    /// Agents and gateways, which look for the hub.
    var second: [Child] {
        self.layout.geography.regions.flatMap { region -> [Child] in
            guard let site = self.layout.sites[region.name] else { return [] }
            let (agent, gateway) = (region.agent.text, region.gateway.text)
            return [
                self.child(
                    agent,
                    in: region.name,
                    ["agent", "--config", self.layout.config(agent)],
                    Child.Probe(address: site.agentAdmin, path: "/readyz")
                ),
                self.child(
                    gateway,
                    in: region.name,
                    ["gateway", "--config", self.layout.config(gateway)],
                    Child.Probe(address: site.gatewayAdmin, path: "/readyz")
                ),
            ]
        }
    }

    private func engines(of region: DemoRegion) -> [Child] {
        zip(region.engines, self.layout.sites[region.name]?.engines ?? []).enumerated().map { index, pair in
            let (engine, address) = pair
            return self.child(
                "\(region.cluster)-engine-\(index)",
                in: region.name,
                [
                    "engine", "--host", address.host, "--port", "\(address.port)", "--model", Geography.model,
                    "--profile", engine.profile, "--max-num-seqs", "\(engine.seats)",
                    "--max-model-len", "\(Geography.longestRequest)",
                ],
                Child.Probe(address: address, path: "/health", acceptsAnyAnswer: true)
            )
        }
    }

    private func child(_ name: String, in region: RegionName, _ arguments: [String], _ probe: Child.Probe) -> Child {
        Child(
            name: name,
            region: region,
            arguments: arguments + ["--log-format", "json", "--exit-with-parent"],
            log: self.layout.log(name),
            probe: probe
        )
    }

    /// Writes the configuration of every process.
    func writeFiles() throws {
        let files = FileManager.default
        for folder in ["config", "logs", "state"] {
            try files.createDirectory(
                atPath: "\(self.layout.directory)/\(folder)",
                withIntermediateDirectories: true
            )
        }
        try self.write(self.hubConfig, "hub")
        for region in self.layout.geography.regions {
            guard let site = self.layout.sites[region.name], let hub = self.layout.hubs[region.name] else { continue }
            try self.write(self.agentConfig(region, site, hub: hub), region.agent.text)
            try self.write(self.gatewayConfig(region, site, hub: hub), region.gateway.text)
        }
    }

    private func write(_ text: String, _ name: String) throws {
        try text.write(toFile: self.layout.config(name), atomically: true, encoding: .utf8)
    }

    /// A file of the state folder, quoted for YAML.
    private func file(_ name: String) -> String {
        "'"
            + "\(self.layout.directory)/state/\(name)".split(separator: "'", omittingEmptySubsequences: false)
            .joined(separator: "''") + "'"
    }

    var hubConfig: String {
        """
        listen: \(self.layout.hub)
        admin: \(self.layout.hubAdmin)
        state: \(self.file("hub.sqlite"))

        """
    }

    func agentConfig(_ region: DemoRegion, _ site: Layout.Site, hub: EndpointAddress) -> String {
        """
        cluster: \(region.cluster)
        region: \(region.name)
        agent: \(region.agent)
        listen: \(site.agent)
        admin: \(site.agentAdmin)
        hub: [\(hub)]
        pools:
          - name: default/\(Geography.model)
            engine: vllm
            endpoints: [\(site.engines.map(\.description).joined(separator: ", "))]
            maxNumSeqs: \(region.meanSeats)

        """
    }

    func gatewayConfig(_ region: DemoRegion, _ site: Layout.Site, hub: EndpointAddress) -> String {
        let peers = self.layout.geography.byDistance(from: region.name).dropFirst().map { peer in
            """
              - region: \(peer)
                address: \(self.layout.gateways[region.name]?[peer]?.description ?? "")
            """
        }
        return """
            gateway: \(region.gateway)
            region: \(region.name)
            listen: \(site.gateway)
            admin: \(site.gatewayAdmin)
            hub: [\(hub)]
            agents: [\(site.agent)]
            peers:
            \(peers.joined(separator: "\n"))
            planFile: \(self.file("\(region.gateway).plan"))
            policy: \(self.policy.rawValue)
            pools:
              - name: default/\(Geography.model)
                path: /

            """
    }
}
