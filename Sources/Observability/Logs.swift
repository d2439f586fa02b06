import Foundation
package import Logging

/// How a program writes its log.
package enum LogFormat: String, Sendable, CaseIterable {
    /// One JSON object a line, for machines.
    case json
    /// One readable line, for people.
    case text
    /// Readable on a terminal, JSON into a file or a pipe.
    case auto
}

/// Sets up the log of this process: to standard error, so that standard output is left to results.
package enum Logs {
    /// Installs the log handler; called once, by the binary, before anything logs.
    package static func bootstrap(format: LogFormat, level: Logger.Level) {
        let json: Bool
        switch format {
        case .json: json = true
        case .text: json = false
        case .auto: json = isatty(STDERR_FILENO) == 0
        }
        LoggingSystem.bootstrap { label in
            LineLogHandler(label: label, logLevel: level, json: json)
        }
    }
}

/// Writes one line an event: the message is constant, the facts are metadata.
struct LineLogHandler: LogHandler {
    let label: String
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]
    let json: Bool

    init(label: String, logLevel: Logger.Level, json: Bool) {
        self.label = label
        self.logLevel = logLevel
        self.json = json
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let facts = self.metadata.merging(event.metadata ?? [:]) { _, new in new }
        let line = Self.line(
            time: Date(),
            level: event.level,
            label: self.label,
            message: "\(event.message)",
            facts: facts,
            json: self.json
        )
        // One write a line, so that lines of several threads do not mix.
        FileHandle.standardError.write(Data(line.utf8))
    }

    static func line(
        time: Date,
        level: Logger.Level,
        label: String,
        message: String,
        facts: Logger.Metadata,
        json: Bool
    ) -> String {
        let stamp = time.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
        let sorted = facts.sorted { $0.key < $1.key }.map { ($0.key, "\($0.value)") }
        guard json else {
            let tail = sorted.map { " \($0.0)=\($0.1)" }.joined()
            return "\(stamp.dropLast().suffix(12)) \(level.rawValue.uppercased()) \(label): \(message)\(tail)\n"
        }
        let fields = [("time", stamp), ("level", level.rawValue), ("logger", label), ("message", message)] + sorted
        return "{" + fields.map { "\(quoted($0.0)):\(quoted($0.1))" }.joined(separator: ",") + "}\n"
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case _ where scalar.value < 0x20: result += "\\u" + String(format: "%04x", scalar.value)
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
