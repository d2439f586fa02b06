/// What one reading of one model server said.
package struct EndpointLoad: Hashable, Sendable {
    /// Requests in the running batch.
    package var running: Int
    /// Requests that the server has accepted and not begun.
    package var waiting: Int
    /// KV-cache use, 0 to 1: the maximum over its ranks; `nil` when the server does not say.
    package var kvUse: Double?
    /// The adapters that its requests use; `nil` when the server says nothing of adapters.
    package var adapters: LoRAAdapters?

    package init(running: Int, waiting: Int, kvUse: Double?, adapters: LoRAAdapters? = nil) {
        self.running = running
        self.waiting = waiting
        self.kvUse = kvUse
        self.adapters = adapters
    }
}

/// What a server said of its load beside an answer; what it did not say is `nil`.
package struct ReportedLoad: Hashable, Sendable {
    /// Requests in the running batch.
    package var running: Int?
    /// Requests that the server has accepted and not begun.
    package var waiting: Int?
    /// KV-cache use, 0 to 1.
    package var kvUse: Double?

    package init(running: Int? = nil, waiting: Int? = nil, kvUse: Double? = nil) {
        self.running = running
        self.waiting = waiting
        self.kvUse = kvUse
    }
}

/// One reading of one endpoint, as an agent hands it to the gateways of its region.
///
/// A missing load is *unknown*: neither idle nor healthy.
package struct EndpointSample: Hashable, Sendable {
    package var endpoint: EndpointAddress
    /// `nil` while the endpoint does not answer its scrapes.
    package var load: EndpointLoad?
    /// When the reading was taken, on the clock of whoever holds the sample.
    package var takenAt: Seconds

    package init(endpoint: EndpointAddress, load: EndpointLoad?, takenAt: Seconds) {
        self.endpoint = endpoint
        self.load = load
        self.takenAt = takenAt
    }
}

/// The endpoints of one pool in one cluster, all of them, as of one moment: newest wins.
package struct SampleBatch: Hashable, Sendable {
    package var cluster: ClusterName
    package var region: RegionName
    package var pool: PoolName
    package var samples: [EndpointSample]

    package init(cluster: ClusterName, region: RegionName, pool: PoolName, samples: [EndpointSample]) {
        self.cluster = cluster
        self.region = region
        self.pool = pool
        self.samples = samples
    }
}
