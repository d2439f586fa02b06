import Foundation

/// One line of etcd's log.
package struct EtcdLogLine: Hashable, Sendable {
    package enum Level: String, Hashable, Sendable {
        case debug, info, warn, error, panic, fatal
    }

    package var level: Level
    package var message: String
    /// The line's other fields, as text.
    package var fields: [String: String]

    /// Reads a line; what is not JSON, such as a crash of etcd's runtime, is a warning as it is.
    package init(_ line: String) {
        guard let object = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any],
            let message = object["msg"] as? String
        else {
            (self.level, self.message, self.fields) = (.warn, line, [:])
            return
        }
        self.level = (object["level"] as? String).flatMap(Level.init(rawValue:)) ?? .info
        self.message = message
        self.fields = object.filter { !["level", "ts", "caller", "msg"].contains($0.key) }.mapValues { "\($0)" }
    }
}
