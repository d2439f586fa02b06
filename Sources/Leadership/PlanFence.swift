package import FleetModel

/// What a receiver does with a plan.
package enum FenceVerdict: Hashable, Sendable {
    /// Newer than all before: take it.
    case newer
    /// The one already held.
    case same
    /// Older than the one held: refuse it, whoever sent it.
    case past(held: PlanVersion)
}

/// Refuses the past: the receiver's half of fencing.
///
/// A leader that was paused and wakes up still believes that it leads. It harms nobody, since every
/// receiver keeps the highest (epoch, generation) that it has seen and refuses anything lower.
///
/// Invariant: ``held`` never decreases.
package struct PlanFence: Hashable, Sendable {
    package private(set) var held: PlanVersion?

    package init(held: PlanVersion? = nil) { self.held = held }

    /// Judges a version, and remembers it when it is newer.
    package mutating func admit(_ version: PlanVersion) -> FenceVerdict {
        guard let held = self.held else {
            self.held = version
            return .newer
        }
        if version == held { return .same }
        guard version > held else { return .past(held: held) }
        self.held = version
        return .newer
    }
}

/// The leader's half: which version the next plan carries, and on which plan it stands.
package struct PlanChain: Hashable, Sendable {
    /// The leadership term that this leader holds.
    package let epoch: UInt64
    /// The newest accepted plan, of whatever term.
    package private(set) var head: PlanVersion?

    package init(epoch: UInt64, head: PlanVersion?) {
        self.epoch = epoch
        self.head = head
    }

    /// The version that the next plan carries: the generation goes on from term to term.
    package var next: PlanVersion {
        PlanVersion(epoch: self.epoch, generation: (self.head?.generation ?? 0) + 1)
    }

    /// The store accepted `version` on top of the head.
    package mutating func accepted(_ version: PlanVersion) {
        precondition(version == self.next, "plan \(version) does not follow \(String(describing: self.head))")
        self.head = version
    }
}
