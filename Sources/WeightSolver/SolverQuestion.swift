import FleetModel

/// Everything that an answer depends on: the problem, and what was remembered from the tick before.
///
/// Its bytes are kept beside a plan, so that any generation can be solved again, to the last bit.
package struct SolverQuestion: Sendable {
    package let problem: SolverProblem
    package let memory: SolverMemory

    package init(problem: SolverProblem, memory: SolverMemory) {
        self.problem = problem
        self.memory = memory
    }

    /// Solves it, as the hub did.
    package func answer() -> SolverAnswer {
        var solver = Solver()
        var memory = self.memory
        return solver.solve(self.problem, memory: &memory)
    }

    /// The bytes are cut, damaged or of another version.
    package struct Unreadable: Error, Hashable, CustomStringConvertible {
        package let reason: String
        package var description: String { "the question of a plan: \(self.reason)" }
    }

    /// The form of the bytes; a change of what is written or of its order is another one.
    private static let form: UInt64 = 1

    /// Little-endian doubles to the last bit, variable-length integers, texts with their length.
    package var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.integer(Self.form)
        self.problem.write(to: &writer)
        self.memory.write(to: &writer)
        return writer.bytes
    }

    /// Reads what ``bytes`` wrote.
    ///
    /// - Throws: ``Unreadable``.
    package init(bytes: [UInt8]) throws(Unreadable) {
        var reader = ByteReader(bytes)
        let form = try reader.integer()
        guard form == Self.form else {
            throw Unreadable(reason: "form \(form), and this version reads \(Self.form); use the version that made it")
        }
        self.problem = try SolverProblem(from: &reader)
        self.memory = try SolverMemory(from: &reader)
        guard reader.isAtEnd else { throw Unreadable(reason: "more bytes than expected") }
    }
}

extension SolverProblem {
    fileprivate func write(to writer: inout ByteWriter) {
        writer.text(self.pool.namespace)
        writer.text(self.pool.name)
        writer.list(self.sources) { writer, source in
            writer.text(source.region.text)
            writer.bands(source.demand) { $0.number($1) }
        }
        writer.list(self.clusters) { writer, cluster in
            writer.text(cluster.name.text)
            writer.text(cluster.region.text)
            writer.text(cluster.state.rawValue)
            writer.integer(UInt64(max(0, cluster.servers)))
            writer.number(cluster.digestAge)
            for value in [
                cluster.capacity, cluster.unloadedTTFT, cluster.queueScale, cluster.kvUse, cluster.interTokenLatency,
                cluster.interTokenSlope,
            ] { writer.optional(value) }
        }
        self.links.write(to: &writer)
        writer.list(self.residency.sorted { $0.key < $1.key }) { writer, entry in
            writer.text(entry.key.text)
            writer.list(entry.value.sorted()) { $0.text($1.text) }
        }
        writer.optional(self.outputTokens)
        self.policy.write(to: &writer)
    }

    fileprivate init(from reader: inout ByteReader) throws(SolverQuestion.Unreadable) {
        self.init(
            pool: PoolName(namespace: try reader.text(), name: try reader.text()),
            sources: try reader.list { (reader) throws(SolverQuestion.Unreadable) in
                SolverSource(
                    region: RegionName(unchecked: try reader.text()),
                    demand: try reader.bands { (reader) throws(SolverQuestion.Unreadable) in try reader.number() }
                )
            },
            clusters: try reader.list { (reader) throws(SolverQuestion.Unreadable) in try SolverCluster(from: &reader)
            },
            links: try SolverLinks(from: &reader),
            residency: Dictionary(
                try reader.list { (reader) throws(SolverQuestion.Unreadable) in
                    let source = RegionName(unchecked: try reader.text())
                    let allowed = try reader.list { (reader) throws(SolverQuestion.Unreadable) in
                        RegionName(unchecked: try reader.text())
                    }
                    return (source, Set(allowed))
                }
            ) { $1 },
            outputTokens: try reader.optional(),
            policy: try SolverPolicy(from: &reader)
        )
    }
}

extension SolverCluster {
    fileprivate init(from reader: inout ByteReader) throws(SolverQuestion.Unreadable) {
        let name = ClusterName(unchecked: try reader.text())
        let region = RegionName(unchecked: try reader.text())
        guard let state = ClusterState(rawValue: try reader.text()) else {
            throw SolverQuestion.Unreadable(reason: "a state that is none")
        }
        let servers = Int(clamping: try reader.integer())
        let age = try reader.number()
        self.init(
            name: name,
            region: region,
            state: state,
            capacity: try reader.optional(),
            servers: servers,
            unloadedTTFT: try reader.optional(),
            queueScale: try reader.optional(),
            kvUse: try reader.optional(),
            digestAge: age,
            interTokenLatency: try reader.optional(),
            interTokenSlope: try reader.optional()
        )
    }
}

extension SolverPolicy {
    fileprivate func write(to writer: inout ByteWriter) {
        for bands in [self.epsilon, self.floor, self.maxRemoteShare] { writer.bands(bands) { $0.number($1) } }
        writer.list(self.stepLimit.map { [$0] } ?? []) { writer, limit in
            writer.number(limit.largest)
            writer.number(limit.fraction)
        }
        for number in self.numbers { writer.number(number) }
        switch self.failover {
        case .all: writer.integer(0)
        case .none: writer.integer(1)
        case .only(let names):
            writer.integer(2)
            writer.list(names.sorted()) { $0.text($1.text) }
        }
    }

    /// In the order of ``paths``.
    private var numbers: [Double] { Self.paths.map { self[keyPath: $0] } }

    private static var paths: [WritableKeyPath<SolverPolicy, Double>] {
        [
            \.floorBudget, \.deadBand, \.batchCap, \.overflowPrice, \.fullLoad, \.shedStart, \.shedGain, \.egressPrice,
            \.unknownRoundTrip, \.localRoundTrip, \.decodeWeight, \.kvLimit, \.staleAfter, \.decayAfter, \.decayTime,
            \.lostAfter, \.negligible, \.timeToLive,
        ]
    }

    fileprivate init(from reader: inout ByteReader) throws(SolverQuestion.Unreadable) {
        self.init()
        self.epsilon = try reader.bands { (reader) throws(SolverQuestion.Unreadable) in try reader.number() }
        self.floor = try reader.bands { (reader) throws(SolverQuestion.Unreadable) in try reader.number() }
        self.maxRemoteShare = try reader.bands { (reader) throws(SolverQuestion.Unreadable) in try reader.number() }
        self.stepLimit =
            try reader.list { (reader) throws(SolverQuestion.Unreadable) in
                StepLimit(largest: try reader.number(), fraction: try reader.number())
            }.first
        for path in Self.paths { self[keyPath: path] = try reader.number() }
        switch try reader.integer() {
        case 0: self.failover = .all
        case 1: self.failover = .none
        default:
            self.failover = .only(
                Set(
                    try reader.list { (reader) throws(SolverQuestion.Unreadable) in
                        ClusterName(unchecked: try reader.text())
                    }
                )
            )
        }
    }
}
