package import FleetModel

/// Which revisions of the store are no longer kept, as a value.
///
/// Every plan is a revision, and a store that keeps them all is full within hours. What a follower may still ask for is
/// what came since it last listed, a minute ago at most.
package struct Compaction: Sendable {
    /// Changes younger than this are kept, in seconds.
    package static let kept: Seconds = 600
    /// How often to look, in seconds.
    package static let pause: Seconds = 60

    private struct Mark: Sendable {
        let revision: Int64
        let at: Seconds
    }

    /// What the store's revision was, oldest first; a few more than ``kept`` holds ``pause``s.
    private var marks: [Mark] = []

    package init() {}

    /// Takes what the store's revision is.
    ///
    /// - Returns: The revision before which changes may go, when there is a new one.
    package mutating func note(_ revision: Int64, now: Seconds) -> Int64? {
        self.marks.append(Mark(revision: revision, at: now))
        let old = self.marks.prefix { now - $0.at >= Self.kept }
        guard let newest = old.last else { return nil }
        self.marks.removeFirst(old.count)
        return newest.revision
    }
}
