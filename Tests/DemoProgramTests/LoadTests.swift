import FleetModel
import TestKit
import Testing

@testable import DemoProgram

private let west = RegionName(unchecked: "europe-west")
private let east = RegionName(unchecked: "us-east")
private let asia = RegionName(unchecked: "asia-east")

private func record(
    _ sentAt: Seconds,
    from source: RegionName = east,
    ttft: Seconds? = 0.1,
    cluster: String? = "us-east-a",
    retries: Int = 0,
    _ outcome: Outcome = .answered
) -> Record {
    Record(
        source: source,
        sentAt: sentAt,
        endedAt: sentAt + 1,
        ttft: ttft,
        cluster: cluster,
        retries: retries,
        outcome: outcome
    )
}

@Suite struct RetryPolicyTests {
    @Test func whatHadNoByteIsTriedTwiceMoreWithGrowingPauses() throws {
        var dice = SeededGenerator(seed: 1)
        for attempt in [Attempt.refused, .closed, .status(503, retryAfter: nil), .status(429, retryAfter: nil)] {
            let first = try #require(RetryPolicy.delay(after: attempt, retriesSoFar: 0, using: &dice))
            let second = try #require(RetryPolicy.delay(after: attempt, retriesSoFar: 1, using: &dice))
            #expect((0.375...0.5).contains(first) && (0.75...1).contains(second))
            #expect(RetryPolicy.delay(after: attempt, retriesSoFar: 2, using: &dice) == nil)
        }
    }

    @Test func aWishOfTheServerIsObeyedWhenItIsReasonable() {
        var dice = SeededGenerator(seed: 1)
        #expect(RetryPolicy.delay(after: .status(429, retryAfter: 3), retriesSoFar: 0, using: &dice) == 3)
        let unreasonable = RetryPolicy.delay(after: .status(429, retryAfter: 600), retriesSoFar: 0, using: &dice)
        #expect(unreasonable.map { $0 <= 0.5 } == true)
    }

    @Test(arguments: [Attempt.answered, .interrupted, .expired, .abandoned, .status(400, retryAfter: nil)])
    func whatBeganOrWasWrongIsNotSentAgain(attempt: Attempt) {
        var dice = SeededGenerator(seed: 1)
        #expect(RetryPolicy.delay(after: attempt, retriesSoFar: 0, using: &dice) == nil)
    }
}

@Suite struct AnycastTests {
    @Test func clientsOfALostGatewayReachTheNextNearestWithoutARetry() {
        var anycast = Anycast()
        let seen = [west, east, asia]
        #expect(anycast.gateway(byDistance: seen, avoiding: []) == west)
        anycast.refused(west)
        #expect(anycast.gateway(byDistance: seen, avoiding: []) == east)
        anycast.answered(west)
        #expect(anycast.gateway(byDistance: seen, avoiding: []) == west)
    }

    @Test func aRequestThatOneGatewayFailedGoesToAnother() {
        let anycast = Anycast()
        #expect(anycast.gateway(byDistance: [west, east], avoiding: [west]) == east)
        #expect(anycast.gateway(byDistance: [west, east], avoiding: [west, east]) == west)
    }

    @Test func withEveryGatewayWithdrawnTheNearestIsTriedAnyway() {
        var anycast = Anycast()
        for gateway in [west, east] { anycast.refused(gateway) }
        #expect(anycast.gateway(byDistance: [west, east], avoiding: []) == west)
    }
}

@Suite struct RecoveryTests {
    @Test func itLastsUntilTheSendOfTheLastRequestThatFeltTheFailure() {
        let records = [
            record(9.9, retries: 1), record(10.2, from: west, retries: 1), record(10.5, .interrupted),
            record(11.25, from: asia, .failed), record(12), record(13, .unfinished),
        ]
        #expect(Recovery.seconds(records, failureAt: 10) == 1.25)
    }

    @Test func itIsZeroWhenNobodyFeltAnythingAfterwards() {
        #expect(Recovery.seconds([record(9, .interrupted), record(11)], failureAt: 10) == 0)
        #expect(Recovery.seconds([], failureAt: 10) == 0)
    }
}

@Suite struct PercentileTests {
    @Test func percentilesAreValuesThatWereMeasured() {
        let values = (1...100).map(Double.init)
        #expect(Percentile.of(values, 0.5) == 50)
        #expect(Percentile.of(values, 0.99) == 99)
        #expect(Percentile.of(values, 1) == 100)
        #expect(Percentile.of([7], 0.99) == 7)
        #expect(Percentile.of([], 0.5) == nil)
    }
}

