import GossipCore

/// One thing that is broken on purpose: the laws are worth what they notice.
///
/// Each has to break a law in one of the seeds that the tests run (docs/gossip.md has the list).
package enum GossipMutant: String, Hashable, Sendable, CaseIterable {
    /// Hubs never tell each other all that they have.
    case noRepair
    /// Frames are lost from every flush.
    case emptyFlushes
    /// No agent asks another for help.
    case noRelays
    /// Hubs take frames without looking at the seal.
    case uncheckedSeal
    /// An agent that starts again gets the incarnation that it had.
    case forgottenIncarnation
    /// Frames are told to have just been made, whoever passes them on.
    case youngFrames
    /// Relays give frames to other relays.
    case secondHop

    func breakSettings(_ settings: inout GossipSettings) {
        switch self {
        case .noRepair: settings.completeEvery = 1e9
        case .noRelays: (settings.relaysBeside, settings.relaysInstead, settings.relaysLate) = (0, 0, 0)
        default: break
        }
    }

    /// What becomes of a message on its way; `nil` when it is lost.
    func alter(_ outgoing: Outgoing) -> Outgoing? {
        var outgoing = outgoing
        switch (self, outgoing.message) {
        case (.emptyFlushes, .flush(var flush)):
            flush.frames = []
            outgoing.message = .flush(flush)
        case (.youngFrames, .flush(var flush)):
            for place in flush.frames.indices { flush.frames[place].age = 0 }
            outgoing.message = .flush(flush)
        case (.youngFrames, .forward(var push)):
            push.carried.age = 0
            outgoing.message = .forward(push)
        case (.secondHop, .forward(let push)):
            outgoing = Outgoing(to: .agent(AgentID(0)), message: .relay(push))
        default: break
        }
        return outgoing
    }
}
