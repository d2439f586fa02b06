/// The engines whose metrics are known.
package enum EngineKind: String, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    case vllm
    case sglang
    /// TensorRT-LLM behind its own `trtllm-serve`.
    case trtllm
    /// TensorRT-LLM as a backend of Triton.
    case tritonTRTLLM = "triton-trtllm"
    /// Any other model in Triton.
    case triton

    package var description: String { self.rawValue }

    /// Where the engine serves Prometheus text by default.
    ///
    /// `trtllm-serve` answers JSON at `/metrics`.
    package var metricsPath: String { self == .trtllm ? "/prometheus/metrics" : "/metrics" }
}

/// What an engine may say about itself.
///
/// Names are ours; an ``MetricsProfile`` says which series each one is.
package enum EngineSignal: Int, Hashable, Sendable, CaseIterable {
    // Gauges
    case running, waiting, kvUse
    /// The most requests that run at once.
    case seats
    case blockSize, blocks
    /// The KV cache in tokens, for an engine that says so instead of blocks.
    case kvTokens
    // Counters
    case promptTokens, cachedPromptTokens, generationTokens, finished
    case ttftSum, ttftCount, itlSum, itlCount
    /// Seconds that requests have spent executing, summed: its rate is the mean number running.
    case busyTime
}

/// One series that gives a signal.
struct SignalSource: Sendable {
    /// How the samples of a page become one number; data-parallel ranks are never averaged away.
    enum Merge: Sendable {
        case sum
        case max
        /// The sum over the values of a label, of the maximum within each: for engines whose tensor-parallel
        /// ranks repeat the numbers of their data-parallel rank.
        case sumOfMax(over: String)
    }

    let signal: EngineSignal
    let series: String
    /// Only samples with this label count.
    var label: (name: String, content: String)?
    /// The value is the number in this label, instead of the sample's own.
    var valueLabel: String?
    var merge = Merge.sum
    /// From the series' unit to seconds.
    var scale = 1.0
}

/// Which series of one engine give which signals.
///
/// For a signal with several sources the first one that is on the page counts, so that one profile covers the
/// names of several versions.
///
/// Sources: Gateway API Inference Extension, proposal 003 "Model server protocol"; the engines' own metrics
/// pages and collectors (vLLM 0.6 to 0.32, SGLang, TensorRT-LLM, Triton).
struct MetricsProfile: Sendable {
    let kind: EngineKind
    let sources: [SignalSource]

    /// All profiles.
    ///
    /// Detection takes the first one whose running or waiting requests are on the page; a Triton with
    /// TensorRT-LLM shows plain Triton's series as well, so it comes first.
    static let all: [MetricsProfile] = [vllm, sglang, trtllm, tritonTRTLLM, triton]

    /// Not used: `vllm:gpu_prefix_cache_hits`, whose unit was blocks in some versions and tokens in others.
    static let vllm = MetricsProfile(
        kind: .vllm,
        sources: [
            SignalSource(signal: .running, series: "vllm:num_requests_running"),
            SignalSource(signal: .waiting, series: "vllm:num_requests_waiting"),
            SignalSource(signal: .kvUse, series: "vllm:kv_cache_usage_perc", merge: .max),
            SignalSource(signal: .kvUse, series: "vllm:gpu_cache_usage_perc", merge: .max),
            SignalSource(signal: .blockSize, series: "vllm:cache_config_info", valueLabel: "block_size", merge: .max),
            SignalSource(signal: .blocks, series: "vllm:cache_config_info", valueLabel: "num_gpu_blocks"),
            SignalSource(signal: .promptTokens, series: "vllm:prompt_tokens_total"),
            SignalSource(signal: .cachedPromptTokens, series: "vllm:prompt_tokens_cached_total"),
            SignalSource(signal: .cachedPromptTokens, series: "vllm:prefix_cache_hits_total"),
            SignalSource(signal: .generationTokens, series: "vllm:generation_tokens_total"),
            SignalSource(signal: .finished, series: "vllm:request_success_total"),
            SignalSource(signal: .ttftSum, series: "vllm:time_to_first_token_seconds_sum"),
            SignalSource(signal: .ttftCount, series: "vllm:time_to_first_token_seconds_count"),
            SignalSource(signal: .itlSum, series: "vllm:inter_token_latency_seconds_sum"),
            SignalSource(signal: .itlSum, series: "vllm:time_per_output_token_seconds_sum"),
            SignalSource(signal: .itlCount, series: "vllm:inter_token_latency_seconds_count"),
            SignalSource(signal: .itlCount, series: "vllm:time_per_output_token_seconds_count"),
        ]
    )

