package import ArgumentParser
import EngineModel
import Logging
import ProgramShell
import ServiceLifecycle

/// `isobar engine`: a simulated model server.
package struct EngineCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "engine",
        abstract: "Run a simulated model server: vLLM's HTTP interface and metrics, without a GPU.",
        discussion: """
            It answers /v1/models, /v1/completions, /v1/chat/completions, /health and /metrics. Answers are filler \
            text; their timing follows a step model of continuous batching on the chosen hardware.
            """
    )

    @Option(help: "The address to listen on.")
    package var host = EngineOptions.defaultHost

    @Option(help: "The port to listen on; 0 takes any free one.")
    package var port = EngineOptions.defaultPort

    @Option(help: ArgumentHelp("Write the bound port to this file once the server listens.", valueName: "file"))
    package var portFile: String?

    @Option(help: ArgumentHelp("The model's name in requests, answers and metrics.", valueName: "name"))
    package var model = EngineOptions.defaultModel

    @Option(
        help: ArgumentHelp(
            "The model size and hardware to imitate: \(EngineProfile.all.map(\.name).joined(separator: ", ")).",
            valueName: "name"
        )
    )
    package var profile = EngineOptions.defaultProfile

    @Option(help: ArgumentHelp("How many times as fast as that hardware to run.", valueName: "factor"))
    package var timeScale = 1.0

    @Option(help: ArgumentHelp("Requests that may run at once. (default: 256)", valueName: "count"))
    package var maxNumSeqs: Int?

    @Option(
        help: ArgumentHelp(
            "Tokens of prompt and answer together. (default: \(EngineOptions.defaultModelLength), or the KV cache's size)",
            valueName: "tokens"
        )
    )
    package var maxModelLen: Int?

    @Option(help: ArgumentHelp("The size of the KV cache. (default: the profile's)", valueName: "tokens"))
    package var kvTokens: Int?

    @Option(
        help: ArgumentHelp(
            "Append a JSON line here for each request with an x-request-id that is taken, begins and ends.",
            valueName: "file"
        )
    )
    package var requestLog: String?

    @OptionGroup var shell: RunOptions

    package init() {}

    package func validate() throws {
        do {
            _ = try self.options()
        } catch {
            throw ValidationError("\(error)")
        }
    }

    package func run() async throws {
        try await self.shell.run("engine") {
            [EngineServer(options: try self.options(), logger: Logger(label: "isobar.engine"))]
        }
    }

    func options() throws(InvalidEngineOption) -> EngineOptions {
        try EngineOptions(
            host: self.host,
            port: self.port,
            portFile: self.portFile,
            requestLog: self.requestLog,
            model: self.model,
            profile: self.profile,
            timeScale: self.timeScale,
            maxSequences: self.maxNumSeqs,
            maxModelLength: self.maxModelLen,
            kvTokens: self.kvTokens
        )
    }
}
