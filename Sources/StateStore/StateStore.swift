/// One key with what stands there.
package struct StoreEntry: Hashable, Sendable {
    package var key: String
    package var value: [UInt8]
    /// The store's revision at which the key came to be.
    package var created: Int64
    /// The store's revision at which the value was last written.
    package var modified: Int64

    package init(key: String, value: [UInt8], created: Int64, modified: Int64) {
        self.key = key
        self.value = value
        self.created = created
        self.modified = modified
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
        case put(key: String, value: [UInt8])
        case delete(key: String)
    }

    package var conditions: [Condition]
    package var writes: [Write]

    package init(when conditions: [Condition] = [], _ writes: [Write]) {
        self.conditions = conditions
        self.writes = writes
    }
}

/// How a transaction ended.
package enum CommitOutcome: Hashable, Sendable {
    /// All writes happened, at this revision.
    case committed(revision: Int64)
    /// A condition did not hold; nothing happened.
    case conflict
}

/// Why the store could not answer; nothing is known to have been written.
package struct StoreError: Error, CustomStringConvertible {
    package let operation: String
    package let reason: String

    package init(operation: String, reason: String) {
        self.operation = operation
        self.reason = reason
    }

    package var description: String { "store: \(self.operation) failed: \(self.reason)" }
}

/// The replicated state: resources, identities, the accepted plan.
///
/// Soft state never comes here.
///
/// Its laws are a suite that runs over every store (`StoreLaws` in TestKit): revisions only grow,
/// a transaction is all or nothing, and a listing is a picture of one revision.
package protocol StateStore: Sendable {
    /// What stands at a key.
    func get(_ key: String) async throws(StoreError) -> StoreEntry?

    /// All keys that begin with a prefix, sorted, as of one revision.
    func list(prefix: String) async throws(StoreError) -> [StoreEntry]

    /// Writes when all conditions hold.
    func commit(_ transaction: StoreTransaction) async throws(StoreError) -> CommitOutcome
}
