import ArgumentParser
import FleetSimulator
import Foundation
import Testing

@testable import OperatorCLI

@Suite struct SimulateGossipTests {
    @Test func `the report names what was measured, as JSON and as a table`() throws {
        let command = try SimulateGossipCommand.parse([
            "--agents", "20", "--regions", "6", "--hubs", "3", "--loss", "0.05", "--rtt-max", "300", "--cut-direct",
            "0.67", "--duration", "15", "--kills", "1", "--seed", "4", "-o", "json",
        ])
        #expect(command.world.linksCut == 2)
        var simulation = GossipSimulation(command.world)
        simulation.advance(to: simulation.end)
        let report = GossipReport(world: command.world, outcome: simulation.outcome)
        let json = try JSONDecoder().decode(JSONValue.self, from: Data(try report.json().utf8))
        let fields = try JSONReader(json).members()
        let latency = try #require(fields["hub_latency_seconds"]).members()
        #expect(try #require(latency["p99"]).number() > 0.05)
        for field in [
            "bytes_per_agent_per_second", "messages_per_agent_per_second", "false_suspicions", "old_digests_won",
        ] {
            #expect(try #require(fields[field]).number() >= 0, "\(field)")
        }
        #expect(fields["detection_seconds"] != nil)
        #expect(report.table.contains("change to every hub"))
    }

    @Test(arguments: [
        (["--hubs", "17"], "--hubs: use 1 to 16"),
        (["--loss", "0.9"], "--loss: use 0.0 to 0.5"),
        (["--hubs", "5", "--regions", "3"], "--hubs: use at most one a region"),
        (["--transport", "pigeons"], "--transport: use streams, packets or datagrams"),
    ])
    func `an option out of bounds is refused with what would be right`(arguments: [String], message: String) {
        let error = #expect(throws: (any Error).self) { try SimulateGossipCommand.parse(arguments) }
        #expect(error.map { SimulateGossipCommand.message(for: $0) }?.contains(message) == true)
    }
}