    /// Scheduler gauges repeat on every tensor-parallel rank, and once more per priority beside their total.
    static let sglang = MetricsProfile(
        kind: .sglang,
        sources: [
            SignalSource(signal: .running, series: "sglang:num_running_reqs", merge: .sumOfMax(over: "dp_rank")),
            SignalSource(signal: .waiting, series: "sglang:num_queue_reqs", merge: .sumOfMax(over: "dp_rank")),
            SignalSource(signal: .kvUse, series: "sglang:token_usage", merge: .max),
            SignalSource(signal: .seats, series: "sglang:max_running_requests", merge: .sumOfMax(over: "dp_rank")),
            SignalSource(
                signal: .blockSize,
                series: "sglang:cache_config_info",
                valueLabel: "page_size",
                merge: .max
            ),
            SignalSource(
                signal: .blocks,
                series: "sglang:cache_config_info",
                valueLabel: "num_pages",
                merge: .sumOfMax(over: "dp_rank")
            ),
            SignalSource(signal: .kvTokens, series: "sglang:max_total_num_tokens", merge: .sumOfMax(over: "dp_rank")),
            SignalSource(signal: .promptTokens, series: "sglang:prompt_tokens_total"),
            SignalSource(signal: .cachedPromptTokens, series: "sglang:cached_tokens_total"),
            SignalSource(signal: .generationTokens, series: "sglang:generation_tokens_total"),
            SignalSource(signal: .finished, series: "sglang:num_requests_total"),
            SignalSource(signal: .finished, series: "sglang:e2e_request_latency_seconds_count"),
            SignalSource(signal: .ttftSum, series: "sglang:time_to_first_token_seconds_sum"),
            SignalSource(signal: .ttftCount, series: "sglang:time_to_first_token_seconds_count"),
            SignalSource(signal: .itlSum, series: "sglang:inter_token_latency_seconds_sum"),
            SignalSource(signal: .itlSum, series: "sglang:time_per_output_token_seconds_sum"),
            SignalSource(signal: .itlCount, series: "sglang:inter_token_latency_seconds_count"),
            SignalSource(signal: .itlCount, series: "sglang:time_per_output_token_seconds_count"),
        ]
    )

    static let trtllm = MetricsProfile(
        kind: .trtllm,
        sources: [
            SignalSource(signal: .running, series: "trtllm_num_requests_running"),
            SignalSource(signal: .waiting, series: "trtllm_num_requests_waiting"),
            SignalSource(signal: .kvUse, series: "trtllm_kv_cache_utilization", merge: .max),
            SignalSource(signal: .seats, series: "trtllm_max_num_active_requests"),
            SignalSource(signal: .blockSize, series: "trtllm_kv_cache_tokens_per_block", merge: .max),
            SignalSource(signal: .blocks, series: "trtllm_kv_cache_max_blocks"),
            SignalSource(signal: .finished, series: "trtllm_num_requests_completed_total"),
            SignalSource(signal: .finished, series: "trtllm_request_success_total"),
            SignalSource(signal: .ttftSum, series: "trtllm_time_to_first_token_seconds_sum"),
            SignalSource(signal: .ttftCount, series: "trtllm_time_to_first_token_seconds_count"),
        ]
    )

    static let tritonTRTLLM = MetricsProfile(
        kind: .tritonTRTLLM,
        sources: [
            SignalSource(
                signal: .running,
                series: "nv_trt_llm_request_metrics",
                label: ("request_type", "scheduled")
            ),
            SignalSource(signal: .waiting, series: "nv_trt_llm_request_metrics", label: ("request_type", "waiting")),
            SignalSource(signal: .seats, series: "nv_trt_llm_request_metrics", label: ("request_type", "max")),
            SignalSource(
                signal: .kvUse,
                series: "nv_trt_llm_kv_cache_block_metrics",
                label: ("kv_cache_block_type", "fraction"),
                merge: .max
            ),
            SignalSource(
                signal: .blockSize,
                series: "nv_trt_llm_kv_cache_block_metrics",
                label: ("kv_cache_block_type", "tokens_per"),
                merge: .max
            ),
            SignalSource(
                signal: .blocks,
                series: "nv_trt_llm_kv_cache_block_metrics",
                label: ("kv_cache_block_type", "max")
            ),
            SignalSource(signal: .promptTokens, series: "nv_llm_input_token_len_sum"),
            SignalSource(signal: .generationTokens, series: "nv_llm_output_token_len_sum"),
            SignalSource(signal: .finished, series: "nv_llm_output_token_len_count"),
            SignalSource(signal: .ttftSum, series: "nv_inference_first_response_histogram_ms_sum", scale: 1e-3),
            SignalSource(signal: .ttftCount, series: "nv_inference_first_response_histogram_ms_count"),
        ]
    )

    /// `nv_inference_exec_count` counts executions since the start, so it is not the number running.
    static let triton = MetricsProfile(
        kind: .triton,
        sources: [
            SignalSource(signal: .waiting, series: "nv_inference_pending_request_count"),
            SignalSource(signal: .finished, series: "nv_inference_request_success"),
            SignalSource(signal: .busyTime, series: "nv_inference_compute_infer_duration_us", scale: 1e-6),
            SignalSource(signal: .ttftSum, series: "nv_inference_first_response_histogram_ms_sum", scale: 1e-3),
            SignalSource(signal: .ttftCount, series: "nv_inference_first_response_histogram_ms_count"),
        ]
    )

    /// The signals that a profile knows a source for.
    var signals: [EngineSignal] {
        EngineSignal.allCases.filter { signal in self.sources.contains { $0.signal == signal } }
    }
}
