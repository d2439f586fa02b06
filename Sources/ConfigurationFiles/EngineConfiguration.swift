package import EngineSignals

extension MetricsProfile {
    /// Reads the profile of an engine that is not built in from a file of its own.
    ///
    /// - Throws: ``ConfigurationError`` when the file is no such profile.
    package init(file: String) throws(ConfigurationError) {
        var fields = try YAMLFields(file: file)
        self = try MetricsProfile(fields: &fields)
        try fields.finish()
    }

    /// Reads the profile of an engine that is not built in from the fields of a mapping.
    ///
    /// - Throws: ``ConfigurationError`` for a name that is taken, and without a series of running or waiting requests,
    ///   by which the engine is known.
    package init(fields: inout YAMLFields) throws(ConfigurationError) {
        let name = try fields.required("name") { try Self.name($0) }
        let path = try fields.optional("metricsPath") { try Self.path($0) }
        let rankLabel = try fields.optional("rankLabel") { try Self.label($0) }
        var signals: [EngineSignal: SeriesSelector] = [:]
        signals[.running] = try fields.optional("running") { try SeriesSelector($0) }
        signals[.waiting] = try fields.optional("waiting") { try SeriesSelector($0) }
        signals[.kvUse] = try fields.optional("kvUse") { try SeriesSelector($0) }
        signals[.seats] = try fields.optional("seats") { try SeriesSelector($0) }
        signals[.blockSize] = try fields.optional("blockSize") { try SeriesSelector($0) }
        signals[.blocks] = try fields.optional("kvBlocks") { try SeriesSelector($0) }
        signals[.kvTokens] = try fields.optional("kvTokens") { try SeriesSelector($0) }
        signals[.promptTokens] = try fields.optional("promptTokens") { try SeriesSelector($0) }
        signals[.cachedPromptTokens] = try fields.optional("cachedPromptTokens") { try SeriesSelector($0) }
        signals[.generationTokens] = try fields.optional("generationTokens") { try SeriesSelector($0) }
        signals[.finished] = try fields.optional("finished") { try SeriesSelector($0) }
        signals[.failed] = try fields.optional("failed") { try SeriesSelector($0) }
        let ttft = try fields.optional("ttft") { try SeriesSelector($0) }
        signals[.ttftSum] = ttft?.suffixed("_sum")
        signals[.ttftCount] = ttft?.suffixed("_count")
        let itl = try fields.optional("itl") { try SeriesSelector($0) }
        signals[.itlSum] = itl?.suffixed("_sum")
        signals[.itlCount] = itl?.suffixed("_count")
        let adapters = try fields.optional("loraInfo") { try SeriesSelector($0) }
        guard signals[.running] != nil || signals[.waiting] != nil else {
            throw fields.error(
                "running",
                "is missing, and so is `waiting`; name at least one, the engine is known by it"
            )
        }
        self.init(
            custom: name,
            metricsPath: path ?? "/metrics",
            rankLabel: rankLabel,
            signals: signals,
            adapters: adapters
        )
    }

    /// The names that settings may say: `auto`, the built-in engines, and those of `own` profiles.
    package static func names(with own: [MetricsProfile]) -> [String] {
        ["auto"] + (Self.builtIn + own).map(\.name)
    }

    private static func name(_ text: String) throws -> String {
        guard !text.isEmpty, text.allSatisfy({ $0.isLetter || $0.isNumber || "-._".contains($0) }) else {
            throw Refused("\"\(text)\" is not valid: use letters, digits, dots, hyphens and underscores")
        }
        guard text != EngineKind.custom.rawValue, !Self.names(with: []).contains(text) else {
            throw Refused("\"\(text)\" is taken; choose another name")
        }
        return text
    }

    private static func path(_ text: String) throws -> String {
        guard text.hasPrefix("/") else {
            throw Refused("\"\(text)\" is not valid: use a path that begins with /, as in /metrics")
        }
        return text
    }

    private static func label(_ text: String) throws -> String {
        guard !text.isEmpty, text.allSatisfy({ $0 == "_" || $0.isLetter || $0.isNumber }) else {
            throw Refused("\"\(text)\" is not valid: use the name of a label")
        }
        return text
    }

    private struct Refused: Error, CustomStringConvertible {
        let description: String

        init(_ description: String) { self.description = description }
    }
}
