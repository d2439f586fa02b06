import FleetModel

/// One process of the demo.
struct Child: Hashable, Sendable {
    /// How an outsider learns that it works.
    struct Probe: Hashable, Sendable {
        var address: EndpointAddress
        var path: String
        /// Whether any answer will do, for a server whose paths are not ours.
        var acceptsAnyAnswer = false
    }

    var name: String
    var region: RegionName
    /// What follows the name of the executable.
    var arguments: [String]
    /// Where its log goes.
    var log: String
    var probe: Probe
}

/// Why the demo did not start: which process, and what its log says last.
struct StartFailure: Error, CustomStringConvertible {
    var child: String
    var reason: String
    var log: String
    /// The last lines of the log.
    var tail: [String]

    /// Whether another program took a port between its reservation and its use.
    var isPortTaken: Bool { self.tail.contains { $0.lowercased().contains("in use") || $0.contains("EADDRINUSE") } }

    var description: String {
        let said = self.tail.isEmpty ? "its log \(self.log) is empty" : "its log \(self.log) ends:"
        return (["\(self.child) \(self.reason); \(said)"] + self.tail.map { "  \($0)" }).joined(separator: "\n")
    }
}
