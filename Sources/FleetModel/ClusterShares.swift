/// Shares by cluster, in the order of the clusters' names: one row of weights.
///
/// A plan of 50 regions has thousands of rows. A dictionary for each costs a hash for every share that is put in or read,
/// and a sort wherever the order counts, which is nearly everywhere: two hubs must write the same bytes.
package struct ClusterShares: Hashable, Sendable {
    /// One cluster's part of the requests.
    package struct Share: Hashable, Sendable {
        package let cluster: ClusterName
        /// 0 to 1.
        package var weight: Double
    }

    /// By name, each name once.
    private var shares: [Share] = []

    package init() {}

    /// No shares, with room for as many as are expected.
    package init(minimumCapacity: Int) { self.shares.reserveCapacity(minimumCapacity) }

    /// The share of a cluster; `nil` when it has none.
    package subscript(cluster: ClusterName) -> Double? {
        get {
            let place = self.place(of: cluster)
            return place < self.shares.count && self.shares[place].cluster == cluster ? self.shares[place].weight : nil
        }
        set {
            // Whoever goes by name only appends.
            let isLast = self.shares.last.map { $0.cluster < cluster } ?? true
            let place = isLast ? self.shares.count : self.place(of: cluster)
            let isThere = place < self.shares.count && self.shares[place].cluster == cluster
            switch (newValue, isThere) {
            case (let weight?, true): self.shares[place].weight = weight
            case (let weight?, false): self.shares.insert(Share(cluster: cluster, weight: weight), at: place)
            case (nil, true): self.shares.remove(at: place)
            case (nil, false): break
            }
        }
    }

    /// Where a cluster is, or would be.
    private func place(of cluster: ClusterName) -> Int {
        var (low, high) = (0, self.shares.count)
        while low < high {
            let middle = (low + high) / 2
            if self.shares[middle].cluster < cluster { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The clusters that have a share here or there, by name.
    package func clusters(with others: Self) -> [ClusterName] {
        Set(self.map(\.cluster)).union(others.map(\.cluster)).sorted()
    }
}

extension ClusterShares: RandomAccessCollection {
    package var startIndex: Int { 0 }
    package var endIndex: Int { self.shares.count }
    package subscript(position: Int) -> Share { self.shares[position] }
}

extension ClusterShares: ExpressibleByDictionaryLiteral {
    package init(dictionaryLiteral elements: (ClusterName, Double)...) {
        for (cluster, weight) in elements { self[cluster] = weight }
    }
}

extension ClusterShares: CustomStringConvertible {
    package var description: String { self.map { "\($0.cluster) \($0.weight)" }.joined(separator: ", ") }
}
