/// The engines that are known without settings.
///
/// Sources: Gateway API Inference Extension, proposal 003 "Model server protocol", and llm-d's metrics extractor; the
/// engines' own metrics pages and collectors (vLLM 0.6 to 0.32, SGLang, TensorRT-LLM, Triton).
extension MetricsProfile {
    /// All profiles.
    ///
    /// Detection takes the first one whose running or waiting requests are on the page; a Triton with
    /// TensorRT-LLM shows plain Triton's series as well, so it comes first.
    package static let builtIn: [MetricsProfile] = [vllm, sglang, trtllmServe, tritonTRTLLM, triton]

    private static let startTime = SignalSource(.startTime, "process_start_time_seconds")

    /// Not used: `vllm:gpu_prefix_cache_hits`, whose unit was blocks in some versions and tokens in others.
    package static let vllm = MetricsProfile(
        kind: .vllm,
        rankLabel: "engine",
        sources: [
            SignalSource(.running, "vllm:num_requests_running"),
            SignalSource(.waiting, "vllm:num_requests_waiting"),
            SignalSource(.kvUse, "vllm:kv_cache_usage_perc"),
            SignalSource(.kvUse, "vllm:gpu_cache_usage_perc"),
            SignalSource(.blockSize, "vllm:cache_config_info", valueLabel: "block_size"),
            SignalSource(.blocks, "vllm:cache_config_info", valueLabel: "num_gpu_blocks"),
            SignalSource(.promptTokens, "vllm:prompt_tokens_total"),
            SignalSource(.cachedPromptTokens, "vllm:prompt_tokens_cached_total"),
            SignalSource(.cachedPromptTokens, "vllm:prefix_cache_hits_total"),
            SignalSource(.generationTokens, "vllm:generation_tokens_total"),
            SignalSource(.finished, "vllm:request_success_total"),
            SignalSource(.failed, "vllm:request_success_total", ["finished_reason": "error"]),
            SignalSource(.ttftSum, "vllm:time_to_first_token_seconds_sum"),
            SignalSource(.ttftCount, "vllm:time_to_first_token_seconds_count"),
            SignalSource(.itlSum, "vllm:inter_token_latency_seconds_sum"),
            SignalSource(.itlSum, "vllm:time_per_output_token_seconds_sum"),
            SignalSource(.itlCount, "vllm:inter_token_latency_seconds_count"),
            SignalSource(.itlCount, "vllm:time_per_output_token_seconds_count"),
            SignalSource(.prefillSum, "vllm:request_prefill_time_seconds_sum"),
            SignalSource(.prefillCount, "vllm:request_prefill_time_seconds_count"),
            startTime,
        ],
        adapters: SeriesSelector(name: "vllm:lora_requests_info")
    )

    /// It says of no request that it failed: `sglang:num_aborted_requests_total` has those that clients gave up as well.
    ///
    /// Scheduler gauges repeat on every tensor-parallel rank, and once more per priority beside their total: within
    /// a data-parallel rank the largest counts.
    ///
    /// From 0.5.11 on the size of the KV cache stands in gauges, before in the labels of one.
    package static let sglang = MetricsProfile(
        kind: .sglang,
        rankLabel: "dp_rank",
        sources: [
            SignalSource(.running, "sglang:num_running_reqs", withinRank: .max),
            SignalSource(.waiting, "sglang:num_queue_reqs", withinRank: .max),
            SignalSource(.kvUse, "sglang:token_usage"),
            SignalSource(.seats, "sglang:max_running_requests", withinRank: .max),
            SignalSource(.blockSize, "sglang:page_size"),
            SignalSource(.blockSize, "sglang:cache_config_info", valueLabel: "page_size"),
            SignalSource(.blocks, "sglang:num_pages", withinRank: .max),
            SignalSource(.blocks, "sglang:cache_config_info", valueLabel: "num_pages", withinRank: .max),
            SignalSource(.kvTokens, "sglang:max_total_num_tokens", withinRank: .max),
            SignalSource(.promptTokens, "sglang:prompt_tokens_total"),
            SignalSource(.cachedPromptTokens, "sglang:cached_tokens_total"),
            SignalSource(.generationTokens, "sglang:generation_tokens_total"),
            SignalSource(.finished, "sglang:num_requests_total"),
            SignalSource(.finished, "sglang:e2e_request_latency_seconds_count"),
            SignalSource(.ttftSum, "sglang:time_to_first_token_seconds_sum"),
            SignalSource(.ttftCount, "sglang:time_to_first_token_seconds_count"),
            SignalSource(.itlSum, "sglang:inter_token_latency_seconds_sum"),
            SignalSource(.itlSum, "sglang:time_per_output_token_seconds_sum"),
            SignalSource(.itlCount, "sglang:inter_token_latency_seconds_count"),
            SignalSource(.itlCount, "sglang:time_per_output_token_seconds_count"),
            startTime,
        ]
    )

