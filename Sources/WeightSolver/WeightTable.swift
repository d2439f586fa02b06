package import FleetModel

/// The weights of one band: a row for each source, in which only what counts is kept.
package struct WeightTable: Hashable, Sendable {
    /// One weight of a row.
    package struct Entry: Hashable, Sendable {
        /// The cluster's place in the problem.
        package var cluster: Int
        package var weight: Double
    }

    private var ends: [Int] = []
    private var entries: [Entry] = []

    package init() {}

    package var rowCount: Int { self.ends.count }

    /// The weights of a source, by its place in the problem; they sum to 1, or there are none.
    package func row(_ source: Int) -> ArraySlice<Entry> {
        guard self.ends.indices.contains(source) else { return [] }
        return self.entries[(source == 0 ? 0 : self.ends[source - 1])..<self.ends[source]]
    }

    /// One weight, 0 where there is none.
    package func weight(source: Int, cluster: Int) -> Double {
        self.row(source).first { $0.cluster == cluster }?.weight ?? 0
    }

    mutating func reserve(rows: Int, entries: Int) {
        self.ends.reserveCapacity(rows)
        self.entries.reserveCapacity(entries)
    }

    mutating func append(cluster: Int, weight: Double) {
        self.entries.append(Entry(cluster: cluster, weight: weight))
    }

    mutating func endRow() { self.ends.append(self.entries.count) }

    func write(to writer: inout ByteWriter) {
        writer.list(self.ends.indices.map { Array(self.row($0)) }) { writer, row in
            writer.list(row) { writer, entry in
                writer.integer(UInt64(entry.cluster))
                writer.number(entry.weight)
            }
        }
    }

    init(from reader: inout ByteReader, clusters: Int) throws(SolverQuestion.Unreadable) {
        let rows = try reader.list { (reader) throws(SolverQuestion.Unreadable) in
            try reader.list { (reader) throws(SolverQuestion.Unreadable) in
                Entry(cluster: Int(clamping: try reader.integer()), weight: try reader.number())
            }
        }
        for row in rows {
            guard row.allSatisfy({ $0.cluster < clusters }) else {
                throw SolverQuestion.Unreadable(reason: "a weight of a cluster that is none")
            }
            self.entries += row
            self.endRow()
        }
    }
}

/// What the caller keeps of one pool between ticks: the prices that the next solve starts from, and the weights in
/// force, from which it may move only so far.
package struct SolverMemory: Sendable {
    var sources: [RegionName] = []
    var clusters: [ClusterName] = []
    /// By cluster's place.
    var prices = ByBand<[Double]>(all: [])
    var loads = ByBand<[Double]>(all: [])
    var tables = ByBand<WeightTable?>(all: nil)

    /// No memory: the first solve starts cold and moves without limit.
    package init() {}

    /// The weights in force and nothing else, as a hub knows them that reads the last plan from its store.
    package init(rows: [PlanRow]) {
        self.adopt(rows)
    }

    /// Takes these weights for those in force, as when the plan just solved was not accepted.
    package mutating func adopt(_ rows: [PlanRow]) {
        var clusters = self.clusters
        var places = Dictionary(uniqueKeysWithValues: zip(clusters, 0...))
        for name in Set(rows.flatMap { $0.weights.map(\.cluster) }).subtracting(clusters).sorted() {
            places[name] = clusters.count
            clusters.append(name)
        }
        let sources = Set(rows.map(\.source)).sorted()
        self.remember(sources: sources, clusters: clusters)
        for band in Band.allCases {
            guard rows.contains(where: { $0.band == band }) else {
                self.tables[band] = nil
                continue
            }
            var table = WeightTable()
            for source in sources {
                let weights = rows.first { $0.source == source && $0.band == band }?.weights ?? [:]
                for share in weights where share.weight > 0 && share.weight.isFinite {
                    if let place = places[share.cluster] { table.append(cluster: place, weight: share.weight) }
                }
                table.endRow()
            }
            self.tables[band] = table
        }
    }

    func write(to writer: inout ByteWriter) {
        writer.list(self.sources) { $0.text($1.text) }
        writer.list(self.clusters) { $0.text($1.text) }
        for values in [self.prices, self.loads] { writer.bands(values) { $0.list($1) { $0.number($1) } } }
        writer.bands(self.tables) { writer, table in
            writer.integer(table == nil ? 0 : 1)
            table?.write(to: &writer)
        }
    }

    init(from reader: inout ByteReader) throws(SolverQuestion.Unreadable) {
        self.sources = try reader.list { (reader) throws(SolverQuestion.Unreadable) in
            RegionName(unchecked: try reader.text())
        }
        self.clusters = try reader.list { (reader) throws(SolverQuestion.Unreadable) in
            ClusterName(unchecked: try reader.text())
        }
        let count = self.clusters.count
        for path in [\SolverMemory.prices, \SolverMemory.loads] {
            self[keyPath: path] = try reader.bands { (reader) throws(SolverQuestion.Unreadable) in
                try reader.list { (reader) throws(SolverQuestion.Unreadable) in try reader.number() }
            }
        }
        self.tables = try reader.bands { (reader) throws(SolverQuestion.Unreadable) in
            try reader.integer() == 0 ? nil : try WeightTable(from: &reader, clusters: count)
        }
    }

    /// Puts what is remembered into the order of a problem; what a problem does not name any more stays behind,
    /// except for the weights of clusters that have gone, which still must be moved elsewhere.
    mutating func align(to problem: SolverProblem) {
        let sources = problem.sources.map(\.region)
        let clusters = problem.clusters.map(\.name)
        guard sources != self.sources || !self.clusters.starts(with: clusters) else { return }
        let known = Set(clusters)
        self.remember(sources: sources, clusters: clusters + self.clusters.filter { !known.contains($0) })
    }

    /// Changes the order of sources and clusters.
    private mutating func remember(sources: [RegionName], clusters: [ClusterName]) {
        let oldClusters = Dictionary(zip(self.clusters, 0...)) { first, _ in first }
        let newClusters = Dictionary(zip(clusters, 0...)) { first, _ in first }
        let oldSources = Dictionary(zip(self.sources, 0...)) { first, _ in first }
        for band in Band.allCases {
            for path in [\Self.prices, \Self.loads] {
                let old = self[keyPath: path][band]
                guard !old.isEmpty else { continue }
                self[keyPath: path][band] = clusters.map { name in
                    oldClusters[name].flatMap { old.indices.contains($0) ? old[$0] : nil } ?? .nan
                }
            }
            guard let old = self.tables[band] else { continue }
            var table = WeightTable()
            for source in sources {
                if let row = oldSources[source] {
                    for entry in old.row(row) {
                        if let place = newClusters[self.clusters[entry.cluster]] {
                            table.append(cluster: place, weight: entry.weight)
                        }
                    }
                }
                table.endRow()
            }
            self.tables[band] = table
        }
        self.sources = sources
        self.clusters = clusters
    }
}
