import FleetModel

/// One address for all gateways: the network brings each client to the nearest one that is announced.
///
/// A gateway that refuses a connection, of a client or of the health check twice a second, is withdrawn at once, and
/// announced again when it answers a health check. A real network may take seconds to withdraw a route; what the demo
/// measures of a failure is without that.
struct Anycast: Hashable, Sendable {
    private(set) var withdrawn: Set<RegionName> = []

    mutating func refused(_ gateway: RegionName) { self.withdrawn.insert(gateway) }

    mutating func answered(_ gateway: RegionName) { self.withdrawn.remove(gateway) }

    /// The gateway that a client reaches: the nearest that is announced and has not failed this very request; when
    /// there is none such, the nearest announced, then the nearest.
    ///
    /// - Parameters:
    ///   - byDistance: The regions as the client sees them, nearest first; not empty.
    ///   - failed: The gateways that have failed this request.
    /// - Returns: The region of the gateway.
    func gateway(byDistance: [RegionName], avoiding failed: Set<RegionName>) -> RegionName {
        byDistance.first { !self.withdrawn.contains($0) && !failed.contains($0) }
            ?? byDistance.first { !self.withdrawn.contains($0) }
            ?? byDistance[0]
    }
}