    /// It answers JSON at `/metrics`; tokens count when their request has finished.
    ///
    /// Not used: `trtllm_time_per_output_token_seconds`, which has one mean a request and not one time a token.
    package static let trtllmServe = MetricsProfile(
        kind: .trtllmServe,
        metricsPath: "/prometheus/metrics",
        sources: [
            SignalSource(.running, "trtllm_num_requests_running"),
            SignalSource(.waiting, "trtllm_num_requests_waiting"),
            SignalSource(.kvUse, "trtllm_kv_cache_utilization"),
            SignalSource(.seats, "trtllm_max_num_active_requests"),
            SignalSource(.blockSize, "trtllm_kv_cache_tokens_per_block"),
            SignalSource(.blocks, "trtllm_kv_cache_max_blocks"),
            SignalSource(.promptTokens, "trtllm_prompt_tokens_total"),
            SignalSource(.cachedPromptTokens, "trtllm_prompt_cached_tokens_total"),
            SignalSource(.generationTokens, "trtllm_generation_tokens_total"),
            SignalSource(.finished, "trtllm_num_requests_completed_total"),
            SignalSource(.finished, "trtllm_request_success_total"),
            SignalSource(.ttftSum, "trtllm_time_to_first_token_seconds_sum"),
            SignalSource(.ttftCount, "trtllm_time_to_first_token_seconds_count"),
            SignalSource(.prefillSum, "trtllm_request_prefill_time_seconds_sum"),
            SignalSource(.prefillCount, "trtllm_request_prefill_time_seconds_count"),
            startTime,
        ]
    )

    package static let tritonTRTLLM = MetricsProfile(
        kind: .tritonTRTLLM,
        sources: [
            SignalSource(.running, "nv_trt_llm_request_metrics", ["request_type": "scheduled"]),
            SignalSource(.waiting, "nv_trt_llm_request_metrics", ["request_type": "waiting"]),
            SignalSource(.seats, "nv_trt_llm_request_metrics", ["request_type": "max"]),
            SignalSource(.kvUse, "nv_trt_llm_kv_cache_block_metrics", ["kv_cache_block_type": "fraction"]),
            SignalSource(.blockSize, "nv_trt_llm_kv_cache_block_metrics", ["kv_cache_block_type": "tokens_per"]),
            SignalSource(.blocks, "nv_trt_llm_kv_cache_block_metrics", ["kv_cache_block_type": "max"]),
            SignalSource(.promptTokens, "nv_llm_input_token_len_sum"),
            SignalSource(.generationTokens, "nv_llm_output_token_len_sum"),
            SignalSource(.finished, "nv_llm_output_token_len_count"),
            SignalSource(.failed, "nv_inference_request_failure", ["model": "tensorrt_llm", "reason": "BACKEND"]),
            SignalSource(.ttftSum, "nv_inference_first_response_histogram_ms_sum", scale: 1e-3),
            SignalSource(.ttftCount, "nv_inference_first_response_histogram_ms_count"),
        ]
    )

    /// The protocol's `nv_inference_exec_count` counts executions since the start, so it is not the number running.
    package static let triton = MetricsProfile(
        kind: .triton,
        sources: [
            SignalSource(.waiting, "nv_inference_pending_request_count"),
            SignalSource(.finished, "nv_inference_request_success"),
            SignalSource(.failed, "nv_inference_request_failure", ["reason": "BACKEND"]),
            SignalSource(.failed, "nv_inference_request_failure"),
            SignalSource(.busyTime, "nv_inference_compute_infer_duration_us", scale: 1e-6),
            SignalSource(.ttftSum, "nv_inference_first_response_histogram_ms_sum", scale: 1e-3),
            SignalSource(.ttftCount, "nv_inference_first_response_histogram_ms_count"),
        ]
    )
}
