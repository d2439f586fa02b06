import FleetModel
import Testing

@testable import EngineSignals

private func read(_ page: String, as engine: EngineKind? = nil) throws -> EngineReading {
    try EngineReader(engine: engine).read(Array(page.utf8))
}

@Suite struct `An engine's page` {
    @Test func `of a real vLLM under load says that 105 run and 295 wait at a KV use of 0.31`() throws {
        let reading = try EngineReader().read(try recordedPage("vllm-0.32-under-load"))
        #expect(reading.engine == .vllm)
        #expect(reading.running == 105)
        #expect(reading.waiting == 295)
        #expect(abs((reading.kvUse ?? 0) - 0.3057) < 1e-4)
        #expect(reading.blockSize == 128)
        #expect(reading.blocks == 4096)
        #expect(reading.kvTokens == 524_288)
        #expect(reading[.promptTokens] == 146_780)
        #expect(reading[.cachedPromptTokens] == 0)
        #expect(reading[.generationTokens] == 6297)
        #expect(reading[.finished] == 7 && reading[.failed] == 0)
        #expect(reading[.ttftCount] == 111)
        #expect(reading[.itlCount] == 6186)
        #expect(reading.missing.isEmpty)
        #expect(reading.faultyLines == 0)
        #expect(reading.seats == nil)
    }

    @Test func `of vLLM 0-6 is read by its old names`() throws {
        let reading = try EngineReader().read(try constructedPage("vllm-0.6"))
        #expect(reading.engine == .vllm)
        #expect(reading.running == 4 && reading.waiting == 1 && reading.kvUse == 0.25)
        #expect(reading.blocks == 7200 && reading.blockSize == 16)
        #expect(reading[.promptTokens] == 91_234 && reading[.generationTokens] == 45_678)
        #expect(reading[.finished] == 100)
        #expect(reading[.itlSum] == 456.5 && reading[.itlCount] == 45_573)
        #expect(reading.missing == [.cachedPromptTokens, .failed])
        #expect(reading.ranks == [RankReading(name: "", running: 4, waiting: 1, kvUse: 0.25)])
    }

