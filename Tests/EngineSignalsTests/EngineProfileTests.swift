import Testing

@testable import EngineSignals

@Suite struct `A series selector` {
    @Test func `is a name, with or without labels`() throws {
        #expect(try SeriesSelector("engine:load") == SeriesSelector(name: "engine:load"))
        let selector = try SeriesSelector("requests{state=running, kind=\"a b\"}")
        #expect(selector.name == "requests")
        #expect(selector.labels.map(\.name) == ["state", "kind"])
        #expect(selector.labels.map(\.content) == ["running", "a b"])
        #expect(selector.description == "requests{state=running,kind=a b}")
    }

    @Test(arguments: [
        "", "9lives", "a b", "a{", "a}", "a{b}", "a{b=c", "a{=c}", "a{b=c,}", "{a=b}", "a{b=\"c}", "a{1=c}",
    ])
    func `that is none is refused with the form it should have`(text: String) {
        let error = #expect(throws: InvalidSelector.self) { try SeriesSelector(text) }
        #expect(error?.description.contains("name{label=value}") == true)
    }
}

@Suite struct `An engine's labels` {
    private let own = MetricsProfile(custom: "acme", signals: [:])

    @Test(arguments: [
        (["llm-d.ai/engine-type": "sglang"], "sglang"),
        (["inference.networking.k8s.io/engine-type": "vllm"], "vllm"),
        (["llm-d.ai/engine-type": "vllm", "inference.networking.k8s.io/engine-type": "sglang"], "vllm"),
        (["llm-d.ai/engine-type": "triton-tensorrt-llm"], "triton-trtllm"),
        (["llm-d.ai/engine-type": "acme"], "acme"),
    ])
    func `choose its profile`(labels: [String: String], name: String) {
        let profile = MetricsProfile.chosen(byLabels: labels, among: MetricsProfile.builtIn + [self.own])
        #expect(profile?.name == name)
    }

    @Test func `choose none that is not known`() {
        let all = MetricsProfile.builtIn
        #expect(MetricsProfile.chosen(byLabels: ["llm-d.ai/engine-type": "acme"], among: all) == nil)
        #expect(MetricsProfile.chosen(byLabels: ["app": "vllm"], among: all) == nil)
    }
}

@Suite struct `A profile` {
    /// The model-server protocol's table: every series that stands there, and where our profile differs, why.
    @Test(arguments: [
        (
            MetricsProfile.vllm,
            [
                EngineSignal.waiting: "vllm:num_requests_waiting", .running: "vllm:num_requests_running",
                .kvUse: "vllm:kv_cache_usage_perc", .blockSize: "vllm:cache_config_info",
                .blocks: "vllm:cache_config_info",
            ]
        ),
        (
            .sglang,
            [
                .waiting: "sglang:num_queue_reqs", .running: "sglang:num_running_reqs", .kvUse: "sglang:token_usage",
                .blockSize: "sglang:cache_config_info", .blocks: "sglang:cache_config_info",
            ]
        ),
        (
            .trtllmServe,
            [
                .waiting: "trtllm_num_requests_waiting", .running: "trtllm_num_requests_running",
                .kvUse: "trtllm_kv_cache_utilization", .blockSize: "trtllm_kv_cache_tokens_per_block",
                .blocks: "trtllm_kv_cache_max_blocks",
            ]
        ),
        (
            .tritonTRTLLM,
            [
                .waiting: "nv_trt_llm_request_metrics{request_type=waiting}",
                .running: "nv_trt_llm_request_metrics{request_type=scheduled}",
                .kvUse: "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=fraction}",
                .blockSize: "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=tokens_per}",
                .blocks: "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=max}",
            ]
        ),
        // Its nv_inference_exec_count counts executions since the start: no number running.
        (.triton, [.waiting: "nv_inference_pending_request_count"]),
    ])
    func `has the series of the model-server protocol`(profile: MetricsProfile, series: [EngineSignal: String]) {
        for (signal, name) in series {
            #expect(profile.sources.contains { $0.signal == signal && $0.series.description == name }, "\(name)")
        }
    }

    @Test func `has the LoRA series of vLLM`() {
        #expect(MetricsProfile.vllm.adapters?.description == "vllm:lora_requests_info")
    }
}
