import Synchronization

/// Tells a ``ProxyServer`` that its director has news for requests that wait.
package final class ProxyWaker: Sendable {
    private let wakeOne = Mutex<(@Sendable (UInt64) -> Void)?>(nil)

    package init() {}

    func attach(_ body: @escaping @Sendable (UInt64) -> Void) { self.wakeOne.withLock { $0 = body } }

    /// Has the director asked again for each of these requests that still waits; from any thread, and at once.
    package func wake(_ requests: [UInt64]) {
        guard !requests.isEmpty, let body = self.wakeOne.withLock({ $0 }) else { return }
        for request in requests { body(request) }
    }
}
