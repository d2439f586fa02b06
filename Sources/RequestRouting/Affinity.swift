import FleetModel

/// Where texts were sent last: a table of fixed size, so that nothing that clients write lets it grow.
///
/// A key is a session, a conversation or an adapter. A place in the table holds the key that used it last, among four
/// neighbours the oldest gives way.
struct Affinity: Sendable {
    struct Place: Sendable {
        var key: UInt64 = 0
        /// ``TextHash`` of the cluster's name.
        var cluster: UInt64 = 0
        /// ``TextHash`` of the endpoint's address; that of a peer for a remote cluster.
        var target: UInt64 = 0
        /// Prompt tokens that are likely to be cached there.
        var tokens: Int32 = 0
        var at: Seconds = -.infinity
    }

    /// How long a text is taken to be cached, in seconds.
    static let memory: Seconds = 600
    private static let ways = 4

    private var places: [Place]
    private let mask: Int

    /// - Parameter bits: The table has 2^bits places of 40 bytes.
    init(bits: Int = 16) {
        self.places = Array(repeating: Place(), count: 1 << bits)
        self.mask = (1 << bits) - Self.ways
    }

    /// Where a text was sent last, if it may still be cached there.
    func find(_ key: UInt64, now: Seconds) -> Place? {
        let first = self.first(key)
        for index in first..<first + Self.ways
        where self.places[index].key == key && now - self.places[index].at <= Self.memory {
            return self.places[index]
        }
        return nil
    }

    mutating func remember(_ place: Place) {
        let first = self.first(place.key)
        var oldest = first
        for index in first..<first + Self.ways {
            if self.places[index].key == place.key { oldest = index; break }
            if self.places[index].at < self.places[oldest].at { oldest = index }
        }
        self.places[oldest] = place
    }

    /// All that is remembered, for a snapshot.
    func all(now: Seconds) -> [Place] { self.places.filter { now - $0.at <= Self.memory } }

    private func first(_ key: UInt64) -> Int { Int(truncatingIfNeeded: TextHash.mixed(key)) & self.mask }
}
