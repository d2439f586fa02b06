import FleetModel
import Testing

@testable import EngineSignals

@Suite struct `A load report in a header` {
    @Test(arguments: [
        "TEXT cpu_utilization=0.3, mem_utilization=0.8, rps_fractional=10.0, eps=1, named_metrics.kv_cache_usage_perc=0.4",
        "text cpu_utilization=0.3,mem_utilization=0.8,rps_fractional=1e1,eps=1,named_metrics.kv_cache_usage_perc=0.4",
        """
        JSON {"cpu_utilization": 0.3, "mem_utilization": 0.8, "rps_fractional": 10.0, "eps": 1, \
        "named_metrics": {"kv_cache_usage_perc": 0.4}}
        """,
        """
        json {"named_metrics":{"kv_cache_usage_perc":0.4},"cpu_utilization":0.3,"mem_utilization":0.8,\
        "rps_fractional":10,"eps":1}
        """,
    ])
    func `says the same in both forms`(content: String) throws {
        let report = try #require(LoadReport(content))
        #expect(
            report.values == [
                "cpu_utilization": 0.3, "mem_utilization": 0.8, "rps_fractional": 10, "eps": 1,
                "named_metrics.kv_cache_usage_perc": 0.4,
            ]
        )
    }

    @Test(arguments: [
        "", "TEXT", "TEXT ", "JSON", "JSON {}", "JSON {\"a\": {\"b\": {\"c\": 1}}}", "JSON {\"a\": 1",
        "JSON {\"a\": 1} x",
        "JSON {\"a\" 1}", "JSON [1]", "JSON {\"a\": \"b\"}", "TEXT a=b", "TEXT a=1=2", "TEXT a", "BIN AAAA",
        "TEXT a=nan", "TEXT a=-1", "JSON {a: 1}", "JSON {\"a\": 1,}",
    ])
    func `that has neither form, or no number, is none`(content: String) {
        #expect(LoadReport(content) == nil)
    }

    @Test func `says of the load what it names, and nothing when it names none of it`() {
        let whole = "JSON {\"named_metrics\": {\"num_requests_running\": 3, \"num_requests_waiting\": 2}}"
        #expect(LoadReport(whole)?.load == ReportedLoad(running: 3, waiting: 2))
        // As vLLM writes it.
        let part = "TEXT named_metrics.kv_cache_usage_perc=1.5, named_metrics.num_requests_waiting=7"
        #expect(LoadReport(part)?.load == ReportedLoad(waiting: 7, kvUse: 1))
        #expect(LoadReport("TEXT cpu_utilization=0.3")?.load == nil)
    }

    @Test func `that is very long is none`() {
        #expect(LoadReport("TEXT " + (0..<2000).map { "a\($0)=1" }.joined(separator: ",")) == nil)
    }

    @Test func `completes what the page did not say, and changes nothing that it said`() throws {
        var reading = EngineReading(engine: .vllm, missing: [.waiting, .kvUse, .blocks])
        reading[.running] = 3
        let report =
            "TEXT named_metrics.num_requests_running=9, named_metrics.num_requests_waiting=2, "
            + "named_metrics.kv_cache_utilization=0.5"
        try #require(LoadReport(report)).complete(&reading)
        #expect(reading.running == 3 && reading.waiting == 2 && reading.kvUse == 0.5)
        #expect(reading.missing == [.blocks])
    }
}
