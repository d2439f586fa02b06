import FleetModel

/// How long a request's client waits for an answer to begin, as it says itself.
///
/// `x-envoy-expected-rq-timeout-ms` is what an Envoy in front sends with the time-out of its route, which is also how an
/// implementation of Gateway API does it (`HTTPRouteTimeouts` has no header of its own). `grpc-timeout` is what gRPC
/// clients send. Ours comes before both, so that a client can say it through any of them.
struct RequestDeadline: Hashable, Sendable {
    enum Header: String, Hashable, Sendable, CaseIterable {
        case own = "x-isobar-deadline-ms"
        case envoy = "x-envoy-expected-rq-timeout-ms"
        case grpc = "grpc-timeout"

        /// The header's text for so many seconds that are left.
        func text(of left: Seconds) -> String {
            let milliseconds = Int((max(0, left) * 1_000).rounded())
            return self == .grpc ? "\(milliseconds)m" : String(milliseconds)
        }
    }

    /// Longer ones are as good as none.
    static let longest: Seconds = 86_400

    let header: Header
    let seconds: Seconds

    /// The first of the headers that can be read; `nil` without one.
    init?(_ value: (String) -> String?) {
        for header in Header.allCases {
            guard let text = value(header.rawValue) else { continue }
            let seconds = header == .grpc ? Self.grpc(text) : Double(text).map { $0 / 1_000 }
            guard let seconds, seconds.isFinite, seconds >= 0, seconds <= Self.longest else { continue }
            (self.header, self.seconds) = (header, seconds)
            return
        }
        return nil
    }

    /// At most eight digits and a unit (gRPC over HTTP/2, "Requests").
    private static func grpc(_ text: String) -> Seconds? {
        let units: [Character: Double] = ["H": 3_600, "M": 60, "S": 1, "m": 1e-3, "u": 1e-6, "n": 1e-9]
        guard let unit = text.last.flatMap({ units[$0] }), text.count <= 9,
            let count = Double(text.dropLast()), text.dropLast().utf8.allSatisfy({ (0x30...0x39).contains($0) })
        else { return nil }
        return count * unit
    }
}
