import FleetModel
import NIOPosix
import Testing

@testable import DemoProgram

@Suite struct CastTests {
    private let west = RegionName(unchecked: "europe-west")

    private func cast() async throws -> Cast {
        let group = MultiThreadedEventLoopGroup.singleton
        let layout = try await Layout.prepare(.standard, directory: "/tmp/op's demo", on: group)
        return Cast(layout: layout, policy: .roundRobin)
    }

    @Test func theCastIsAHubAndInEachRegionTwoEnginesAnAgentAndAGateway() async throws {
        let cast = try await cast()
        let names = (cast.first + cast.second).map(\.name)
        #expect(names.count == 13 && Set(names).count == 13)
        #expect(names.prefix(2) == ["us-east-a-engine-0", "us-east-a-engine-1"])
        #expect(cast.second.filter { $0.region == west }.map(\.name) == ["europe-west-a-0", "europe-west-gw"])
        #expect((cast.first + cast.second).allSatisfy { $0.arguments.contains("--exit-with-parent") })
    }

    @Test func everyAddressOfAnotherRegionIsALink() async throws {
        let layout = try await cast().layout
        let site = try #require(layout.sites[west])
        #expect(layout.gateways[west]?[west] == site.gateway)
        #expect(layout.hubs[Geography.hubRegion] == layout.hub)
        #expect(layout.hubs[west] != layout.hub)
        let reached = layout.gateways.values.flatMap(\.values)
        #expect(Set(reached).count == 9)
    }

    @Test func theFilesSayWhoIsWhere() async throws {
        let cast = try await cast()
        let layout = cast.layout
        let region = try #require(Geography.standard[west])
        let site = try #require(layout.sites[west])
        let hub = try #require(layout.hubs[west])
        #expect(
            cast.hubConfig == """
                listen: \(layout.hub)
                admin: \(layout.hubAdmin)
                state: '/tmp/op''s demo/state/hub.sqlite'

                """
        )
        #expect(
            cast.agentConfig(region, site, hub: hub) == """
                cluster: europe-west-a
                region: europe-west
                agent: europe-west-a-0
                listen: \(site.agent)
                admin: \(site.agentAdmin)
                hub: [\(hub)]
                pools:
                  - name: default/llama
                    engine: vllm
                    endpoints: [\(site.engines[0]), \(site.engines[1])]
                    maxNumSeqs: 12

                """
        )
        let peers = try #require(layout.gateways[west])
        #expect(
            cast.gatewayConfig(region, site, hub: hub) == """
                gateway: europe-west-gw
                region: europe-west
                listen: \(site.gateway)
                admin: \(site.gatewayAdmin)
                hub: [\(hub)]
                agents: [\(site.agent)]
                peers:
                  - region: us-east
                    address: \(try #require(peers[RegionName(unchecked: "us-east")]))
                  - region: asia-east
                    address: \(try #require(peers[RegionName(unchecked: "asia-east")]))
                planFile: '/tmp/op''s demo/state/europe-west-gw.plan'
                policy: round-robin
                pools:
                  - name: default/llama
                    path: /

                """
        )
    }
}
