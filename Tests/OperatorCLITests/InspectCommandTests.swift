import ArgumentParser
import Foundation
import Testing

@testable import OperatorCLI

private let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("testenv/fixtures")

private func page(_ name: String) -> String { fixtures.appendingPathComponent(name).path }

private func report(_ arguments: [String]) async throws -> String {
    let command = try #require(try InspectCommand.parseAsRoot(arguments) as? InspectCommand)
    return try await command.report()
}

/// `isobar telemetry inspect`, from a page to what is printed.
@Suite struct `Inspecting a page` {
    private func json(_ arguments: [String]) async throws -> [String: Any] {
        let text = try await report(arguments + ["-o", "json"])
        return try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    @Test func `of a real vLLM under load says in JSON what was read, with these keys and no others`() async throws {
        let answer = try await self.json([page("vllm-0.32-under-load.prom")])
        #expect(
            answer.keys.sorted() == [
                "blockSize", "engine", "generationTokensTotal", "kvBlocks", "kvUse", "missing", "promptTokensTotal",
                "ranks", "running", "waiting",
            ]
        )
        #expect(answer["engine"] as? String == "vllm")
        #expect(answer["running"] as? Int == 105 && answer["waiting"] as? Int == 295)
        #expect(abs((answer["kvUse"] as? Double ?? 0) - 0.3057) < 1e-4)
        #expect(answer["kvBlocks"] as? Int == 4096 && answer["blockSize"] as? Int == 128)
        #expect(answer["promptTokensTotal"] as? Int == 146_780)
        #expect(answer["generationTokensTotal"] as? Int == 6297)
        #expect(answer["missing"] as? [String] == [])
        let ranks = try #require(answer["ranks"] as? [[String: Any]])
        #expect(ranks.count == 1 && ranks[0]["rank"] as? String == "0" && ranks[0]["running"] as? Int == 105)
    }

    @Test func `of an idle vLLM says zero, which is not unknown`() async throws {
        let answer = try await self.json([page("vllm-0.32-idle.prom"), "--engine", "vllm"])
        #expect(answer["running"] as? Int == 0 && answer["waiting"] as? Int == 0 && answer["kvUse"] as? Double == 0)
    }

    @Test(arguments: [
        ("vllm-0.6", "vllm", 4, 1, 0.25), ("vllm-two-ranks", "vllm", 64, 9, 0.99), ("sglang", "sglang", 17, 3, 0.6),
        ("trtllm-serve", "trtllm-serve", 3, 1, 0.62), ("triton-trtllm", "triton-trtllm", 6, 2, 0.5),
    ])
    func `of each engine is told from its page`(
        name: String,
        engine: String,
        running: Int,
        waiting: Int,
        kvUse: Double
    ) async throws {
        let answer = try await self.json([page("constructed/\(name).prom")])
        #expect(answer["engine"] as? String == engine)
        #expect(answer["running"] as? Int == running && answer["waiting"] as? Int == waiting)
        #expect(answer["kvUse"] as? Double == kvUse)
    }

    @Test func `of plain Triton says null for what it does not know, and names it`() async throws {
        let answer = try await self.json([page("constructed/triton.prom")])
        #expect(answer["engine"] as? String == "triton" && answer["waiting"] as? Int == 4)
        #expect(answer["running"] is NSNull && answer["kvUse"] is NSNull)
        let missing = try #require(answer["missing"] as? [String])
        #expect(Set(missing).isSuperset(of: ["running", "kvUse", "kvBlocks", "blockSize", "promptTokensTotal"]))
    }

    @Test func `of an engine nobody knew goes by a profile in a file`() async throws {
        let answer = try await self.json([
            page("constructed/custom.prom"), "--engine", page("constructed/custom.yaml"),
        ])
        #expect(answer["engine"] as? String == "custom")
        #expect(answer["running"] as? Int == 12 && answer["waiting"] as? Int == 2)
        #expect((answer["ranks"] as? [Any])?.count == 2)
    }

    @Test func `says as a table which series each value came from, how old it is, and what is missing`() async throws {
        let words = try await report([page("constructed/vllm-0.6.prom")])
        let lines = words.split(separator: "\n").map { $0.split(separator: " ", omittingEmptySubsequences: true) }
        let kvUse = try #require(lines.first { $0.first == "kvUse" })
        #expect(kvUse[1] == "0.25" && kvUse.last == "vllm:gpu_cache_usage_perc")
        #expect(Double(kvUse[2]) != nil, "an age: \(kvUse)")
        #expect(words.contains("not on the page, or no number: vllm:prompt_tokens_cached_total, vllm:prefix_cache"))
        #expect(words.hasSuffix("missing: cachedPromptTokensTotal, failedTotal"))
        let ranks = try await report([page("constructed/vllm-two-ranks.prom")])
        #expect(ranks.contains("RANK  RUNNING  WAITING"))
        let adapters = try await report([page("constructed/vllm-lora.prom")])
        #expect(adapters.contains("chat,sql") && adapters.contains("loraMax"))
    }

    @Test(arguments: [
        (["/nonexistent.prom"], 66, "cannot read /nonexistent.prom"),
        ([page("README.md")], 65, "no series of vllm, sglang, trtllm-serve, triton-trtllm, triton"),
        ([page("vllm-0.32-idle.prom"), "--engine", "sglang"], 65, "no series of sglang; is it another engine?"),
        ([page("vllm-0.32-idle.prom"), "--engine", "gpt"], 64, "--engine gpt: neither a known engine nor a file"),
        ([page("vllm-0.32-idle.prom"), "--engine", page("README.md")], 65, "README.md"),
        (["http://127.0.0.1:1"], 69, "http://127.0.0.1:1/metrics: no connection; check that the server runs"),
        (["http://"], 64, "http:// is no URL"),
    ])
    func `that cannot be read fails with the reason, the fix, and a code of its own`(
        arguments: [String],
        code: Int,
        reason: String
    ) async throws {
        let failure = await #expect(throws: InspectCommand.Failure.self) { try await report(arguments) }
        #expect(failure?.code == Int32(code))
        #expect(failure?.reason.contains(reason) == true, "\(failure?.reason ?? "")")
    }
}
