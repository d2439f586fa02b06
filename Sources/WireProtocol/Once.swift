import Synchronization

/// Whether something has happened, told between tasks.
package final class Once: Sendable {
    private let state = Atomic(false)

    package init() {}

    package var happened: Bool { self.state.load(ordering: .relaxed) }

    package func happens() { self.state.store(true, ordering: .relaxed) }
}
