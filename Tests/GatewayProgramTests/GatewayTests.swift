import ConfigurationFiles
import FleetModel
import Foundation
import Logging
import Observability
import PlanStream
import RequestRouting
import ReverseProxy
import TestKit
import Testing
import WireProtocol

@testable import GatewayProgram

private let file = """
    gateway: us-east-gw
    region: us-east
    listen: 127.0.0.1:0
    hub: [127.0.0.1:7400]
    agents: [127.0.0.1:7501]
    peers:
      - region: europe-west
        address: 127.0.0.1:8180
    pools:
      - name: default/qwen
        path: /qwen/
      - name: default/llama
    """

private func configuration(_ text: String = file) throws -> GatewayConfiguration {
    let folder = try TemporaryFolder()
    try Data(text.utf8).write(to: URL(fileURLWithPath: folder.file("gateway.yaml")))
    do throws(ConfigurationError) {
        return try GatewayConfiguration(file: folder.file("gateway.yaml"))
    } catch {
        throw ConfigurationError(place: "gateway.yaml", field: error.field, reason: error.reason)
    }
}

@Suite("The gateway's file")
struct GatewayConfigurationTests {
    @Test("says where it stands, whom it knows and which pool a path belongs to")
    func reads() throws {
        let read = try configuration()
        #expect(read.pools.map(\.path) == ["/qwen", "/"])
        #expect(read.peers.values.flatMap { $0 }.map(\.port) == [8_180] && read.policy == .ours)
    }

    @Test(
        "a request belongs to the pool whose path it is under, and the model server sees the rest",
        arguments: [
            ("/qwen/v1/models", "default/qwen", "/v1/models"), ("/qwen", "default/qwen", "/"),
            ("/qwen?a=1", "default/qwen", "/?a=1"), ("/qwen2/v1", "default/llama", "/qwen2/v1"),
            ("/v1/chat/completions", "default/llama", "/v1/chat/completions"),
        ]
    )
    func paths(uri: String, pool: String, rest: String) throws {
        let found = try #require(try configuration().pools.first { $0.contains(uri) })
        #expect(found.name.description == pool && found.inside(uri) == rest)
    }

    @Test(
        "is refused with the field and the fix",
        arguments: [
            ("region: europe-west", "region: us-east", "peers[0].region: is this gateway's own"),
            ("path: /qwen/", "path: qwen", "pools[0].path: \"qwen\" must begin with /"),
            ("path: /qwen/", "path: /", "pools: path / belongs to 2 pools; give each its own"),
            ("agents:", "policy: best\nagents:", "policy: \"best\" is not valid: use ours, nearest, round-robin"),
        ]
    )
    func refuses(from: String, to: String, message: String) {
        let error = #expect(throws: ConfigurationError.self) { try configuration(file.replacing(from, with: to)) }
        #expect(error?.description.hasPrefix("gateway.yaml: \(message)") == true, "\(String(describing: error))")
    }
}

@Suite("The gateway and its plans")
struct GatewayTests {
    private func gateway(plan: Plan? = nil) throws -> Gateway {
        Gateway(
            configuration: try configuration(),
            plan: try plan.map { ($0, try EncodedPlan($0)) },
            clock: MonotonicClock(),
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        )
    }

    @Test("a newer plan is taken and kept, the same one confirmed, an older one refused")
    func fence() throws {
        let gateway = try self.gateway()
        let (old, new) = (try Fixtures.plan(epoch: 2, generation: 8), try Fixtures.plan(epoch: 3, generation: 9))
        #expect(gateway.receive(new, encoded: try EncodedPlan(new)) == nil)
        #expect(gateway.receive(new, encoded: try EncodedPlan(new)) == nil)
        #expect(gateway.receive(old, encoded: try EncodedPlan(old)) == "older than 3.9, which this gateway holds")
        #expect(gateway.held?.version == new.version && gateway.accepted.current?.version == new.version)
        #expect(gateway.metrics(ProxyCounters()).contains("isobar_gateway_plans_refused_total 1.0"))
    }

    @Test("the plan held, as a changed configuration needs it, is taken although its version is not newer")
    func sameVersion() throws {
        var narrow = try Fixtures.plan()
        narrow.pools = []
        let (gateway, whole) = (try self.gateway(plan: narrow), try Fixtures.plan())
        #expect(gateway.receive(whole, encoded: try EncodedPlan(whole)) == nil)
        #expect(gateway.held?.hash == (try EncodedPlan(whole).hash))
        #expect(gateway.accepted.current?.hash == gateway.held?.hash)
    }

    @Test("with a plan from its disk it is ready without hub and agent, and refuses what is older than that")
    func fromDisk() throws {
        let gateway = try self.gateway(plan: try Fixtures.plan(epoch: 4, generation: 2))
        let older = try Fixtures.plan(epoch: 4, generation: 1)
        #expect(gateway.receive(older, encoded: try EncodedPlan(older)) != nil)
        #expect(gateway.status().plan?.age_seconds == nil)
        #expect(gateway.readiness().allSatisfy { $0.problem == nil })
    }

    @Test("alone, with nothing to send to, it says that it is not ready and why")
    func alone() throws {
        let checks = try self.gateway().readiness()
        #expect(checks.map(\.name) == ["endpoints", "agents"])
        #expect(checks[0].problem?.contains("are an agent and the hub running?") == true)
        #expect(checks[1].problem == "none has been heard yet")
    }

    @Test("with its first plan, and none from its disk, it waits a moment for its agent")
    func planAlone() throws {
        let gateway = try self.gateway()
        let plan = try Fixtures.plan(epoch: 1, generation: 1)
        _ = gateway.receive(plan, encoded: try EncodedPlan(plan))
        #expect(gateway.readiness().contains { $0.problem != nil })
    }

    @Test("what it reports is what its peers' probes found")
    func reports() throws {
        let gateway = try self.gateway()
        let (west, peer) = (try RegionName("europe-west"), try EndpointAddress("127.0.0.1:8180"))
        gateway.probed(west, peer, roundTrip: 0.083)
        #expect(gateway.report().roundTrips == [west: 0.083] && gateway.report().unreachable.isEmpty)
        gateway.probed(west, peer, roundTrip: nil)
        #expect(gateway.report().unreachable == [west])
    }
}
