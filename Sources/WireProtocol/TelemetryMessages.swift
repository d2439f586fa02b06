package import FleetModel

extension Isobar_V1_FrameID {
    package init(_ id: FrameID) {
        self.init()
        self.cluster = id.cluster.text
        self.incarnation = id.incarnation
        self.sequence = id.sequence
    }

    package func model() throws(WireError) -> FrameID {
        let cluster = try WireError.checking("id.cluster") { () throws(InvalidName) in try ClusterName(self.cluster) }
        return FrameID(cluster: cluster, incarnation: self.incarnation, sequence: self.sequence)
    }
}

extension Isobar_V1_ClusterState {
    package init(_ state: ClusterState) {
        switch state {
        case .active: self = .active
        case .draining: self = .draining
        case .down: self = .down
        }
    }

    package func model(field: String) throws(WireError) -> ClusterState {
        switch self {
        case .active: return .active
        case .draining: return .draining
        case .down: return .down
        case .unspecified, .UNRECOGNIZED: throw WireError(field: field, reason: "\(self.rawValue) is no cluster state")
        }
    }
}

extension Isobar_V1_Frame {
    package init(_ frame: DigestFrame) {
        self.init()
        self.id = Isobar_V1_FrameID(frame.id)
        self.region = frame.region.text
        self.agent = frame.agent.text
        self.intervalMs = UInt32(clamping: Int((frame.interval * 1_000).rounded()))
        self.digests = frame.digests.map { Isobar_V1_PoolDigest($0) }
    }

    /// Checks and reads the frame.
    ///
    /// - Throws: ``WireError`` naming the first field that does not hold what it should.
    package func model() throws(WireError) -> DigestFrame {
        let region = try WireError.checking("region") { () throws(InvalidName) in try RegionName(self.region) }
        let agent = try WireError.checking("agent") { () throws(InvalidName) in try AgentName(self.agent) }
        guard self.digests.count <= 256 else {
            throw WireError(field: "digests", reason: "\(self.digests.count) pools; a frame carries at most 256")
        }
        var digests: [PoolDigest] = []
        digests.reserveCapacity(self.digests.count)
        for digest in self.digests { digests.append(try digest.model()) }
        return DigestFrame(
            id: try self.id.model(),
            region: region,
            agent: agent,
            interval: Double(self.intervalMs) / 1_000,
            digests: digests
        )
    }
}

extension Isobar_V1_PoolDigest {
    package init(_ digest: PoolDigest) {
        self.init()
        self.pool = digest.pool.description
        self.state = Isobar_V1_ClusterState(digest.state)
        self.endpointsReady = UInt32(clamping: digest.endpointsReady)
        self.endpointsKnown = UInt32(clamping: digest.endpointsKnown)
        self.running = UInt32(clamping: digest.running)
        self.waiting = UInt32(clamping: digest.waiting)
        if let value = digest.kvMean { self.kvMean = Float(value) }
        if let value = digest.kvMax { self.kvMax = Float(value) }
        if let value = digest.capacity { self.capacity = Float(value) }
        if let value = digest.freeSeats { self.freeSeats = UInt32(clamping: value) }
        if let value = digest.unloadedTTFT { self.unloadedTtft = Float(value) }
        if let value = digest.queueScale { self.queueScale = Float(value) }
        self.requestRate = Float(digest.requestRate)
        self.promptTokenRate = Float(digest.promptTokenRate)
        self.generationTokenRate = Float(digest.generationTokenRate)
    }

