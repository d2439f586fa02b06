package import ArgumentParser
import AsyncHTTPClient
import ConfigurationFiles
import EngineScraping
import EngineSignals
import Foundation

/// `isobar telemetry`: what agents see.
package struct TelemetryCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "telemetry",
        abstract: "Look at a model server as an agent does.",
        subcommands: [InspectCommand.self]
    )

    package init() {}
}

/// `isobar telemetry inspect`: one metrics page, as an agent reads it.
struct InspectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract:
            "Read one metrics page, and say what was read, from which series, how old it is, and what is missing.",
        discussion: """
            The page is fetched from a URL, or read from a file, or with - from standard input. A URL without a path \
            gets the engine's own: /metrics, or /prometheus/metrics for trtllm-serve.

            An engine that is not built in is described by a YAML file; a selector is name or name{label=value}:
              name: acme
              rankLabel: rank                        # tells data-parallel ranks apart
              running: acme_requests{state=running}  # running or waiting is required
              waiting: acme_requests{state=queued}
              kvUse: acme_cache_use                  # 0 to 1
            Further: metricsPath, seats, blockSize, kvBlocks, kvTokens, promptTokens, cachedPromptTokens, \
            generationTokens, finished, failed, ttft and itl (histograms in seconds), loraInfo.
            """
    )

    enum Output: String, ExpressibleByArgument, CaseIterable {
        case json, table
    }

    /// Longer than an agent waits: a person wants to see a slow page as well.
    private static let deadline = Duration.seconds(10)

    @Argument(help: ArgumentHelp("The page.", valueName: "url|file"))
    var source: String

    @Option(
        name: .long,
        help: ArgumentHelp(
            "auto, vllm, sglang, trtllm-serve, triton-trtllm, triton, or a YAML file with a profile.",
            valueName: "engine"
        )
    )
    var engine = "auto"

    @Option(name: .shortAndLong, help: "json, or a table to read.")
    var output = Output.table

    /// Exit code 65 says that the page or the profile is at fault, 66 that there is no such file, 69 that the URL gave
    /// no page.
    func run() async throws {
        do {
            print(try await self.report())
        } catch {
            FileHandle.standardError.write(Data("isobar telemetry inspect: \(error.reason)\n".utf8))
            throw ExitCode(error.code)
        }
    }

    /// Why there is nothing to show.
    struct Failure: Error {
        var reason: String
        var code: Int32
    }

    /// What is printed.
    func report() async throws(Failure) -> String {
        let profiles = try self.profiles()
        let isURL = self.source.hasPrefix("http://") || self.source.hasPrefix("https://")
        let report = isURL ? try await self.fetched(profiles) : try self.stored(profiles)
        switch self.output {
        case .table: return report.table
        case .json:
            do {
                return try report.json()
            } catch {
                throw Failure(reason: "\(error)", code: 1)
            }
        }
    }

    private func profiles() throws(Failure) -> [MetricsProfile] {
        if self.engine == "auto" { return MetricsProfile.builtIn }
        if let profile = MetricsProfile.builtIn.first(where: { $0.name == self.engine }) { return [profile] }
        guard FileManager.default.fileExists(atPath: self.engine) else {
            throw Failure(
                reason: "--engine \(self.engine): neither a known engine nor a file; use "
                    + "\(MetricsProfile.names(with: []).joined(separator: ", ")), or a YAML file with a profile",
                code: 64
            )
        }
        do {
            return [try MetricsProfile(file: self.engine)]
        } catch {
            throw Failure(reason: "\(error)", code: 65)
        }
    }

    private func stored(_ profiles: [MetricsProfile]) throws(Failure) -> InspectionReport {
        let file = URL(fileURLWithPath: self.source)
        let page: Data
        let written: Date?
        do {
            page =
                self.source == "-"
                ? try FileHandle.standardInput.readToEnd() ?? Data() : try Data(contentsOf: file)
            written =
                self.source == "-"
                ? nil
                : try file.resourceValues(forKeys: [.contentModificationDateKey])
                    .contentModificationDate
        } catch {
            throw Failure(
                reason: "cannot read \(self.source): give a file that can be read, or a URL that begins with http://",
                code: 66
            )
        }
        do {
            let trace = try EngineReader(profiles: profiles).trace(Array(page))
            return InspectionReport(trace: trace, source: self.source, takenAt: written)
        } catch {
            throw self.failure(error, of: self.source, profiles)
        }
    }

    private func fetched(_ profiles: [MetricsProfile]) async throws(Failure) -> InspectionReport {
        guard let url = URL(string: self.source), url.host != nil else {
            throw Failure(reason: "\(self.source) is no URL; use http://host:port or http://host:port/path", code: 64)
        }
        let base = self.source.hasSuffix("/") ? String(self.source.dropLast()) : self.source
        var paths: [String] = []
        if url.path.isEmpty || url.path == "/" {
            for profile in profiles where !paths.contains(profile.metricsPath) { paths.append(profile.metricsPath) }
        }
        let urls = paths.isEmpty ? [self.source] : paths.map { base + $0 }

        let client = HTTPClient(configuration: EngineScraper.clientConfiguration)
        let scraper = EngineScraper(client: client, profiles: profiles, deadline: Self.deadline)
        var failure: Failure?
        var report: InspectionReport?
        for url in urls {
            let asked = Date()
            switch await scraper.trace(url) {
            case .success(let trace): report = InspectionReport(trace: trace, source: url, takenAt: asked)
            case .failure(let fault):
                // The first path is the usual one; what it answered says most.
                failure = failure ?? self.failure(fault, of: url, profiles)
                if [.refused, .timeout].contains(fault) { break }
                continue
            }
            break
        }
        // A client that does not shut down has no more to say than what it fetched.
        try? await client.shutdown()
        if let report { return report }
        throw failure ?? Failure(reason: "\(self.source): not read", code: 69)
    }

    private func failure(_ fault: ScrapeFault, of page: String, _ profiles: [MetricsProfile]) -> Failure {
        let advice =
            switch fault {
            case .refused: "check that the server runs, and listens there"
            case .timeout: "it hangs, or has too much to do; look at its log"
            case .status: "add the path of its metrics to the URL, or name the engine with --engine"
            case .tooLarge, .unreadable: "check that the address is a model server's"
            case .noKnownSeries, .noLoad:
                profiles.count == 1
                    ? "is it another engine? --engine auto tells"
                    : "describe the engine in a YAML file for --engine; isobar help telemetry inspect shows one"
            }
        let isPage = fault == .noKnownSeries || fault == .tooLarge
        let what = fault == .noKnownSeries ? "no series of \(profiles.map(\.name).joined(separator: ", "))" : "\(fault)"
        return Failure(reason: "\(page): \(what); \(advice)", code: isPage ? 65 : 69)
    }
}