    @Test func `sums data-parallel ranks, takes the fullest KV cache, and keeps each rank`() throws {
        let reading = try EngineReader().read(try constructedPage("vllm-two-ranks"))
        #expect(reading.running == 64)
        #expect(reading.waiting == 9)
        #expect(reading.kvUse == 0.99)
        #expect(reading.kvTokens == 19_200)
        #expect(reading[.promptTokens] == 16_000)
        #expect(
            reading.ranks == [
                RankReading(name: "0", running: 4, waiting: 0, kvUse: 0.1),
                RankReading(name: "1", running: 60, waiting: 9, kvUse: 0.99),
            ]
        )
    }

    @Test func `of SGLang counts tensor-parallel ranks and priorities once`() throws {
        let reading = try EngineReader().read(try constructedPage("sglang"))
        #expect(reading.engine == .sglang)
        #expect(reading.running == 17 && reading.waiting == 3 && reading.kvUse == 0.6)
        #expect(reading.seats == 256)
        #expect(reading.blocks == 4100 && reading.blockSize == 64 && reading.kvTokens == 262_400)
        #expect(reading[.cachedPromptTokens] == 31_200)
        #expect(reading.ranks.map(\.running) == [10, 7])
        #expect(reading.missing.isEmpty)
    }

    @Test func `of SGLang 0-5-11 has the size of its cache in gauges`() throws {
        let reading = try read(
            """
            sglang:num_running_reqs{dp_rank="0"} 1
            sglang:page_size{dp_rank="0"} 16
            sglang:num_pages{dp_rank="0"} 100
            sglang:num_pages{dp_rank="1"} 100
            sglang:max_total_num_tokens{dp_rank="0"} 1600
            sglang:max_total_num_tokens{dp_rank="1"} 1600
            """
        )
        #expect(reading.blockSize == 16 && reading.blocks == 200 && reading.kvTokens == 3200)
    }

    @Test func `of Triton with TensorRT-LLM is told from plain Triton`() throws {
        let plain = try EngineReader().read(try constructedPage("triton"))
        #expect(plain.engine == .triton)
        #expect(plain.waiting == 4 && plain.running == nil)
        #expect(plain[.busyTime] == 2.5)
        #expect(plain[.finished] == 100 && plain[.failed] == 2)

        let page = try constructedPage("triton-trtllm")
        let both = try EngineReader().read(page)
        #expect(both.engine == .tritonTRTLLM)
        #expect(both.running == 6 && both.waiting == 2 && both.seats == 512)
        #expect(both.kvUse == 0.5 && both.kvTokens == 64 * 6239)
        #expect(both[.promptTokens] == 5000 && both[.generationTokens] == 2500)
        #expect(try EngineReader(engine: .triton).read(page).waiting == 4)
    }

    @Test func `of trtllm-serve is read, from where it has it`() throws {
        let reading = try EngineReader().read(try constructedPage("trtllm-serve"))
        #expect(reading.engine == .trtllmServe)
        #expect(reading.running == 3 && reading.waiting == 1 && reading.kvUse == 0.62)
        #expect(reading.seats == 2048 && reading.blocks == 9000 && reading.blockSize == 32)
        #expect(reading[.promptTokens] == 1800 && reading[.generationTokens] == 900 && reading[.finished] == 17)
        #expect(MetricsProfile.trtllmServe.metricsPath == "/prometheus/metrics")
    }

    @Test func `of an engine nobody knew is read by the selectors of its profile`() throws {
        let profile = MetricsProfile(
            custom: "acme",
            rankLabel: "rank",
            signals: [
                .running: try SeriesSelector("acme_requests{state=running}"),
                .waiting: try SeriesSelector("acme_requests{state=queued}"),
                .kvUse: try SeriesSelector("acme_cache_use"),
                .promptTokens: try SeriesSelector("acme_tokens_total{kind=prompt}"),
            ]
        )
        let page = try constructedPage("custom")
        let reading = try EngineReader(profiles: [profile] + MetricsProfile.builtIn).read(page)
        #expect(reading.engine == .custom)
        #expect(reading.running == 12 && reading.waiting == 2 && reading.kvUse == 0.7)
        #expect(reading[.promptTokens] == 1234)
        #expect(reading.ranks.map(\.name) == ["0", "1"])
        #expect(reading.missing.isEmpty)
        #expect(throws: ScrapeFault.noKnownSeries) { try EngineReader().read(page) }
    }

    @Test func `names the LoRA adapters of the newest sample only`() throws {
        let reading = try EngineReader().read(try constructedPage("vllm-lora"))
        #expect(reading.lora == LoRAAdapters(running: ["chat", "sql"], waiting: ["legal"], most: 4))
        #expect(reading.loraAdapters == ["chat", "legal", "sql"])
        #expect(reading.loraSetHash == LoRAAdapters.setHash(of: ["sql", "legal", "chat"]))
        #expect(reading.loraSetHash != LoRAAdapters.setHash(of: ["sql", "legalchat"]))
        #expect(LoRAAdapters.setHash(of: []) == 0)
        #expect(try EngineReader().read(try constructedPage("vllm-two-ranks")).loraSetHash == nil)
    }

    @Test func `says which series each value came from, and when it says so itself`() throws {
        let trace = try EngineReader().trace(try constructedPage("vllm-0.6"))
        #expect(trace.series(of: .kvUse) == "vllm:gpu_cache_usage_perc")
        #expect(trace.series(of: .blocks) == "vllm:cache_config_info label num_gpu_blocks")
        #expect(trace.series(of: .cachedPromptTokens) == nil)
        #expect(
            trace.candidates(for: .cachedPromptTokens) == [
                "vllm:prompt_tokens_cached_total", "vllm:prefix_cache_hits_total",
            ]
        )
        #expect(trace.timestamp(of: .running) == nil)
        let stamped =
            "vllm:num_requests_running{engine=\"0\"} 1 1795418753000\n"
            + "vllm:num_requests_running{engine=\"1\"} 1 1795418750.5\n"
        #expect(try EngineReader().trace(Array(stamped.utf8)).timestamp(of: .running) == 1_795_418_750.5)
    }

    @Test func `of a thousand ranks and more is not believed`() throws {
        let page = (0..<2000).map { "vllm:num_requests_running{engine=\"\($0)\"} 1" }.joined(separator: "\n")
        let reading = try read(page + "\nvllm:num_requests_waiting 0")
        #expect(reading.running == nil && reading.waiting == 0)
    }

    @Test func `that gives no number for a rank leaves the whole signal unknown`() throws {
        let reading = try read(
            """
            vllm:num_requests_running{engine="0"} 4.0
            vllm:num_requests_running{engine="1"} NaN
            vllm:num_requests_waiting{engine="0"} 0.0
            vllm:kv_cache_usage_perc{engine="0"} -1
            """
        )
        #expect(reading.running == nil)
        #expect(reading.waiting == 0)
        #expect(reading.kvUse == nil)
        #expect(reading.missing.contains(.running) && reading.missing.contains(.kvUse))
    }

    @Test func `without one number of a known engine is unknown, not foreign`() throws {
        let reading = try read("vllm:num_requests_running NaN")
        #expect(reading.engine == .vllm && reading.running == nil)
    }

    @Test(arguments: [nil, EngineKind.sglang])
    func `without the engine's series is no reading`(engine: EngineKind?) throws {
        #expect(throws: ScrapeFault.noKnownSeries) { try read("<html>hello</html>", as: engine) }
        #expect(throws: ScrapeFault.noKnownSeries) { try read("", as: engine) }
        #expect(throws: ScrapeFault.noKnownSeries) {
            try read("vllm:num_requests_running 1", as: .sglang)
        }
    }

    @Test func `over the limit is refused`() throws {
        #expect(throws: ScrapeFault.tooLarge) {
            try EngineReader(limit: 10).read(Array("vllm:num_requests_running 1".utf8))
        }
    }

    @Test func `with absurd numbers does not trap`() throws {
        let reading = try read("vllm:num_requests_running 1e300\nvllm:num_requests_waiting 9e18")
        #expect(reading.running == 1_000_000_000)
        #expect(reading.waiting == 1_000_000_000)
    }
}
