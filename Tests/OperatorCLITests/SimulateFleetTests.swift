import ArgumentParser
import ConfigurationFiles
import FleetModel
import FleetSimulator
import Foundation
import Testing

@testable import OperatorCLI

@Suite struct SimulateFleetTests {
    static let folder = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("testenv").path

    @Test(arguments: [("two", 2), ("three", 3), ("eight", 8), ("forty", 40)])
    func `every world has its regions, and ways between them`(name: String, count: Int) throws {
        let world = try WorldFile(file: "\(Self.folder)/worlds/\(name).yaml").world
        #expect(world.regions.count == count)
        for a in world.regions.indices {
            #expect(world.roundTrips[a][a] == 0)
            for b in world.regions.indices where a != b {
                #expect((0.002...0.4).contains(world.roundTrips[a][b]))
                #expect(world.roundTrips[a][b] == world.roundTrips[b][a])
            }
        }
        #expect(abs(world.demandShares.reduce(0, +) - 1) < 1e-9)
    }

    @Test(
        arguments: [
            ("regions: [{ name: a }]", "clusters: add at least one cluster"),
            ("regions: [{ name: a }]\nclusters: [{ name: c, region: b, profile: 8b-h100 }]", "clusters[0].region: use"),
            (
                "regions: [{ name: a }]\nclusters: [{ name: c, region: a, profile: gpu }]",
                "profile \"gpu\" is not known"
            ),
            (
                "regions: [{ name: a }, { name: b }]\nclusters: [{ name: c, region: a, profile: 8b-h100 }]",
                "links: add `between: a b`"
            ),
            ("regions: [{ name: a, size: 3 }]", "regions[0].size: is unknown"),
        ]
    )
    func `a world that cannot be is refused by field, with the fix`(text: String, message: String) {
        let error = #expect(throws: ConfigurationError.self) { try WorldFile(text: text, file: "w.yaml") }
        #expect(error?.description.contains(message) == true, "\(String(describing: error))")
    }

    @Test func `Virginia is as far from Ireland as it is`() {
        let virginia = WorldPosition(latitude: 38.9, longitude: -77.4)
        let ireland = WorldPosition(latitude: 53.3, longitude: -6.3)
        #expect((0.075...0.095).contains(virginia.roundTrip(to: ireland)))
    }

    @Test func `the same seed gives the same bytes`() throws {
        let command = try SimulateFleetCommand.parse([
            "--world", "\(Self.folder)/worlds/two.yaml", "--trace", "\(Self.folder)/traces/azure2023_conv_2000.csv",
            "--policy", "ours,least-in-flight", "--load", "0.5", "--requests", "100", "--warmup", "3", "--seed", "3",
        ])
        let comparison = try command.comparison()
        func report() throws -> String {
            let outcomes = comparison.policies.map { policy in
                var run = comparison.run(policy)
                while !run.isDone { run.advance(to: run.now + 5) }
                return run.outcome
            }
            let report = SimulationReport(comparison, outcomes: outcomes)
            #expect(report.table.contains("least-in-flight"))
            return try report.json()
        }
        let first = try report()
        #expect(try report() == first)
        #expect(first.contains("\"ttft_seconds\""))
    }

    @Test func `an event outside the world is refused before anything runs`() throws {
        let command = try SimulateFleetCommand.parse([
            "--world", "\(Self.folder)/worlds/two.yaml", "--trace", "\(Self.folder)/traces/azure2023_conv_2000.csv",
            "--event", "10s drain moon-a",
        ])
        let error = #expect(throws: FleetEventError.self) { try command.comparison() }
        #expect(error?.known == ["us-east-a", "us-west-a"])
    }
}
