/// How much a request matters, made from the priority of its InferenceObjective.
///
/// Bands are served in order: premium first, batch last and first to be put off.
package enum Band: String, Hashable, Sendable, CaseIterable, Comparable, CustomStringConvertible {
    case premium, standard, batch

    /// The band of an InferenceObjective's `priority`: above zero, zero, below zero.
    package init(priority: Int) {
        self = priority > 0 ? .premium : priority == 0 ? .standard : .batch
    }

    package var description: String { self.rawValue }

    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.rank < rhs.rank }

    /// 0 for the band that is served first.
    package var rank: Int {
        switch self {
        case .premium: 0
        case .standard: 1
        case .batch: 2
        }
    }
}
