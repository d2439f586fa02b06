import FleetModel

/// One cluster of the gateway's own region: its endpoints, as the agent's samples and the gateway's
/// own dispatches show them.
struct LocalCluster: Sendable {
    struct Endpoint: Sendable {
        var sample: EndpointSample
        /// When an agent last said that it gets no reading, and when it last was wrong: a reading that had been taken
        /// before came after it.
        private var missingAt: Seconds = -.infinity
        private var disputedAt: Seconds = -.infinity
        /// When this gateway sent requests that the sample cannot know of.
        var sentSince: [Seconds] = []
        /// Prompt tokens that this gateway sent and that have not given their first token.
        var unbegunTokens = 0

        /// How young a reading must be to stand against another agent's word that there is none, in seconds.
        static let disputeMax: Seconds = 1

        init(sample: EndpointSample) { self.sample = sample }

        /// Takes a newer sample.
        ///
        /// Two agents may read one cluster, and one of them may be cut off from it: then its word that a reading is
        /// missing is worth less than the young readings that the other one goes on sending. One agent alone never
        /// sends an older reading after such a word.
        mutating func take(_ new: EndpointSample) {
            if new.load == nil {
                let isDisputed =
                    new.takenAt - self.disputedAt < 2 * Self.disputeMax && self.sample.load != nil
                    && new.takenAt - self.sample.takenAt < Self.disputeMax
                self.missingAt = max(self.missingAt, new.takenAt)
                if !isDisputed, new.takenAt >= self.sample.takenAt { self.sample = new }
                return
            }
            if new.takenAt <= self.missingAt, new.takenAt > self.missingAt - Self.disputeMax {
                self.disputedAt = self.missingAt
            }
            let isNewer = new.takenAt >= self.sample.takenAt
            let isBetter = self.sample.load == nil && new.takenAt > self.sample.takenAt - Self.disputeMax
            if isNewer || isBetter { self.sample = new }
        }

        /// Prompt tokens not yet begun that weigh as much as a running request.
        static let tokensPerRequest = 20

        /// Work ahead of a new request, in running requests.
        ///
        /// A waiting request stands for a full batch: the factor 4 is that of vLLM's own data-parallel coordinator
        /// (`4·waiting + running`). A prompt in prefill delays a first token far more than a request that decodes, and
        /// no sample is young enough to show it: this gateway's own unbegun prompts count one for twenty tokens. By
        /// the steps' cost it would be one for three to five, for the first token alone; from ten to fifty the
        /// simulator's times differ by 3 %.
        func backlog(isFresh: Bool) -> Int {
            let load = isFresh ? self.sample.load : nil
            return 4 * (load?.waiting ?? 0) + (load?.running ?? 0) + self.sentSince.count + self.unbegunTokens
                / Self.tokensPerRequest
        }
    }

    private(set) var endpoints: [EndpointAddress: Endpoint] = [:]

    /// Takes the newest readings: endpoints that are no longer named are gone.
    mutating func observe(_ samples: [EndpointSample]) {
        var next: [EndpointAddress: Endpoint] = [:]
        next.reserveCapacity(samples.count)
        for sample in samples {
            var endpoint = self.endpoints[sample.endpoint] ?? Endpoint(sample: sample)
            endpoint.take(sample)
            endpoint.sentSince.removeAll { $0 <= sample.takenAt }
            next[sample.endpoint] = endpoint
        }
        self.endpoints = next
    }

    mutating func sent(to address: EndpointAddress, promptTokens: Int, now: Seconds) {
        self.endpoints[address]?.unbegunTokens += promptTokens
        // Bounded: samples that stop coming must not let the list grow for ever.
        guard let count = self.endpoints[address]?.sentSince.count, count < 4_096 else { return }
        self.endpoints[address]?.sentSince.append(now)
    }

    /// The first token of a prompt is out, or will never come.
    mutating func began(at address: EndpointAddress, promptTokens: Int) {
        // An endpoint that was gone for a while begins with nothing.
        guard let unbegun = self.endpoints[address]?.unbegunTokens else { return }
        self.endpoints[address]?.unbegunTokens = max(0, unbegun - promptTokens)
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
        let isBetter =
            self.backlog(of: second, now: now, ageMax: ageMax) < self.backlog(of: first, now: now, ageMax: ageMax)
        return isBetter ? second : first
    }

    /// The endpoint where a session's text is, unless more work waits there, by more than the session's own prompt,
    /// than at the one that was chosen without it.
    func home(
        of session: UInt64,
        from addresses: [EndpointAddress],
        insteadOf chosen: EndpointAddress,
        _ promptTokens: Int,
        now: Seconds,
        ageMax: Seconds
    ) -> EndpointAddress {
        let places = addresses.lazy.map { (place: $0, name: $0.description, weight: 1.0) }
        guard let home = Rendezvous.choose(session, among: places), home != chosen else { return chosen }
        let backlogs = [home, chosen].map { self.backlog(of: $0, now: now, ageMax: ageMax) }
        return backlogs[0] <= backlogs[1] + promptTokens / Endpoint.tokensPerRequest ? home : chosen
    }

    private func backlog(of address: EndpointAddress, now: Seconds, ageMax: Seconds) -> Int {
        guard let endpoint = self.endpoints[address] else { return .max / 2 }
        return endpoint.backlog(isFresh: now - endpoint.sample.takenAt <= ageMax)
    }
}
