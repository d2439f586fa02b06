package import EngineModel

/// Why a simulated engine cannot be set up so; it names the option and what would be accepted.
package struct InvalidEngineOption: Error, Hashable, CustomStringConvertible {
    /// The option as it stands on the command line, such as `--port`.
    package let option: String
    package let rule: String

    package var description: String { "\(self.option) \(self.rule)" }
}

/// How one simulated model server is set up.
package struct EngineOptions: Sendable {
    package static let defaultHost = "127.0.0.1"
    package static let defaultPort = 8_000
    package static let defaultModel = "isobar-sim"
    package static let defaultProfile = "8b-h100"
    package static let defaultModelLength = 32_768

    package let host: String
    /// 0 takes any free port.
    package let port: Int
    /// A file that will hold the bound port once the server listens.
    package let portFile: String?
    /// A file to which a line is appended for every request with an `x-request-id` that is taken, begins and ends.
    package let requestLog: String?
    /// The model's name in requests, answers and metrics.
    package let model: String
    /// Hardware, limits and speed of the engine; all its times are already divided by the time scale.
    package let profile: EngineProfile
    /// Prompt and answer of one request together, in tokens.
    package let maxModelLength: Int

    /// Checks a set-up from outside.
    ///
    /// `timeScale` is how many times as fast as the real hardware the engine runs. Limits that are `nil` are the
    /// profile's; the model length is then 32,768, or the KV cache's size if that is less.
    ///
    /// - Throws: ``InvalidEngineOption`` for the first option that makes no sense.
    package init(
        host: String = Self.defaultHost,
        port: Int = Self.defaultPort,
        portFile: String? = nil,
        requestLog: String? = nil,
        model: String = Self.defaultModel,
        profile profileName: String = Self.defaultProfile,
        timeScale: Double = 1,
        maxSequences: Int? = nil,
        maxModelLength: Int? = nil,
        kvTokens: Int? = nil
    ) throws(InvalidEngineOption) {
        func check(_ isValid: Bool, _ option: String, _ rule: String) throws(InvalidEngineOption) {
            guard isValid else { throw InvalidEngineOption(option: option, rule: rule) }
        }
        var profile: EngineProfile
        do {
            profile = try EngineProfile(named: profileName)
        } catch {
            throw InvalidEngineOption(option: "--profile", rule: "is wrong: \(error)")
        }
        try check(!host.isEmpty, "--host", "must not be empty")
        try check((0...65_535).contains(port), "--port", "must be from 0 (any free port) to 65535, not \(port)")
        try check(portFile != "", "--port-file", "must name a file")
        try check(requestLog != "", "--request-log", "must name a file")
        try check(!model.isEmpty, "--model", "must not be empty")
        try check(
            timeScale > 0 && timeScale.isFinite,
            "--time-scale",
            "must be above 0 (2 runs twice as fast as the hardware), not \(timeScale)"
        )
        profile = profile.faster(by: timeScale)
        if let kvTokens {
            let block = profile.blockTokens
            try check(kvTokens >= block, "--kv-tokens", "must be at least one block of \(block), not \(kvTokens)")
            profile.kvTokens = kvTokens
        }
        if let maxSequences {
            try check(maxSequences >= 1, "--max-num-seqs", "must be at least 1, not \(maxSequences)")
            profile.maxSequences = maxSequences
        }
        let room = profile.kvBlocks * profile.blockTokens
        let length = maxModelLength ?? min(Self.defaultModelLength, room)
        try check(
            (2...room).contains(length),
            "--max-model-len",
            "must be from 2 to the \(room) tokens of the KV cache, not \(length)"
        )
        self.host = host
        self.port = port
        self.portFile = portFile
        self.requestLog = requestLog
        self.model = model
        self.profile = profile
        self.maxModelLength = length
    }
}
