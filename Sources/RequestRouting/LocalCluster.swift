import FleetModel

/// One cluster of the gateway's own region: its endpoints, as the agent's samples and the gateway's
/// own dispatches show them.
struct LocalCluster: Sendable {
    struct Endpoint: Sendable {
        var sample: EndpointSample
        /// When this gateway sent requests that the sample cannot know of.
        var sentSince: [Seconds] = []

        /// Requests ahead of a new one; a waiting one counts more, since it stands for a full batch.
        ///
        /// The factor 4 is that of vLLM's own data-parallel coordinator (`4·waiting + running`).
        func backlog(isFresh: Bool) -> Int {
            let load = isFresh ? self.sample.load : nil
            return 4 * (load?.waiting ?? 0) + (load?.running ?? 0) + self.sentSince.count
        }
    }

    private(set) var endpoints: [EndpointAddress: Endpoint] = [:]

    /// Takes the newest readings: endpoints that are no longer named are gone.
    mutating func observe(_ samples: [EndpointSample]) {
        var next: [EndpointAddress: Endpoint] = [:]
        next.reserveCapacity(samples.count)
        for sample in samples {
            var endpoint = self.endpoints[sample.endpoint] ?? Endpoint(sample: sample)
            if sample.takenAt >= endpoint.sample.takenAt { endpoint.sample = sample }
            endpoint.sentSince.removeAll { $0 <= sample.takenAt }
            next[sample.endpoint] = endpoint
        }
        self.endpoints = next
    }

    mutating func sent(to address: EndpointAddress, now: Seconds) {
        // Bounded: samples that stop coming must not let the list grow for ever.
        guard let count = self.endpoints[address]?.sentSince.count, count < 4_096 else { return }
        self.endpoints[address]?.sentSince.append(now)
    }

    /// Requests waiting at the endpoints with a fresh reading.
    func waiting(now: Seconds, ageMax: Seconds) -> Int {
        self.endpoints.values.reduce(0) { sum, endpoint in
            now - endpoint.sample.takenAt <= ageMax ? sum + (endpoint.sample.load?.waiting ?? 0) : sum
        }
    }

    /// The endpoints that may take a request.
    ///
    /// An endpoint whose agent reads it and gets no answer is out: missing is not healthy. When the
    /// agent itself is silent nothing is known against the endpoints, and the gateway's own requests
    /// are the judge.
    func usable(now: Seconds, ageMax: Seconds, rejecting isRejected: (EndpointAddress) -> Bool) -> [EndpointAddress] {
        self.endpoints.values.filter { endpoint in
            let isFresh = now - endpoint.sample.takenAt <= ageMax
            return (endpoint.sample.load != nil || !isFresh) && !isRejected(endpoint.sample.endpoint)
        }.map(\.sample.endpoint).sorted()
    }

    /// Draws two of the addresses and takes the one with less ahead of it.
    ///
    /// Two choices, not the least of all: with readings that are a moment old, the least loaded
    /// endpoint would be everybody's choice at once (M. Mitzenmacher, "How useful is old
    /// information?", 2000).
    func choose(
        from addresses: [EndpointAddress],
        now: Seconds,
        ageMax: Seconds,
        using dice: inout some RandomNumberGenerator
    ) -> EndpointAddress? {
        guard let first = addresses.randomElement(using: &dice) else { return nil }
        guard addresses.count > 1 else { return first }
        var second = first
        while second == first { second = addresses.randomElement(using: &dice) ?? first }
        func backlog(_ address: EndpointAddress) -> Int {
            guard let endpoint = self.endpoints[address] else { return .max }
            return endpoint.backlog(isFresh: now - endpoint.sample.takenAt <= ageMax)
        }
        return backlog(second) < backlog(first) ? second : first
    }
}
