import FleetModel

/// One cluster of the gateway's own region: its endpoints, as the agent's samples and the gateway's own dispatches and
/// answers show them.
struct LocalCluster: Sendable {
    struct Endpoint: Sendable {
        let address: EndpointAddress
        var load: EndpointLoad?
        var takenAt: Seconds
        var health = TargetHealth()
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

        init(_ sample: EndpointSample) {
            self.address = sample.endpoint
            self.load = sample.load
            self.takenAt = sample.takenAt
        }

        /// Takes a newer sample.
        ///
        /// Two agents may read one cluster, and one of them may be cut off from it: then its word that a reading is
        /// missing is worth less than the young readings that the other one goes on sending. One agent alone never
        /// sends an older reading after such a word.
        mutating func take(_ new: EndpointSample) {
            guard new.load != nil else {
                let isDisputed =
                    new.takenAt - self.disputedAt < 2 * Self.disputeMax && self.load != nil
                    && new.takenAt - self.takenAt < Self.disputeMax
                self.missingAt = max(self.missingAt, new.takenAt)
                if !isDisputed, new.takenAt >= self.takenAt { (self.load, self.takenAt) = (nil, new.takenAt) }
                return
            }
            if new.takenAt <= self.missingAt, new.takenAt > self.missingAt - Self.disputeMax {
                self.disputedAt = self.missingAt
            }
            let isNewer = new.takenAt >= self.takenAt
            let isBetter = self.load == nil && new.takenAt > self.takenAt - Self.disputeMax
            if isNewer || isBetter { (self.load, self.takenAt) = (new.load, new.takenAt) }
        }

        /// What an answer's head says is so young: the way of a head within a region, in seconds.
        static let reportAge: Seconds = 0.01

        /// Takes what the server said of its load beside an answer, just now.
        ///
        /// A report of what runs and what waits is a reading like an agent's. One that says less, as vLLM's does, goes
        /// over the last reading, whose age stays: it is as old as its oldest part.
        mutating func take(_ report: ReportedLoad, now: Seconds) {
            if let running = report.running, let waiting = report.waiting {
                self.load = EndpointLoad(
                    running: running,
                    waiting: waiting,
                    kvUse: report.kvUse ?? self.load?.kvUse,
                    adapters: self.load?.adapters
                )
                self.takenAt = max(self.takenAt, now - Self.reportAge)
                self.sentSince.removeAll { $0 <= now - Self.reportAge }
            } else if var load = self.load {
                load.running = report.running ?? load.running
                load.waiting = report.waiting ?? load.waiting
                load.kvUse = report.kvUse ?? load.kvUse
                self.load = load
            }
        }

        /// Prompt tokens not yet begun that weigh as much as a running request.
        static let tokensPerRequest = 20
        /// KV-cache use from which on an engine is near to throwing running requests out.
        static let kvFull = 0.9
        /// What a cache that is full to the brim weighs, in running requests.
        static let kvWeight = 64.0

        /// Work ahead of a new request, in running requests.
        ///
        /// A waiting request stands for a full batch: the factor 4 is that of vLLM's own data-parallel coordinator
        /// (`4·waiting + running`). A prompt in prefill delays a first token far more than a request that decodes, and
        /// no sample is young enough to show it: this gateway's own unbegun prompts count one for twenty tokens. By
        /// the steps' cost it would be one for three to five, for the first token alone; from ten to fifty the
        /// simulator's times differ by 3 %.
        func backlog(now: Seconds, ageMax: Seconds) -> Int {
            var work = self.sentSince.count + self.unbegunTokens / Self.tokensPerRequest
            work += self.health.errorLoad(now: now)
            guard now - self.takenAt <= ageMax, let load else { return work }
            if let kvUse = load.kvUse, kvUse > Self.kvFull {
                work += Int(Self.kvWeight * (kvUse - Self.kvFull) / (1 - Self.kvFull))
            }
            return work + 4 * load.waiting + load.running
        }
    }

    private(set) var endpoints: [Endpoint] = []
    /// ``TextHash`` of each endpoint's address, side by side for rendezvous hashing.
    private(set) var names: [UInt64] = []
    private var indexOf: [EndpointAddress: Int] = [:]
    /// Requests that wait at endpoints with a load, and when that was seen.
    private(set) var waiting = 0
    private(set) var observedAt: Seconds = -.infinity
    /// Requests that this gateway sent and that no sample can know of.
    private(set) var unseen = 0

