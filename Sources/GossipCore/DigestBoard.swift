package import FleetModel

/// A frame and how old it is.
package struct DigestView: Hashable, Sendable {
    package var frame: DigestFrame
    /// Since the agent made the frame, as far as the receiver can tell, in seconds.
    package var age: Seconds
}

/// Why a frame was dropped; the words are a metric label, so the set is closed.
package enum FrameRefusal: String, Hashable, Sendable, CaseIterable, Error {
    /// Not newer than the frame held for its cluster: a copy, a late one or a replay.
    case stale
    /// The board is full of other clusters.
    case full
}

/// The newest frame of each cluster: a single-writer register a cluster, joined by
/// (incarnation, sequence).
///
/// Joining is commutative, associative and idempotent, so frames may come twice, late and by any
/// path. No sender's clock is ever compared: age is the receiver's own time since arrival plus the
/// age that the frame carried.
///
/// Invariant: the (incarnation, sequence) held for a cluster never decreases.
package struct DigestBoard: Sendable {
    private struct Entry: Sendable {
        var frame: DigestFrame
        /// When the frame was made, on the receiver's clock.
        var madeAt: Seconds
    }

    /// More clusters than this are refused: every input is bounded.
    package static let clustersMax = 4_096

    /// A cluster is forgotten after this silence, in seconds.
    package static let forgottenAfter: Seconds = 600

    private var entries: [ClusterName: Entry] = [:]

    package init() {}

    /// Joins one frame.
    ///
    /// - Parameters:
    ///   - frame: The frame.
    ///   - carriedAge: How old the frame was on arrival, in seconds.
    ///   - now: The receiver's clock.
    /// - Returns: What stood there before, or `nil` for a new cluster.
    /// - Throws: ``FrameRefusal`` when the frame is dropped; the board is then unchanged.
    @discardableResult
    package mutating func receive(
        _ frame: DigestFrame,
        carriedAge: Seconds = 0,
        now: Seconds
    ) throws(FrameRefusal) -> DigestFrame? {
        let held = self.entries[frame.id.cluster]
        if let held, !frame.id.isNewer(than: held.frame.id) { throw .stale }
        if held == nil, self.entries.count >= Self.clustersMax { throw .full }
        self.entries[frame.id.cluster] = Entry(frame: frame, madeAt: now - max(0, carriedAge))
        return held?.frame
    }

    /// Every frame held, by cluster name.
    package func views(now: Seconds) -> [DigestView] {
        self.entries.sorted { $0.key < $1.key }.map { _, entry in
            DigestView(frame: entry.frame, age: max(0, now - entry.madeAt))
        }
    }

    /// Drops the clusters that have been silent for ``forgottenAfter``.
    ///
    /// - Returns: Their names, sorted.
    package mutating func forgetSilent(now: Seconds) -> [ClusterName] {
        let silent = self.entries.filter { now - $0.value.madeAt > Self.forgottenAfter }.keys.sorted()
        for cluster in silent { self.entries[cluster] = nil }
        return silent
    }
}
