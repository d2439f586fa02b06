import FleetModel

/// The agent's incarnation, and whether it still holds.
///
/// Twins of one cluster have names of their own, so each keeps its incarnation. When two agents use one name, the hub
/// takes the frames of the one that registered last and drops those of the other as not newer. That one must register
/// again: the first may be gone by then.
struct Registration: Hashable, Sendable {
    /// So many frames in a row that every hub drops as not newer are no frames that came late.
    static let refusalsMax = 3

    /// `nil` until a hub has given one, and after it was superseded; no frame leaves without.
    private(set) var incarnation: UInt64?
    private var refusals = 0

    mutating func given(_ incarnation: UInt64) {
        self.incarnation = incarnation
        self.refusals = 0
    }

    /// A hub took a frame.
    mutating func accepted(_ id: FrameID) {
        if id.incarnation == self.incarnation { self.refusals = 0 }
    }

    /// A hub could not open a frame of the incarnation: its key is worth nothing there.
    mutating func notOpened(_ id: FrameID) {
        if id.incarnation == self.incarnation { self.incarnation = nil }
    }

    /// A hub dropped a frame.
    ///
    /// - Returns: Whether the incarnation is thereby given up.
    mutating func refused(_ id: FrameID, reason: String) -> Bool {
        guard reason == Self.stale, id.incarnation == self.incarnation else { return false }
        self.refusals += 1
        guard self.refusals >= Self.refusalsMax else { return false }
        self.incarnation = nil
        return true
    }

    /// The hub's word for a frame that is not newer than the one it holds of this agent.
    static let stale = "stale"
}