    /// Takes the newest readings: endpoints that are no longer named are gone.
    ///
    /// An endpoint that joins others begins slowly; those that are there first do not, as somebody has to begin.
    mutating func observe(_ samples: [EndpointSample], now: Seconds, ageMax: Seconds) {
        let isSame =
            samples.count == self.endpoints.count
            && zip(samples, self.endpoints).allSatisfy { $0.endpoint == $1.address }
        if !isSame { self.replace(samples, now: now) }
        self.waiting = 0
        self.unseen = 0
        self.observedAt = samples.reduce(-.infinity) { max($0, $1.takenAt) }
        for (index, sample) in samples.enumerated() {
            let wasOut = self.isOut(index, now: now, ageMax: ageMax)
            self.endpoints[index].take(sample)
            if wasOut, self.endpoints[index].load != nil { self.endpoints[index].health.startedAt = now }
            self.endpoints[index].sentSince.removeAll { $0 <= sample.takenAt }
            self.waiting += self.endpoints[index].load?.waiting ?? 0
            self.unseen += self.endpoints[index].sentSince.count
        }
    }

    private mutating func replace(_ samples: [EndpointSample], now: Seconds) {
        let known = self.endpoints
        let isFirst = known.isEmpty
        self.endpoints = samples.map { sample in
            if let index = self.indexOf[sample.endpoint] { return known[index] }
            var endpoint = Endpoint(sample)
            if !isFirst { endpoint.health.startedAt = now }
            // So that a pick does not have to ask for memory.
            endpoint.sentSince.reserveCapacity(32)
            return endpoint
        }
        self.names = samples.map { TextHash.of($0.endpoint.description) }
        self.indexOf = Dictionary(
            samples.enumerated().map { ($1.endpoint, $0) },
            uniquingKeysWith: { first, _ in first }
        )
    }

    /// Takes what an endpoint said of its load beside an answer; nothing when it is gone.
    mutating func reported(_ load: ReportedLoad, by address: EndpointAddress, now: Seconds) {
        guard let index = self.indexOf[address] else { return }
        self.waiting -= self.endpoints[index].load?.waiting ?? 0
        self.change(index) { $0.take(load, now: now) }
        self.waiting += self.endpoints[index].load?.waiting ?? 0
        self.observedAt = max(self.observedAt, self.endpoints[index].takenAt)
    }

    func index(of address: EndpointAddress) -> Int? { self.indexOf[address] }

    /// The same, looked for first where it was.
    private func index(of address: EndpointAddress, _ hint: Int) -> Int? {
        if hint < self.endpoints.count, self.endpoints[hint].address == address { return hint }
        return self.indexOf[address]
    }

    /// The endpoint with such a name's ``TextHash``.
    func index(named name: UInt64) -> Int? { self.names.firstIndex(of: name) }

    mutating func sent(to index: Int, promptTokens: Int, now: Seconds) {
        self.endpoints[index].unbegunTokens += promptTokens
        // Bounded: samples that stop coming must not let the list grow for ever.
        guard self.endpoints[index].sentSince.count < 4_096 else { return }
        self.endpoints[index].sentSince.append(now)
        self.unseen += 1
    }

    /// The first token of a prompt is out, or will never come.
    mutating func began(at address: EndpointAddress, _ hint: Int, promptTokens: Int) {
        // An endpoint that was gone for a while begins with nothing.
        guard let index = self.index(of: address, hint) else { return }
        self.endpoints[index].unbegunTokens = max(0, self.endpoints[index].unbegunTokens - promptTokens)
    }

    /// Changes what is known of an endpoint's health; nothing when it is gone.
    mutating func judge(_ address: EndpointAddress, _ hint: Int, _ change: (inout TargetHealth) -> Void) {
        guard let index = self.index(of: address, hint) else { return }
        change(&self.endpoints[index].health)
    }

    /// Changes what is known of one endpoint.
    mutating func change(_ index: Int, _ change: (inout Endpoint) -> Void) {
        self.unseen -= self.endpoints[index].sentSince.count
        change(&self.endpoints[index])
        self.unseen += self.endpoints[index].sentSince.count
    }

    // MARK: Who may take a request