@Suite struct LedgerTests {
    @Test func theLiveTableSeesOnlyTheLastSeconds() {
        var ledger = Ledger()
        for second in 0..<60 { ledger.send(from: east, at: Double(second), isLate: false) }
        ledger.firstContent(from: east, at: 20, ttft: 9, cluster: "asia-east-a")
        ledger.firstContent(from: east, at: 55, ttft: 0.2, cluster: "us-east-a")
        ledger.firstContent(from: east, at: 56, ttft: 0.4, cluster: "us-east-a")
        ledger.firstContent(from: east, at: 57, ttft: 0.3, cluster: "asia-east-a")
        ledger.firstContent(from: east, at: 58, ttft: 0.3, cluster: nil)
        let recent = ledger.recent(of: east, now: 60)
        #expect(recent.ttftP50 == 0.3 && recent.ttftP99 == 0.4)
        #expect(recent.shares == ["us-east-a": 2.0 / 3, "asia-east-a": 1.0 / 3])
        #expect(abs(recent.demand - 14.0 / 15) < 1e-9)
        #expect(ledger.recent(of: west, now: 60).shares.isEmpty)
    }
}

@Suite struct EventStreamReaderTests {
    @Test func contentIsFoundAlsoWhenItComesInPieces() {
        var reader = EventStreamReader()
        reader.read(#"data: {"choices":[{"delta":{"role":"assistant","content":""}}]}"#.utf8)
        reader.read("\n\n".utf8)
        #expect(!reader.hasContent)
        reader.read(#"data: {"choices":[{"delta":{"con"#.utf8)
        reader.read(#"tent": "he"}}]}"#.utf8)
        #expect(!reader.hasContent)
        reader.read("\r\n\r\ndata: [DO".utf8)
        #expect(reader.hasContent && !reader.isDone)
        reader.read("NE]\n\n".utf8)
        #expect(reader.isDone && !reader.hasError)
    }

    @Test func anErrorInTheStreamIsSeen() {
        var reader = EventStreamReader()
        reader.read("data: {\"error\":{\"message\":\"engine gone\"}}\n\n".utf8)
        #expect(reader.hasError && !reader.hasContent)
    }

    @Test func commentsAndEndlessLinesAreHarmless() {
        var reader = EventStreamReader()
        reader.read(": ping\n\n".utf8)
        reader.read(String(repeating: "x", count: 100_000).utf8)
        reader.read("\ndata: [DONE]\n".utf8)
        #expect(reader.isDone && !reader.hasContent)
    }
}

@Suite struct ReportTests {
    private func report() -> Report {
        var ledger = Ledger()
        let records = [
            record(1, ttft: 0.1), record(2, ttft: 0.3, cluster: "asia-east-a"), record(3, ttft: 0.2, retries: 2),
            record(4, from: west, ttft: nil, cluster: nil, retries: 2, .failed),
            record(5, from: west, ttft: 0.4, cluster: "europe-west-a", .interrupted),
        ]
        for item in records { ledger.send(from: item.source, at: item.sentAt, isLate: false) }
        ledger.send(from: west, at: 6, isLate: true)
        ledger.loseRegion(at: 4.5)
        for item in records { ledger.end(item) }
        return Report(ledger: ledger, durationSeconds: 7, region: Geography.standard.region(of:))
    }

    @Test func aReportCountsWhatTheClientsSaw() {
        let report = report()
        #expect(report.requests == 6 && report.failed == 1 && report.retried == 2 && report.interrupted == 1)
        #expect(report.unfinished == 1 && report.late == 1)
        #expect(report.ttftSeconds == Report.TTFT(p50: 0.2, p90: 0.4, p99: 0.4))
        #expect(report.share["us-east"]?["asia-east-a"] == 0.333333)
        #expect(report.share["europe-west"] == ["europe-west-a": 1])
        #expect(report.remoteShare == 0.25)
        #expect(report.recoverySeconds == 0.5)
    }

    @Test func theJSONIsOneLineWithEveryFieldAndNullForWhatIsNotKnown() throws {
        var report = report()
        report.recoverySeconds = nil
        let json = try report.json()
        #expect(!json.contains("\n"))
        for part in [
            #""requests":6"#, #""ttft_seconds":{"p50":0.2,"p90":0.4,"p99":0.4}"#, #""recovery_seconds":null"#,
            #""plan":{"epoch":null,"generation":null}"#, #""remote_share":0.25"#,
            #""share":{"europe-west":{"europe-west-a":1},"us-east":{"asia-east-a":0.333333,"us-east-a":0.666667}}"#,
        ] { #expect(json.contains(part), "\(part) is missing in \(json)") }
    }

    @Test func theTextLinesUp() {
        var report = report()
        report.policy = "ours"
        report.plan = Report.PlanStamp(epoch: 1, generation: 42)
        let lines = report.text(clusters: ["us-east-a", "europe-west-a", "asia-east-a"], failed: asia)
        #expect(
            lines == [
                "requests 6  failed 1  retried 2  interrupted 1  unfinished 1  late 1",
                "time to first token  p50 200 ms  p90 400 ms  p99 400 ms",
                "answered in another region 25%  policy ours  plan 1.42",
                "recovered 500 ms after asia-east was lost",
                "",
                "CLIENTS OF   → us-east-a  → europe-west-a  → asia-east-a",
                "europe-west           0%             100%             0%",
                "us-east              67%               0%            33%",
            ]
        )
    }
}
