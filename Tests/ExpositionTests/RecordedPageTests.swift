import Foundation
import Testing

@testable import Exposition

private let wanted = [
    "vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc", "vllm:cache_config_info",
    "vllm:prompt_tokens_total", "vllm:generation_tokens_total", "vllm:request_success_total",
    "vllm:time_to_first_token_seconds_sum", "vllm:time_to_first_token_seconds_count",
    "vllm:inter_token_latency_seconds_sum", "vllm:inter_token_latency_seconds_count",
]

func page(_ name: String) throws -> [UInt8] {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    return Array(try Data(contentsOf: root.appendingPathComponent("testenv/fixtures/\(name).prom")))
}

@Suite("Recorded pages of vLLM 0.32")
struct RecordedPageTests {
    @Test("under load, every wanted series is read with its value")
    func underLoad() throws {
        var values: [String: Double] = [:]
        var blockSize: String?
        let tally = try ExpositionReader(series: wanted).read(try page("vllm-0.32-under-load")) { sample in
            values[wanted[sample.series], default: 0] += sample.value
            blockSize = sample.label("block_size") ?? blockSize
        }
        #expect(tally == ExpositionTally(samples: 15))
        #expect(blockSize == "128")
        #expect(
            values == [
                "vllm:num_requests_running": 105, "vllm:num_requests_waiting": 295,
                "vllm:kv_cache_usage_perc": 0.30573870573870576, "vllm:cache_config_info": 1,
                "vllm:prompt_tokens_total": 146_780, "vllm:generation_tokens_total": 6297,
                "vllm:request_success_total": 7, "vllm:time_to_first_token_seconds_sum": 556.9496827125549,
                "vllm:time_to_first_token_seconds_count": 111,
                "vllm:inter_token_latency_seconds_sum": 710.5922325270108,
                "vllm:inter_token_latency_seconds_count": 6186,
            ]
        )
    }

    @Test("a page of 10 MiB is read whole, and one that is longer is refused")
    func largePage() throws {
        let line = Array("vllm:num_requests_running_bucket{engine=\"0\",le=\"0.5\",model_name=\"tiny\"} 17.0\n".utf8)
        var page: [UInt8] = []
        while page.count < (10 << 20) - 200 { page += line }
        page += Array("vllm:num_requests_running{engine=\"0\"} 5".utf8)
        var found = 0.0
        let tally = try ExpositionReader(series: wanted).read(page) { found = $0.value }
        #expect(tally == ExpositionTally(samples: 1))
        #expect(found == 5)
        // One byte over 10 MiB is too many.
        page += Array(repeating: UInt8(ascii: "\n"), count: (10 << 20) + 1 - page.count)
        #expect(throws: ExpositionFault.tooLarge(bytes: (10 << 20) + 1, limit: 10 << 20)) {
            try ExpositionReader(series: wanted).read(page) { _ in }
        }
    }
}
