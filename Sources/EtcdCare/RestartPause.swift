package import FleetModel

/// How long to wait before a member that ended by itself is started again.
package struct RestartPause: Sendable {
    package static let first: Seconds = 0.5
    package static let longest: Seconds = 30
    /// A member that has run for this long was well, in seconds.
    package static let well: Seconds = 60

    private var next = Self.first

    package init() {}

    /// - Parameter ran: How long it ran, in seconds.
    /// - Returns: The pause, in seconds.
    package mutating func pause(ran: Seconds) -> Seconds {
        if ran >= Self.well { self.next = Self.first }
        defer { self.next = min(Self.longest, self.next * 2) }
        return self.next
    }
}
