/// The replicated state: resources, identities, the accepted plan.
///
/// Soft state never comes here.
///
/// Its laws are a suite that runs over every store (`StoreLaws` in TestKit): revisions only grow, a transaction is all
/// or nothing, a listing is a picture of one revision, a watch misses nothing or says so, and the keys of a lease end
/// with it.
package protocol StateStore: Sendable {
    /// What stands at a key.
    func get(_ key: String) async throws(StoreError) -> StoreEntry?

    /// All keys that begin with a prefix, with the revision of which that is a picture.
    func read(prefix: String) async throws(StoreError) -> StoreListing

    /// Writes when all conditions hold; a transaction names each key that it writes once.
    func commit(_ transaction: StoreTransaction) async throws(StoreError) -> CommitOutcome

    /// Tells all changes under a prefix that came after a revision, in the order of revisions, until cancelled.
    ///
    /// A batch holds all changes of one revision, and the next one waits until `take` has returned. A watch is a hint
    /// to look: whoever must not err lists anew from time to time (``follow(prefix:every:_:)``).
    ///
    /// - Throws: ``StoreError``: with ``StoreError/Kind/compacted`` when changes after the revision are no longer kept.
    func watch(
        prefix: String,
        after revision: Int64,
        _ take: @escaping @Sendable (StoreBatch) async -> Void
    ) async throws(StoreError)

    /// Makes a lease: keys put under it are deleted when it ends.
    ///
    /// - Returns: The lease; its time to live may be longer than what was asked for.
    func grantLease(timeToLive: Duration) async throws(StoreError) -> StoreLease

    /// Begins the time of a lease anew.
    ///
    /// - Returns: The lease, or `nil` when it has ended.
    func renewLease(_ lease: StoreLease.ID) async throws(StoreError) -> StoreLease?

    /// Ends a lease now; does nothing when it has ended.
    func endLease(_ lease: StoreLease.ID) async throws(StoreError)

    /// Drops what changes up to a revision told, so that the room is used again; what stands is not touched.
    func compact(before revision: Int64) async throws(StoreError)

    /// How the store is, for an operator.
    func health() async -> StoreHealth

    /// Keeps connections and ends leases whose time is over; every other call needs it to run.
    func run() async
}

extension StateStore {
    /// All keys that begin with a prefix, sorted, as of one revision.
    package func list(prefix: String) async throws(StoreError) -> [StoreEntry] {
        try await self.read(prefix: prefix).entries
    }

    /// A store that keeps a bounded history has nothing to drop.
    package func compact(before revision: Int64) async throws(StoreError) {}
}

/// One key with what stands there.
package struct StoreEntry: Hashable, Sendable {
    package var key: String
    package var value: [UInt8]
    /// The store's revision at which the key came to be.
    package var created: Int64
    /// The store's revision at which the value was last written.
    package var modified: Int64
    /// The lease with which the key ends.
    package var lease: StoreLease.ID?

    package init(key: String, value: [UInt8], created: Int64, modified: Int64, lease: StoreLease.ID? = nil) {
        self.key = key
        self.value = value
        self.created = created
        self.modified = modified
        self.lease = lease
    }
}

/// A picture of the keys under a prefix.
package struct StoreListing: Hashable, Sendable {
    /// Sorted by key.
    package var entries: [StoreEntry]
    /// The store's revision of which this is a picture: a watch goes on from here.
    package var revision: Int64

    package init(entries: [StoreEntry], revision: Int64) {
        self.entries = entries
        self.revision = revision
    }
}

/// A promise of the store to delete keys when their owner has gone silent.
package struct StoreLease: Hashable, Sendable {
    package typealias ID = Int64

    package var id: ID
    /// From the moment at which the grant or the renewal was asked for, whoever holds the lease may count on it this
    /// long.
    package var timeToLive: Duration

    package init(id: ID, timeToLive: Duration) {
        self.id = id
        self.timeToLive = timeToLive
    }
}

/// One thing that a revision changed.
package enum StoreChange: Hashable, Sendable {
    case put(StoreEntry)
    case deleted(key: String)

    package var key: String {
        switch self {
        case .put(let entry): entry.key
        case .deleted(let key): key
        }
    }
}

/// All that one revision changed, as far as a watch asked for it.
package struct StoreBatch: Hashable, Sendable {
    package var revision: Int64
    package var changes: [StoreChange]

    package init(revision: Int64, changes: [StoreChange]) {
        self.revision = revision
        self.changes = changes
    }
}

/// Writes that happen together or not at all.
package struct StoreTransaction: Hashable, Sendable {
    /// What must hold for the writes to happen.
    package enum Condition: Hashable, Sendable {
        case absent(key: String)
        /// The key was last written at this revision.
        case modified(key: String, at: Int64)
        /// The key came to be at this revision: a fencing token still holds.
        case created(key: String, at: Int64)
    }

    package enum Write: Hashable, Sendable {
        /// Under a lease, the transaction has one condition more: that the lease has not ended.
        case put(key: String, value: [UInt8], lease: StoreLease.ID? = nil)
        case delete(key: String)
    }

    package var conditions: [Condition]
    package var writes: [Write]

    package init(when conditions: [Condition] = [], _ writes: [Write]) {
        self.conditions = conditions
        self.writes = writes
    }
}

/// How a transaction ended; a thrown ``StoreError`` means that nothing was written.
package enum CommitOutcome: Hashable, Sendable {
    /// All writes happened, at this revision.
    case committed(revision: Int64)
    /// A condition did not hold; nothing happened.
    case conflict
    /// The answer was lost: all writes happened, or none. Read again, and know your own write by what it says.
    case unknown(reason: String)
}

/// Why the store could not answer; nothing was written.
package struct StoreError: Error, CustomStringConvertible {
    package enum Kind: Hashable, Sendable {
        /// Ask again later.
        case unavailable
        /// The changes that a watch asked for are no longer kept: list anew.
        case compacted
        /// Another process has taken the store for itself: this one must end.
        case taken
    }

    package let operation: String
    package let reason: String
    package let kind: Kind

    package init(operation: String, reason: String, kind: Kind = .unavailable) {
        self.operation = operation
        self.reason = reason
        self.kind = kind
    }

    package var description: String { "store: \(self.operation) failed: \(self.reason)" }
}

/// How a store is.
package struct StoreHealth: Hashable, Sendable {
    package struct Member: Hashable, Sendable {
        /// Its address, or the path of its file.
        package var name: String
        package var isReachable: Bool
        /// Whether the others follow it.
        package var isLeader: Bool
        /// Bytes on its disk.
        package var size: Int64?
        /// Bytes of these that hold something.
        package var used: Int64?
        package var version: String?
        /// What it says is wrong with it.
        package var fault: String?

        package init(
            name: String,
            isReachable: Bool,
            isLeader: Bool,
            size: Int64? = nil,
            used: Int64? = nil,
            version: String? = nil,
            fault: String? = nil
        ) {
            self.name = name
            self.isReachable = isReachable
            self.isLeader = isLeader
            self.size = size
            self.used = used
            self.version = version
            self.fault = fault
        }
    }

    /// `memory`, `sqlite` or `etcd`.
    package var kind: String
    package var members: [Member]

    package init(kind: String, members: [Member]) {
        self.kind = kind
        self.members = members
    }
}
