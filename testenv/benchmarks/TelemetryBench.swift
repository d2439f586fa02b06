import ArgumentParser
import EngineSignals
import Exposition
import Foundation

/// How fast the metrics page of a real vLLM is read on one core.
///
/// Beside it stand the limit, a scan of the same bytes for the ends of their lines and nothing else, and what most
/// read such pages with, the parser of Python's `prometheus_client`. All are measured in one run, in turns, so that the
/// ratios hold whatever the machine does.
struct TelemetryBench: ParsableCommand, Bench {
    static let name = "telemetry"
    static let configuration = CommandConfiguration(
        commandName: "telemetry",
        abstract: "The reader of metrics pages: MB/s beside a newline scan and Python's parser."
    )

    @Option(help: ArgumentHelp("The page.", valueName: "file"))
    var page = "testenv/fixtures/vllm-0.32-under-load.prom"

    @Option(help: ArgumentHelp("A Python that has prometheus_client; without it, it is left out.", valueName: "file"))
    var python: String?

    /// What an agent asks of a vLLM page, as the bare reader gets it.
    private static let wanted = [
        "vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc",
        "vllm:cache_config_info", "vllm:prompt_tokens_total", "vllm:generation_tokens_total",
        "vllm:request_success_total", "vllm:time_to_first_token_seconds_sum",
        "vllm:time_to_first_token_seconds_count", "vllm:inter_token_latency_seconds_sum",
        "vllm:inter_token_latency_seconds_count",
    ]

    func run() throws {
        guard FileManager.default.contents(atPath: self.page) != nil else {
            throw ValidationError("cannot read \(self.page): run it in the folder of the repository")
        }
        self.report()
    }

    func measure() -> [Figure] {
        let page = Array(FileManager.default.contents(atPath: self.page) ?? Data())
        let megabytes = Double(page.count) / 1e6
        let reader = ExpositionReader(series: Self.wanted)
        let engines = EngineReader()
        var lines = 0
        var samples = 0
        var running = 0
        // A page takes microseconds: many of them make one measurement, and the measurements take turns, for some
        // seconds: what else the processor does changes how well it foresees the branches.
        let pages = 200
        var times: (scan: [Double], read: [Double], engine: [Double]) = ([], [], [])
        for _ in 0..<401 {
            times.scan.append(Stopwatch.median(of: 1) { for _ in 0..<pages { lines += Self.lines(of: page) } })
            times.read.append(
                Stopwatch.median(of: 1) {
                    for _ in 0..<pages { samples += (try? reader.read(page) { _ in })?.samples ?? 0 }
                }
            )
            times.engine.append(
                Stopwatch.median(of: 1) { for _ in 0..<pages { running += (try? engines.read(page))?.running ?? 0 } }
            )
        }
        precondition(lines > 0 && samples > 0 && running > 0, "nothing was read: \(lines) \(samples) \(running)")
        func speed(_ times: [Double]) -> Double { megabytes * Double(pages) / (times.sorted()[times.count / 2] / 1000) }
        let scan = speed(times.scan)
        let read = speed(times.read)
        let engine = speed(times.engine)
        var figures = [
            Figure(figure: "newline scan", value: scan, unit: "MB/s"),
            Figure(
                figure: "reader, the series of one engine",
                value: read,
                unit: "MB/s",
                goal: 1000,
                isMoreBetter: true
            ),
            Figure(figure: "newline scan over reader", value: scan / read, unit: "times", goal: 3),
            Figure(figure: "page to reading, engine told from the page", value: engine, unit: "MB/s"),
            Figure(
                figure: "page to reading, engine told from the page",
                value: megabytes / engine * 1e6,
                unit: "µs a page"
            ),
        ]
        figures += self.allocations(of: reader, page)
        if let python = self.pythonSpeed() {
            figures.append(Figure(figure: "Python prometheus_client", value: python, unit: "MB/s"))
            figures.append(Figure(figure: "reader over prometheus_client", value: read / python, unit: "times"))
        }
        return figures
    }

    /// How often the reader asks for memory on the page, and on one with ten times its lines that nobody asked for.
    private func allocations(of reader: ExpositionReader, _ page: [UInt8]) -> [Figure] {
        let lines = page.split(separator: UInt8(ascii: "\n")).map { Array($0) + [UInt8(ascii: "\n")] }
        let skipped = lines.filter { line in (try? reader.read(line) { _ in })?.samples == 0 }
        let long = page + Array(repeating: skipped.joined(), count: 9).joined()
        let samples = [page, long].map { (try? reader.read($0) { _ in })?.samples }
        precondition(samples[0] == samples[1] && !skipped.isEmpty, "the long page has other samples: \(samples)")
        guard let few = Allocations.count({ _ = try? reader.read(page) { _ in } }),
            let many = Allocations.count({ _ = try? reader.read(long) { _ in } })
        else { return [] }
        return [
            Figure(figure: "allocations, a page with \(skipped.count) skipped lines", value: Double(few), unit: ""),
            Figure(
                figure: "the same samples among \(10 * skipped.count) skipped lines",
                value: Double(many),
                unit: "",
                goal: Double(few)
            ),
        ]
    }

    /// How many lines there are.
    private static func lines(of page: [UInt8]) -> Int {
        page.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return 0 }
            var lines = 0
            var offset = 0
            while offset < bytes.count, let found = memchr(base + offset, 10, bytes.count - offset) {
                lines += 1
                offset = UnsafeRawPointer(found) - base + 1
            }
            return lines
        }
    }

    /// MB/s of the parser of `prometheus_client` on the same page and core.
    private func pythonSpeed() -> Double? {
        guard let python = self.python else { return nil }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: python)
        process.arguments = ["testenv/prometheus-client-speed", self.page]
        // Nobody counts its allocations.
        process.environment = ProcessInfo.processInfo.environment.filter { $0.key != "LD_PRELOAD" }
        let output = Pipe()
        process.standardOutput = output
        guard (try? process.run()) != nil, let answer = try? output.fileHandleForReading.readToEnd() else { return nil }
        process.waitUntilExit()
        return Double(String(decoding: answer, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines))
    }
}
