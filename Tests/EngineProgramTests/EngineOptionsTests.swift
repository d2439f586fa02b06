import ArgumentParser
import EngineModel
import EngineProgram
import Testing

@Suite struct `The engine's command` {
    @Test func `has a default for everything`() throws {
        let command = try EngineCommand.parse([])
        #expect(command.host == "127.0.0.1" && command.port == 8_000 && command.profile == "8b-h100")
        let options = try EngineOptions()
        #expect(options.maxModelLength == 32_768)
        #expect(options.profile == (try EngineProfile(named: "8b-h100")))
    }

    @Test func `makes its times shorter with the time scale, and its limits as asked`() throws {
        let options = try EngineOptions(timeScale: 4, maxSequences: 8, kvTokens: 1_000)
        #expect(options.profile.apiOverhead == 0.0015)
        #expect(options.profile.maxSequences == 8)
        #expect(options.profile.kvBlocks == 62)
        #expect(options.maxModelLength == 992)
    }

    @Test(
        arguments: [
            (["--profile", "9b"], "--profile is wrong: profile \"9b\" is not known: use one of 8b-h100"),
            (["--port", "70000"], "--port must be from 0 (any free port) to 65535, not 70000"),
            (["--time-scale", "0"], "--time-scale must be above 0"),
            (["--max-num-seqs", "0"], "--max-num-seqs must be at least 1, not 0"),
            (["--kv-tokens", "8"], "--kv-tokens must be at least one block of 16, not 8"),
            (["--kv-tokens", "1600", "--max-model-len", "2000"], "--max-model-len must be from 2 to the 1600 tokens"),
            (["--model", ""], "--model must not be empty"),
        ]
    )
    func `refuses a value that makes no sense, names its option and exits with 64`(
        arguments: [String],
        words: String
    ) {
        let error = #expect(throws: (any Error).self) { try EngineCommand.parse(arguments) }
        guard let error else { return }
        #expect(EngineCommand.message(for: error).hasPrefix(words))
        #expect(EngineCommand.exitCode(for: error).rawValue == 64)
    }
}
