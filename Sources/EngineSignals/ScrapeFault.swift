/// Why one reading of one endpoint failed: a closed list, so that each kind can be counted.
package enum ScrapeFault: Error, Hashable, Sendable, CustomStringConvertible {
    /// No connection: refused, unreachable or not resolved.
    case refused
    /// The answer was not complete at the deadline.
    case timeout
    /// An answer with another status than 200.
    case status(Int)
    /// More bytes than the limit; the rest was not read.
    case tooLarge
    /// The connection broke, or the answer was not HTTP; in words.
    case unreadable(String)
    /// A page without the series of the engine that was expected, or of any engine that is known.
    case noKnownSeries
    /// A page of a known engine that does not say how many requests run or wait: another version may name them anew.
    case noLoad

    /// A short word for a metric's label: never the text of an error.
    package var code: String {
        switch self {
        case .refused: "refused"
        case .timeout: "timeout"
        case .status: "status"
        case .tooLarge: "too_large"
        case .unreadable: "unreadable"
        case .noKnownSeries: "no_known_series"
        case .noLoad: "no_load"
        }
    }

    package var description: String {
        switch self {
        case .refused: "no connection"
        case .timeout: "no complete answer before the deadline"
        case .status(let status): "status \(status)"
        case .tooLarge: "the answer is over the size limit"
        case .unreadable(let words): "not readable: \(words)"
        case .noKnownSeries: "no series of a known engine; check the engine and the metrics path in the settings"
        case .noLoad: "no number of running or waiting requests; see isobar telemetry inspect for what is missing"
        }
    }
}
