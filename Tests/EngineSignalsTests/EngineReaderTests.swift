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
        #expect(reading[.finished] == 7)
        #expect(reading[.ttftCount] == 111)
        #expect(reading[.itlCount] == 6186)
        #expect(reading.missing.isEmpty)
        #expect(reading.faultyLines == 0)
        #expect(reading.seats == nil)
    }

    @Test func `of vLLM 0-6 is read by its old names`() throws {
        let reading = try read(
            """
            vllm:num_requests_running{model_name="m"} 4.0
            vllm:num_requests_waiting{model_name="m"} 1.0
            vllm:gpu_cache_usage_perc{model_name="m"} 0.25
            vllm:time_per_output_token_seconds_sum{model_name="m"} 3.5
            vllm:time_per_output_token_seconds_count{model_name="m"} 100.0
            """
        )
        #expect(reading.kvUse == 0.25)
        #expect(reading[.itlSum] == 3.5)
        #expect(reading.missing.contains(.finished))
        #expect(!reading.missing.contains(.kvUse))
    }

    @Test func `sums data-parallel ranks and takes the fullest KV cache`() throws {
        let reading = try read(
            """
            vllm:num_requests_running{engine="0"} 4.0
            vllm:num_requests_running{engine="1"} 60.0
            vllm:num_requests_waiting{engine="0"} 0.0
            vllm:num_requests_waiting{engine="1"} 9.0
            vllm:kv_cache_usage_perc{engine="0"} 0.1
            vllm:kv_cache_usage_perc{engine="1"} 0.99
            vllm:cache_config_info{engine="0",block_size="16",num_gpu_blocks="500"} 1.0
            vllm:cache_config_info{engine="1",block_size="16",num_gpu_blocks="700"} 1.0
            """
        )
        #expect(reading.running == 64)
        #expect(reading.waiting == 9)
        #expect(reading.kvUse == 0.99)
        #expect(reading.kvTokens == 19_200)
        #expect(reading.ranks == 2)
    }

    @Test func `of SGLang counts tensor-parallel ranks and priorities once`() throws {
        let reading = try read(
            """
            sglang:num_running_reqs{dp_rank="0",tp_rank="0",priority=""} 10.0
            sglang:num_running_reqs{dp_rank="0",tp_rank="1",priority=""} 10.0
            sglang:num_running_reqs{dp_rank="0",tp_rank="0",priority="1"} 4.0
            sglang:num_running_reqs{dp_rank="1",tp_rank="2",priority=""} 7.0
            sglang:num_queue_reqs{dp_rank="0",tp_rank="0"} 3.0
            sglang:token_usage{dp_rank="0"} 0.5
            sglang:token_usage{dp_rank="1"} 0.6
            sglang:cached_tokens_total{cache_source="device"} 30.0
            sglang:cached_tokens_total{cache_source="host"} 12.0
            sglang:max_total_num_tokens{dp_rank="0"} 1000.0
            """
        )
        #expect(reading.engine == .sglang)
        #expect(reading.running == 17)
        #expect(reading.waiting == 3)
        #expect(reading.kvUse == 0.6)
        #expect(reading[.cachedPromptTokens] == 42)
        #expect(reading.kvTokens == 1000)
        #expect(reading.ranks == 2)
    }

    @Test func `of Triton with TensorRT-LLM is told from plain Triton`() throws {
        let triton = """
            nv_inference_pending_request_count{model="m",version="1"} 4
            nv_inference_request_success{model="m",version="1"} 100
            nv_inference_compute_infer_duration_us{model="m",version="1"} 2500000

            """
        let backend = """
            nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting",version="1"} 2
            nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="scheduled",version="1"} 6
            nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="max",version="1"} 512
            nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="tensorrt_llm"} 0.5
            nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per",model="tensorrt_llm"} 64
            nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="tensorrt_llm"} 6239

            """
        let plain = try read(triton)
        #expect(plain.engine == .triton)
        #expect(plain.waiting == 4 && plain.running == nil)
        #expect(plain[.busyTime] == 2.5)

        let both = try read(triton + backend)
        #expect(both.engine == .tritonTRTLLM)
        #expect(both.running == 6 && both.waiting == 2 && both.seats == 512)
        #expect(both.kvUse == 0.5 && both.kvTokens == 64 * 6239)
        #expect(try read(triton + backend, as: .triton).waiting == 4)
    }

    @Test func `of trtllm-serve is read`() throws {
        let reading = try read(
            """
            trtllm_num_requests_running 3
            trtllm_num_requests_waiting 1
            trtllm_kv_cache_utilization 0.62
            trtllm_max_num_active_requests 2048
            trtllm_num_requests_completed_total 17
            """
        )
        #expect(reading.engine == .trtllm)
        #expect(reading.running == 3 && reading.seats == 2048 && reading[.finished] == 17)
        #expect(EngineKind.trtllm.metricsPath == "/prometheus/metrics")
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