    /// An agent that reads the endpoint gets no answer, time and again: missing is not healthy.
    ///
    /// When the agent itself is silent nothing is known against its endpoints, and the gateway's own requests judge.
    func isOut(_ index: Int, now: Seconds, ageMax: Seconds) -> Bool {
        self.endpoints[index].load == nil && now - self.endpoints[index].takenAt <= ageMax
    }

    /// Whether an endpoint may take a request at such a degree of need.
    func admits(_ index: Int, _ need: Need, now: Seconds, ageMax: Seconds, failed: [EndpointAddress]) -> Bool {
        switch need {
        case .sound:
            if self.isOut(index, now: now, ageMax: ageMax) { return false }
            if self.endpoints[index].health.isEjected(now: now) { return false }
            return failed.isEmpty || !failed.contains(self.endpoints[index].address)
        case .doubtful: return failed.isEmpty || !failed.contains(self.endpoints[index].address)
        case .last: return true
        }
    }

    func hasUsable(_ need: Need, now: Seconds, ageMax: Seconds, failed: [EndpointAddress]) -> Bool {
        for index in self.endpoints.indices
        where self.admits(index, need, now: now, ageMax: ageMax, failed: failed) { return true }
        return false
    }

    func usableCount(now: Seconds, ageMax: Seconds) -> Int {
        self.endpoints.indices.count { self.admits($0, .sound, now: now, ageMax: ageMax, failed: []) }
    }

    /// Draws two of the endpoints and takes the one with less ahead of it.
    ///
    /// Two choices, not the least of all: with readings that are a moment old, the least loaded
    /// endpoint would be everybody's choice at once (M. Mitzenmacher, "How useful is old
    /// information?", 2000).
    func choose(
        _ need: Need,
        now: Seconds,
        ageMax: Seconds,
        failed: [EndpointAddress],
        using dice: inout some RandomNumberGenerator
    ) -> Int? {
        guard let first = self.draw(need, nil, now: now, ageMax: ageMax, failed: failed, using: &dice) else {
            return nil
        }
        guard let second = self.draw(need, first, now: now, ageMax: ageMax, failed: failed, using: &dice) else {
            return first
        }
        let isBetter =
            self.endpoints[second].backlog(now: now, ageMax: ageMax)
            < self.endpoints[first].backlog(now: now, ageMax: ageMax)
        return isBetter ? second : first
    }

    /// One of the endpoints that may take a request, but for `other`; those that have just begun come up less often.
    private func draw(
        _ need: Need,
        _ other: Int?,
        now: Seconds,
        ageMax: Seconds,
        failed: [EndpointAddress],
        using dice: inout some RandomNumberGenerator
    ) -> Int? {
        let count = self.endpoints.count
        guard count > (other == nil ? 0 : 1) else { return nil }
        for _ in 0..<8 {
            let index = dice.index(below: count)
            guard index != other, self.admits(index, need, now: now, ageMax: ageMax, failed: failed) else { continue }
            let share = self.endpoints[index].health.share(now: now)
            if share >= 1 || dice.number(below: 1) < share { return index }
        }
        // Few are left, or all have just begun.
        let start = dice.index(below: count)
        for step in 0..<count {
            let index = start + step < count ? start + step : start + step - count
            if index != other, self.admits(index, need, now: now, ageMax: ageMax, failed: failed) { return index }
        }
        return nil
    }

    /// The endpoint where a text is, unless more work waits there, by more than the text is worth, than at the one that
    /// was chosen without it.
    func warm(
        _ home: Int,
        insteadOf chosen: Int,
        worth tokens: Int,
        now: Seconds,
        ageMax: Seconds
    ) -> Int {
        guard home != chosen else { return chosen }
        let there = self.endpoints[home].backlog(now: now, ageMax: ageMax)
        let here = self.endpoints[chosen].backlog(now: now, ageMax: ageMax)
        return there <= here + tokens / Endpoint.tokensPerRequest ? home : chosen
    }
}

/// How far a choice may go down: from what is sound to what is better than a certain refusal.
package enum Need: Int, CaseIterable, Sendable {
    /// Nothing is known against it.
    case sound
    /// It is ejected, does not answer its agent, or drains; this request has not tried it.
    case doubtful
    /// Even what has failed this request, or counts as down.
    case last
}
