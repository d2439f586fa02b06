import FleetModel
import Foundation
import LoopbackPorts
import NIOCore

/// Where every process of the demo listens, and where its files lie.
struct Layout: Sendable {
    /// The addresses of one region's processes.
    struct Site: Sendable {
        var engines: [EndpointAddress]
        var agent: EndpointAddress
        var agentAdmin: EndpointAddress
        var gateway: EndpointAddress
        var gatewayAdmin: EndpointAddress
    }

    let directory: String
    let geography: Geography
    let hub: EndpointAddress
    let hubAdmin: EndpointAddress
    let sites: [RegionName: Site]
    /// How processes and clients of a region (first key) reach the gateway of a region: direct inside a region, else
    /// through a link.
    let gateways: [RegionName: [RegionName: EndpointAddress]]
    /// How a region's processes reach the hub.
    let hubs: [RegionName: EndpointAddress]

    /// Takes the ports and opens the links.
    static func prepare(_ geography: Geography, directory: String, on group: any EventLoopGroup) async throws -> Layout
    {
        let count = 2 + geography.regions.map { $0.engines.count + 4 }.reduce(0, +)
        var free = try FreePorts.take(count).map { EndpointAddress(host: "127.0.0.1", port: $0) }[...]
        let hub = free.removeFirst()
        let hubAdmin = free.removeFirst()
        var sites: [RegionName: Site] = [:]
        for region in geography.regions {
            let engines = free.prefix(region.engines.count)
            free = free.dropFirst(engines.count)
            sites[region.name] = Site(
                engines: Array(engines),
                agent: free.removeFirst(),
                agentAdmin: free.removeFirst(),
                gateway: free.removeFirst(),
                gatewayAdmin: free.removeFirst()
            )
        }
        func reach(
            _ target: EndpointAddress,
            in place: RegionName,
            from region: RegionName
        ) async throws -> EndpointAddress {
            if region == place { return target }
            let roundTrip = geography.roundTrip(region, place)
            return try await DelayedLink.open(to: target, roundTrip: roundTrip, on: group).address
        }
        var gateways: [RegionName: [RegionName: EndpointAddress]] = [:]
        var hubs: [RegionName: EndpointAddress] = [:]
        for region in geography.regions.map(\.name) {
            hubs[region] = try await reach(hub, in: Geography.hubRegion, from: region)
            for (place, site) in sites {
                gateways[region, default: [:]][place] = try await reach(site.gateway, in: place, from: region)
            }
        }
        return Layout(
            directory: directory,
            geography: geography,
            hub: hub,
            hubAdmin: hubAdmin,
            sites: sites,
            gateways: gateways,
            hubs: hubs
        )
    }

    func log(_ name: String) -> String { "\(self.directory)/logs/\(name).log" }

    func config(_ name: String) -> String { "\(self.directory)/config/\(name).yaml" }
}
