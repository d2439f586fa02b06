import GRDB
package import StateStore

/// The embedded store, for a hub of one replica: SQLite in write-ahead mode, every commit synced.
package final class SQLiteStore: StateStore {
    private let database: DatabasePool

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
            self.database = try DatabasePool(path: path, configuration: configuration)
            try Self.migrations.migrate(self.database)
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
        return migrator
    }

    package func get(_ key: String) async throws(StoreError) -> StoreEntry? {
        try await Self.naming("get \(key)") {
            try await self.database.read { db in try Self.entry(key, in: db) }
        }
    }

    package func list(prefix: String) async throws(StoreError) -> [StoreEntry] {
        try await Self.naming("list \(prefix)") {
            try await self.database.read { db in
                try Row.fetchAll(
                    db,
                    sql: "SELECT * FROM entry WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key",
                    arguments: [prefix]
                ).map(Self.entry)
            }
        }
    }

    package func commit(_ transaction: StoreTransaction) async throws(StoreError) -> CommitOutcome {
        try await Self.naming("commit") {
            try await self.database.write { db in
                for condition in transaction.conditions where try !Self.holds(condition, in: db) { return .conflict }
                try db.execute(sql: "UPDATE head SET revision = revision + 1")
                let revision = try Int64.fetchOne(db, sql: "SELECT revision FROM head") ?? 0
                for write in transaction.writes {
                    switch write {
                    case .put(let key, let value):
                        try db.execute(
                            sql: """
                                INSERT INTO entry (key, value, created, modified) VALUES (?1, ?2, ?3, ?3)
                                ON CONFLICT (key) DO UPDATE SET value = ?2, modified = ?3
                                """,
                            arguments: [key, Self.blob(value), revision]
                        )
                    case .delete(let key):
                        try db.execute(sql: "DELETE FROM entry WHERE key = ?", arguments: [key])
                    }
                }
                return .committed(revision: revision)
            }
        }
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
            modified: row["modified"]
        )
    }

    private static func naming<Value>(
        _ operation: String,
        _ body: () async throws -> Value
    ) async throws(StoreError) -> Value {
        do {
            return try await body()
        } catch {
            throw StoreError(operation: operation, reason: "\(error)")
        }
    }
}
