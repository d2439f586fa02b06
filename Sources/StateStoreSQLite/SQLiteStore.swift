import GRDB
package import StateStore
import Synchronization

/// The embedded store, for a hub of one replica: SQLite in write-ahead mode, every commit synced.
///
/// One process at a time: leases and watches are the process's own. The first lease that a process grants takes the
/// file for it: leases of processes before it end, with their keys, and a process that had the file before is told so
/// at its next commit or renewal.
package final class SQLiteStore: StateStore {
    /// How often leases are looked at.
    private static let pulse = Duration.milliseconds(50)

    private struct State {
        var leases = StoreLeases()
        var history: StoreHistory
        /// Which process of all that ever had the file this one is; `nil` until it grants a lease.
        var session: Int64?
    }

    private let path: String
    private let database: DatabasePool
    private let state: Mutex<State>
    private let bell = StoreBell()
    private let start = ContinuousClock.now

    /// Opens or creates the file.
    ///
    /// - Throws: ``StoreError`` that names the file when it cannot be opened or is no such store.
    package init(path: String) throws(StoreError) {
        do {
            var configuration = Configuration()
            configuration.prepareDatabase { db in
                // A plan that was pushed must survive a power cut: NORMAL would lose the last commits.
                try db.execute(sql: "PRAGMA synchronous = FULL")
            }
            self.path = path
            self.database = try DatabasePool(path: path, configuration: configuration)
            try Self.migrations.migrate(self.database)
            let revision = try self.database.read { db in try Self.revision(db) }
            self.state = Mutex(State(history: StoreHistory(forgotten: revision)))
        } catch {
            throw StoreError(operation: "open \(path)", reason: "\(error)")
        }
    }

    /// Append-only: a shipped migration is never edited.
    private static var migrations: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1 entries") { db in
            try db.execute(
                sql: """
                    CREATE TABLE entry (
                        key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL,
                        created INTEGER NOT NULL, modified INTEGER NOT NULL
                    ) WITHOUT ROWID;
                    CREATE TABLE head (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL);
                    INSERT INTO head (id, revision) VALUES (1, 0);
                    """
            )
        }
        migrator.registerMigration("2 leases") { db in
            try db.execute(
                sql: """
                    ALTER TABLE entry ADD COLUMN lease INTEGER;
                    ALTER TABLE head ADD COLUMN lease INTEGER NOT NULL DEFAULT 0;
                    ALTER TABLE head ADD COLUMN session INTEGER NOT NULL DEFAULT 0;
                    """
            )
        }
        return migrator
    }

    package func get(_ key: String) async throws(StoreError) -> StoreEntry? {
        try await Self.naming("get \(key)") {
            try await self.database.read { db in try Self.entry(key, in: db) }
        }
    }

    package func read(prefix: String) async throws(StoreError) -> StoreListing {
        try await Self.naming("list \(prefix)") {
            try await self.database.read { db in
                StoreListing(
                    entries: try Row.fetchAll(
                        db,
                        sql: "SELECT * FROM entry WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key",
                        arguments: [prefix]
                    ).map(Self.entry),
                    revision: try Self.revision(db)
                )
            }
        }
    }

    package func commit(_ transaction: StoreTransaction) async throws(StoreError) -> CommitOutcome {
        try await Self.naming("commit") {
            try await self.database.write { db in
                try self.checkSession(db)
                for condition in transaction.conditions where try !Self.holds(condition, in: db) { return .conflict }
                for case .put(_, _, let lease?) in transaction.writes
                where !self.state.withLock({ $0.leases.holds(lease) }) {
                    return .conflict
                }
                return .committed(revision: try self.write(transaction.writes, in: db))
            }
        }
    }

    package func watch(
        prefix: String,
        after revision: Int64,
        _ take: @escaping @Sendable (StoreBatch) async -> Void
    ) async throws(StoreError) {
        try await self.bell.tell(
            prefix: prefix,
            after: revision,
            of: { self.state.withLock { $0.history } },
            take
        )
    }

    // MARK: Leases

    package func grantLease(timeToLive: Duration) async throws(StoreError) -> StoreLease {
        try await Self.naming("grant a lease") {
            try await self.database.write { db in
                try self.takeFile(db)
                try db.execute(sql: "UPDATE head SET lease = lease + 1")
                let id = try Int64.fetchOne(db, sql: "SELECT lease FROM head") ?? 0
                return self.state.withLock { $0.leases.grant(id, timeToLive: timeToLive, now: self.now) }
            }
        }
    }

    package func renewLease(_ lease: StoreLease.ID) async throws(StoreError) -> StoreLease? {
        try await Self.naming("renew a lease") {
            try await self.database.read { db in
                try self.checkSession(db)
                return self.state.withLock { $0.leases.renew(lease, now: self.now) }
            }
        }
    }

    package func endLease(_ lease: StoreLease.ID) async throws(StoreError) {
        try await Self.naming("end a lease") {
            try await self.database.write { db in
                guard self.state.withLock({ $0.leases.end(lease) }) else { return }
                try self.checkSession(db)
                try self.deleteKeys(where: "lease = ?", [lease], in: db)
            }
        }
    }

    package func run() async {
        while !Task.isCancelled {
            for lease in self.state.withLock({ $0.leases.overdue(now: self.now) }) {
                // A lease that cannot be ended now is still overdue at the next pulse.
                try? await self.endLease(lease)
            }
            try? await Task.sleep(for: Self.pulse)
        }
    }

    package func health() async -> StoreHealth {
        let pages = try? await self.database.read { db in
            try Int64.fetchOne(db, sql: "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        }
        return StoreHealth(
            kind: "sqlite",
            members: [.init(name: self.path, isReachable: pages != nil, isLeader: true, size: pages ?? nil)]
        )
    }

    private var now: Duration { ContinuousClock.now - self.start }

    /// Makes this process the one that has the file.
    private func takeFile(_ db: Database) throws {
        guard self.state.withLock({ $0.session }) == nil else { return try self.checkSession(db) }
        try db.execute(sql: "UPDATE head SET session = session + 1")
        let session = try Int64.fetchOne(db, sql: "SELECT session FROM head")
        try self.deleteKeys(where: "lease IS NOT NULL", [], in: db)
        db.afterNextTransaction { _ in self.state.withLock { $0.session = session } }
    }

    private func checkSession(_ db: Database) throws {
        guard let session = self.state.withLock({ $0.session }) else { return }
        guard try Int64.fetchOne(db, sql: "SELECT session FROM head") == session else {
            throw StoreError(
                operation: "open \(self.path)",
                reason: "another process has taken the file; only one hub may use a state file",
                kind: .taken
            )
        }
    }

    // MARK: Rows

    private func deleteKeys(where clause: String, _ arguments: StatementArguments, in db: Database) throws {
        let keys = try String.fetchAll(
            db,
            sql: "SELECT key FROM entry WHERE \(clause) ORDER BY key",
            arguments: arguments
        )
        if !keys.isEmpty { _ = try self.write(keys.map { .delete(key: $0) }, in: db) }
    }

    private func write(_ writes: [StoreTransaction.Write], in db: Database) throws -> Int64 {
        try db.execute(sql: "UPDATE head SET revision = revision + 1")
        let revision = try Self.revision(db)
        var changes: [StoreChange] = []
        for write in writes {
            switch write {
            case .put(let key, let value, let lease):
                try db.execute(
                    sql: """
                        INSERT INTO entry (key, value, created, modified, lease) VALUES (?1, ?2, ?3, ?3, ?4)
                        ON CONFLICT (key) DO UPDATE SET value = ?2, modified = ?3, lease = ?4
                        """,
                    arguments: [key, Self.blob(value), revision, lease]
                )
                if let entry = try Self.entry(key, in: db) { changes.append(.put(entry)) }
            case .delete(let key):
                try db.execute(sql: "DELETE FROM entry WHERE key = ?", arguments: [key])
                if db.changesCount > 0 { changes.append(.deleted(key: key)) }
            }
        }
        let batch = StoreBatch(revision: revision, changes: changes)
        // On the writer's queue, after the commit: batches are recorded in their order.
        db.afterNextTransaction { _ in
            self.state.withLock { $0.history.record(batch) }
            self.bell.ring()
        }
        return revision
    }

    private static func revision(_ db: Database) throws -> Int64 {
        try Int64.fetchOne(db, sql: "SELECT revision FROM head") ?? 0
    }

    private static func holds(_ condition: StoreTransaction.Condition, in db: Database) throws -> Bool {
        switch condition {
        case .absent(let key): try self.entry(key, in: db) == nil
        case .modified(let key, let revision): try self.entry(key, in: db)?.modified == revision
        case .created(let key, let revision): try self.entry(key, in: db)?.created == revision
        }
    }

    private static func entry(_ key: String, in db: Database) throws -> StoreEntry? {
        try Row.fetchOne(db, sql: "SELECT * FROM entry WHERE key = ?", arguments: [key]).map(self.entry)
    }

    private static func entry(_ row: Row) -> StoreEntry {
        StoreEntry(
            key: row["key"],
            value: (row["value"] as DatabaseValue).bytes,
            created: row["created"],
            modified: row["modified"],
            lease: row["lease"]
        )
    }

    private static func naming<Value>(
        _ operation: String,
        _ body: () async throws -> Value
    ) async throws(StoreError) -> Value {
        do {
            return try await body()
        } catch let error as StoreError {
            throw error
        } catch {
            throw StoreError(operation: operation, reason: "\(error)")
        }
    }
}
