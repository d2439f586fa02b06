import ArgumentParser
import FleetModel
import Foundation
import Testing

@testable import DemoProgram

@Suite struct ViewTests {
    private let table = LiveTable(
        time: 31.4,
        duration: 40,
        policy: "ours",
        plan: Report.PlanStamp(epoch: 1, generation: 27),
        planAge: 0.41,
        requests: 203,
        inFlight: 38,
        failed: 0,
        retried: 3,
        interrupted: 1,
        clusters: ["us-east-a", "asia-east-a"],
        rows: [
            LiveTable.Row(
                region: RegionName(unchecked: "us-east"),
                isLost: false,
                recent: Ledger.Recent(
                    demand: 2.64,
                    ttftP50: 0.1824,
                    ttftP99: 1.24,
                    shares: ["us-east-a": 0.8, "asia-east-a": 0.2]
                ),
                cluster: FleetStatus.Cluster(running: 19, waiting: 0, kvUse: 0.118)
            ),
            LiveTable.Row(
                region: RegionName(unchecked: "asia-east"),
                isLost: true,
                recent: Ledger.Recent(demand: 0, ttftP50: nil, ttftP99: nil, shares: [:]),
                cluster: nil
            ),
        ]
    )

    @Test func theLiveTableLinesUpAndShowsADashForWhatIsNotKnown() {
        #expect(
            table.lines() == [
                "31 of 40 s  policy ours  plan 1.27, 410 ms old  requests 203  in flight 38  failed 0  retried 3  "
                    + "interrupted 1",
                "REGION            DEMAND  → us-east-a  → asia-east-a  RUNNING  WAITING   KV  TTFT P50     P99",
                "us-east            2.6/s          80%            20%       19        0  12%    182 ms  1.24 s",
                "asia-east (lost)   0.0/s            -              -        -        -    -         -       -",
            ]
        )
    }

    @Test func aPipeGetsOneLineWithoutControlCharacters() {
        let line = table.line()
        #expect(line.contains("| us-east 2.6/s running 19 waiting 0 kv 12% ttft 182 ms / 1.24 s |"))
        #expect(!line.contains("\n") && !line.contains("\u{1B}"))
    }

    @Test func theHubsStatusIsReadLeniently() throws {
        let status = try #require(
            FleetStatus(
                Data(
                    """
                    {"plan":{"epoch":2,"generation":"x","age_seconds":1.5},"pools":[{"pool":"default/llama","clusters":[
                    {"cluster":"us-east-a","region":"us-east","running":3,"waiting":null,"kv_mean":0.25},
                    {"region":"nameless"}, {"cluster":"asia-east-a","state":7}]}, 5]}
                    """.utf8
                )
            )
        )
        #expect(status.plan == Report.PlanStamp(epoch: 2, generation: nil))
        #expect(status.planAge == 1.5)
        #expect(status.clusters["us-east-a"] == FleetStatus.Cluster(region: "us-east", running: 3, kvUse: 0.25))
        #expect(status.clusters["asia-east-a"] == FleetStatus.Cluster())
        #expect(FleetStatus(Data("<html>".utf8)) == nil)
    }

    @Test(
        arguments: [
            (0.0004, "0 ms"), (0.182, "182 ms"), (0.9996, "1.00 s"), (1.236, "1.24 s"), (12.34, "12.3 s"),
            (99.96, "100 s"),
        ]
    )
    func durationsAreReadable(seconds: Seconds, text: String) { #expect(Quantity.duration(seconds) == text) }

    @Test func durationsAreReadInTheirUnits() {
        #expect(Quantity.seconds("40s") == 40)
        #expect(Quantity.seconds("250ms") == 0.25)
        #expect(Quantity.seconds("2m") == 120)
        #expect(Quantity.seconds("1.5") == 1.5)
        for wrong in ["", "s", "-1s", "nan", "ten", "inf"] { #expect(Quantity.seconds(wrong) == nil) }
    }
}

@Suite struct CommandLineTests {
    @Test func theLittleLanguagesAreRead() throws {
        let burst = try DemoOptions.burst("us-east=2.0@10s+20s")
        #expect(burst == Burst(region: RegionName(unchecked: "us-east"), factor: 2, start: 10, length: 20))
        let failure = try DemoOptions.failure("europe-west@15s")
        #expect(failure == RegionFailure(region: RegionName(unchecked: "europe-west"), time: 15))
        let link = try DemoOptions.roundTrip("us-east/asia-east=0.2s")
        #expect(link.pair == RegionPair(RegionName(unchecked: "asia-east"), RegionName(unchecked: "us-east")))
        #expect(link.seconds == 0.2)
    }

    @Test(
        arguments: [
            (["--burst", "us-east=2@10s"], "such as us-east=2.0@10s+20s"),
            (["--fail", "mars@15s"], "there is no region \"mars\"; use us-east, europe-west, asia-east"),
            (["--fail", "us-east@50s", "--duration", "40s"], "comes after the end"),
            (["--rate", "0"], "above 0"),
            (["--duration", "soon"], "such as 40s"),
            (["--policy", "best"], "nearest"),
        ]
    )
    func aWrongOptionSaysWhatWouldBeRight(arguments: [String], hint: String) {
        let error = #expect(throws: (any Error).self) { try DemoCommand.parse(arguments) }
        let message = error.map { DemoCommand.message(for: $0) } ?? ""
        #expect(message.contains(hint), "\(message)")
    }

    @Test func theFormsOfTheHandbookAreAccepted() throws {
        let command = try DemoCommand.parse([
            "--trace", "t.csv", "--rate", "8", "--burst", "us-east=2.0@10s+20s", "--fail", "europe-west@15s",
            "--duration", "40s", "--policy", "round-robin", "-o", "json",
        ])
        #expect(command.policy == .roundRobin && command.output == .json && command.duration == 40)
    }
}
