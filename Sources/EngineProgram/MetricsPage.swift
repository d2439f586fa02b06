import EngineModel
import Exposition

/// The `/metrics` page: the families of vLLM 0.32 that this engine has something to say in.
struct MetricsPage: Sendable {
    let model: String
    let profile: EngineProfile

    func text(_ metrics: EngineMetrics) -> String {
        var page = VLLMWriter(labels: [("engine", "0"), ("model_name", self.model)])
        self.writeGauges(metrics, &page)
        self.writeCounters(metrics, &page)
        self.writeHistograms(metrics, &page)
        return page.writer.text
    }

    private func writeGauges(_ metrics: EngineMetrics, _ page: inout VLLMWriter) {
        page.number("num_requests_running", .gauge, "Number of requests in model execution batches.", metrics.running)
        page.number("num_requests_waiting", .gauge, "Number of requests waiting to be processed.", metrics.waiting)
        page.numbers(
            "num_requests_waiting_by_reason",
            .gauge,
            """
            Number of waiting requests by reason. Reason labels: 'capacity' = waiting for scheduling capacity; \
            'deferred' = deferred by transient constraints (LoRA budget, KV transfer, blocked status). \
            Sum of all reasons equals vllm:num_requests_waiting.
            """,
            by: "reason",
            [("capacity", metrics.waiting), ("deferred", 0)]
        )
        page.number("kv_cache_usage_perc", .gauge, "KV-cache usage. 1 means 100 percent usage.", metrics.kvUse)
        page.writer.family("vllm:cache_config_info", .gauge, help: "Information of the LLMEngine CacheConfig")
        page.writer.sample(
            "vllm:cache_config_info",
            [
                ("block_size", "\(self.profile.blockTokens)"), ("enable_prefix_caching", "True"), ("engine", "0"),
                ("kv_cache_size_tokens", "\(self.profile.kvBlocks * self.profile.blockTokens)"),
                ("num_gpu_blocks", "\(self.profile.kvBlocks)"),
            ],
            1
        )
    }

    private func writeCounters(_ metrics: EngineMetrics, _ page: inout VLLMWriter) {
        page.number(
            "prefix_cache_queries_total",
            .counter,
            "Prefix cache queries, in terms of number of queried tokens.",
            metrics.prefixQueriedTokens
        )
        page.number(
            "prefix_cache_hits_total",
            .counter,
            "Prefix cache hits, in terms of number of cached tokens.",
            metrics.prefixHitTokens
        )
        page.number(
            "num_preemptions_total",
            .counter,
            "Cumulative number of preemption from the engine.",
            metrics.preemptions
        )
        page.number("prompt_tokens_total", .counter, "Number of prefill tokens processed.", metrics.promptTokens)
        page.numbers(
            "prompt_tokens_by_source_total",
            .counter,
            "Number of prompt tokens by source.",
            by: "source",
            [
                ("local_compute", metrics.promptTokens - metrics.cachedPromptTokens),
                ("local_cache_hit", metrics.cachedPromptTokens), ("external_kv_transfer", 0),
            ]
        )
        page.number(
            "prompt_tokens_cached_total",
            .counter,
            "Number of cached prompt tokens (local + external).",
            metrics.cachedPromptTokens
        )
        page.number(
            "generation_tokens_total",
            .counter,
            "Number of generation tokens processed.",
            metrics.generationTokens
        )
        page.numbers(
            "request_success_total",
            .counter,
            "Count of successfully processed requests.",
            by: "finished_reason",
            EngineFinish.allCases.map { ($0.rawValue, metrics.finished[$0] ?? 0) } + [("error", 0), ("repetition", 0)]
        )
    }

    private func writeHistograms(_ metrics: EngineMetrics, _ page: inout VLLMWriter) {
        let histograms: [(name: String, help: String, values: MetricHistogram)] = [
            ("request_prompt_tokens", "Number of prefill tokens processed.", metrics.requestPromptTokens),
            ("request_generation_tokens", "Number of generation tokens processed.", metrics.requestGenerationTokens),
            ("iteration_tokens_total", "Histogram of number of tokens per engine_step.", metrics.iterationTokens),
            ("time_to_first_token_seconds", "Histogram of time to first token in seconds.", metrics.timeToFirstToken),
            ("inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", metrics.interTokenLatency),
            (
                "request_time_per_output_token_seconds",
                "Histogram of time_per_output_token_seconds per request.", metrics.timePerOutputToken
            ),
            ("e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", metrics.endToEnd),
            (
                "request_queue_time_seconds", "Histogram of time spent in WAITING phase for request.",
                metrics.queueTime
            ),
            (
                "request_inference_time_seconds", "Histogram of time spent in RUNNING phase for request.",
                metrics.inferenceTime
            ),
            (
                "request_prefill_time_seconds", "Histogram of time spent in PREFILL phase for request.",
                metrics.prefillTime
            ),
            (
                "request_decode_time_seconds", "Histogram of time spent in DECODE phase for request.",
                metrics.decodeTime
            ),
            (
                "request_num_preemptions", "Histogram of the number of times a request was preempted.",
                metrics.requestPreemptions
            ),
            (
                "request_prefill_kv_computed_tokens",
                "Histogram of new KV tokens computed during prefill (excluding cached tokens).",
                metrics.requestComputedTokens
            ),
        ]
        for histogram in histograms {
            page.writer.family("vllm:\(histogram.name)", .histogram, help: histogram.help)
            page.writer.histogram("vllm:\(histogram.name)", page.labels, histogram.values)
        }
    }
}

/// Writes families with vLLM's prefix and its two common labels.
private struct VLLMWriter {
    var writer = ExpositionWriter()
    let labels: [(String, String)]

    init(labels: [(String, String)]) { self.labels = labels }

    mutating func number(_ name: String, _ kind: MetricKind, _ help: String, _ value: Int) {
        self.number(name, kind, help, Double(value))
    }

    mutating func number(_ name: String, _ kind: MetricKind, _ help: String, _ value: Double) {
        self.writer.family("vllm:\(name)", kind, help: help)
        self.writer.sample("vllm:\(name)", self.labels, value)
    }

    mutating func numbers(
        _ name: String,
        _ kind: MetricKind,
        _ help: String,
        by label: String,
        _ values: [(String, Int)]
    ) {
        self.writer.family("vllm:\(name)", kind, help: help)
        for (content, value) in values {
            self.writer.sample("vllm:\(name)", self.labels + [(label, content)], Double(value))
        }
    }
}