    package func model() throws(WireError) -> PoolDigest {
        func known(_ field: String, _ has: Bool, _ value: Float) throws(WireError) -> Double? {
            has ? try WireError.quantity(field, Double(value)) : nil
        }
        return PoolDigest(
            pool: try WireError.checking("digests.pool") { () throws(InvalidName) in try PoolName(self.pool) },
            state: try self.state.model(field: "digests.state"),
            endpointsReady: Int(self.endpointsReady),
            endpointsKnown: Int(self.endpointsKnown),
            running: Int(self.running),
            waiting: Int(self.waiting),
            kvMean: try known("digests.kv_mean", self.hasKvMean, self.kvMean),
            kvMax: try known("digests.kv_max", self.hasKvMax, self.kvMax),
            capacity: try known("digests.capacity", self.hasCapacity, self.capacity),
            freeSeats: self.hasFreeSeats ? Int(self.freeSeats) : nil,
            unloadedTTFT: try known("digests.unloaded_ttft", self.hasUnloadedTtft, self.unloadedTtft),
            queueScale: try known("digests.queue_scale", self.hasQueueScale, self.queueScale),
            requestRate: try WireError.quantity("digests.request_rate", Double(self.requestRate)),
            promptTokenRate: try WireError.quantity("digests.prompt_token_rate", Double(self.promptTokenRate)),
            generationTokenRate: try WireError.quantity(
                "digests.generation_token_rate",
                Double(self.generationTokenRate)
            )
        )
    }
}

extension Isobar_V1_SampleBatch {
    /// The batch as of `now`, the clock by which the samples were taken: the wire carries ages.
    package init(_ batch: SampleBatch, now: Seconds) {
        self.init()
        self.cluster = batch.cluster.text
        self.region = batch.region.text
        self.pool = batch.pool.description
        self.samples = batch.samples.map { sample in
            var message = Isobar_V1_EndpointSample()
            message.endpoint = sample.endpoint.description
            message.ageMs = UInt32(clamping: Int(max(0, (now - sample.takenAt) * 1_000).rounded()))
            if let load = sample.load {
                message.load = Isobar_V1_EndpointLoad()
                message.load.running = UInt32(clamping: load.running)
                message.load.waiting = UInt32(clamping: load.waiting)
                if let kvUse = load.kvUse { message.load.kvUse = Float(kvUse) }
                if let adapters = load.adapters { message.load.adapters = Isobar_V1_Adapters(adapters) }
            }
            return message
        }
    }

    /// Checks and reads the batch; `now` is the receiver's clock, from which the carried ages count back.
    package func model(now: Seconds) throws(WireError) -> SampleBatch {
        var samples: [EndpointSample] = []
        samples.reserveCapacity(self.samples.count)
        for message in self.samples {
            let endpoint = try WireError.checking("samples.endpoint") { () throws(InvalidName) in
                try EndpointAddress(message.endpoint)
            }
            var load: EndpointLoad?
            if message.hasLoad {
                load = EndpointLoad(
                    running: Int(message.load.running),
                    waiting: Int(message.load.waiting),
                    kvUse: message.load.hasKvUse
                        ? try WireError.quantity("samples.load.kv_use", Double(message.load.kvUse)) : nil,
                    adapters: message.load.hasAdapters ? message.load.adapters.model : nil
                )
            }
            samples.append(
                EndpointSample(endpoint: endpoint, load: load, takenAt: now - Double(message.ageMs) / 1_000)
            )
        }
        return SampleBatch(
            cluster: try WireError.checking("cluster") { () throws(InvalidName) in try ClusterName(self.cluster) },
            region: try WireError.checking("region") { () throws(InvalidName) in try RegionName(self.region) },
            pool: try WireError.checking("pool") { () throws(InvalidName) in try PoolName(self.pool) },
            samples: samples
        )
    }
}

extension Isobar_V1_Adapters {
    fileprivate init(_ adapters: LoRAAdapters) {
        self.init()
        self.running = adapters.running
        self.waiting = adapters.waiting
        if let most = adapters.most { self.most = UInt32(clamping: most) }
    }

    fileprivate var model: LoRAAdapters {
        LoRAAdapters(
            running: Array(self.running.prefix(LoRAAdapters.mostNames)),
            waiting: Array(self.waiting.prefix(LoRAAdapters.mostNames)),
            most: self.hasMost ? Int(self.most) : nil
        )
    }
}
