package import FleetModel

extension PoolDigest {
    /// Whether this digest should be sent at once, instead of with the next period: the state or the number of
    /// ready endpoints differs from the digest sent last, a queue has formed or gone, a fifth more or fewer of the
    /// requests fail, or the capacity has changed by more than a fifth or become known or unknown.
    package func isSignificant(after sent: PoolDigest?) -> Bool {
        guard let sent else { return true }
        if self.state != sent.state || self.endpointsReady != sent.endpointsReady { return true }
        if self.trouble != sent.trouble { return true }
        if self.waiting == 0 && sent.hasQueue || self.hasQueue && sent.waiting == 0 { return true }
        if abs((self.errorShare ?? 0) - (sent.errorShare ?? 0)) > 0.2 { return true }
        guard let capacity = self.capacity, let sentCapacity = sent.capacity else {
            return (self.capacity == nil) != (sent.capacity == nil)
        }
        return abs(capacity - sentCapacity) > 0.2 * sentCapacity
    }

    /// One request waiting per endpoint: fewer is the engine's own batching.
    private var hasQueue: Bool { self.waiting ?? 0 >= max(1, self.endpointsReady) }
}
