import EngineProgram
import Foundation
import Testing

/// A page reduced to what must be equal between two servers: families and label sets, without values.
private struct PageShape {
    /// `# HELP` and `# TYPE` lines.
    var families: Set<Substring> = []
    /// Sample lines without their value.
    var series: Set<String> = []

    init(_ page: String) {
        for line in page.split(separator: "\n") {
            if line.hasPrefix("#") {
                self.families.insert(line)
            } else if let space = line.lastIndex(of: " ") {
                self.series.insert(Self.sorted(line[..<space]))
            }
        }
    }

    /// Labels in the order of their names; none of these pages has a comma or brace inside a label.
    private static func sorted(_ series: Substring) -> String {
        let parts = series.split(whereSeparator: { "{}".contains($0) })
        guard parts.count == 2 else { return String(series) }
        return "\(parts[0]){\(parts[1].split(separator: ",").sorted().joined(separator: ","))}"
    }
}

@Suite(.timeLimit(.minutes(1))) struct `The engine's metrics` {
    @Test func `have the names, kinds, labels and buckets of vLLM`() async throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let file = root.appending(path: "testenv/engines/vllm-0.32-extract.prom")
        let real = PageShape(try String(contentsOf: file, encoding: .utf8))
        try await withEngine(EngineOptions(port: 0, model: "tiny")) { engine in
            let ours = PageShape(try await engine.get("/metrics").text)
            #expect(ours.families == real.families)
            // The cache's set-up is a label set of vLLM's own making; the labels that routers read must be there.
            let isSetUp = { (series: String) in series.hasPrefix("vllm:cache_config_info{") }
            #expect(ours.series.filter { !isSetUp($0) } == real.series.filter { !isSetUp($0) })
            let setUp = try #require(ours.series.first(where: isSetUp))
            #expect(setUp.contains(#"block_size="16""#) && setUp.contains(#"num_gpu_blocks="26312""#))
        }
    }

    @Test func `count what was done`() async throws {
        try await withEngine(EngineOptions(port: 0, model: "tiny", timeScale: 50)) { engine in
            let prompt = String(repeating: "abcd", count: 100)
            for _ in 1...2 {
                let answer = try await engine.post("/v1/completions", #"{"prompt":"\#(prompt)","max_tokens":7}"#)
                #expect(answer.status == 200)
            }
            #expect(try await engine.metric("prompt_tokens_total") == 200)
            #expect(try await engine.metric("generation_tokens_total") == 14)
            #expect(try await engine.metric("prefix_cache_queries_total") == 200)
            #expect(try await engine.metric("prefix_cache_hits_total") == 96)
            #expect(try await engine.metric("request_success_total", label: "length") == 2)
            #expect(try await engine.metric("time_to_first_token_seconds_count") == 2)
            #expect(try await engine.metric("inter_token_latency_seconds_count") == 12)
            #expect(try await engine.metric("num_requests_running") == 0)
            #expect(try await engine.metric("kv_cache_usage_perc") == 0)
        }
    }
}
