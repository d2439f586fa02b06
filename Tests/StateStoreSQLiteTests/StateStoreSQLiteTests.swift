import StateStore
import StateStoreSQLite
import TestKit
import Testing

@Suite("The store in SQLite")
struct SQLiteStoreTests {
    @Test("keeps the laws of a store", arguments: StoreLaw.all)
    func laws(law: StoreLaw) async throws {
        let folder = try TemporaryFolder()
        try await law.check(running: try SQLiteStore(path: folder.file("hub.sqlite")))
    }

    @Test("gives back after a restart what was committed before it")
    func restart() async throws {
        let folder = try TemporaryFolder()
        let transaction = StoreTransaction([.put(key: "plan", value: [1, 2, 3])])
        let outcome = try await SQLiteStore(path: folder.file("hub.sqlite")).commit(transaction)
        let again = try SQLiteStore(path: folder.file("hub.sqlite"))
        #expect(outcome == .committed(revision: 1))
        #expect(try await again.get("plan") == StoreEntry(key: "plan", value: [1, 2, 3], created: 1, modified: 1))
        #expect(try await again.commit(transaction) == .committed(revision: 2))
    }

    @Test("says which file it cannot open")
    func unopenable() throws {
        let error = #expect(throws: StoreError.self) { _ = try SQLiteStore(path: "/nonexistent/hub.sqlite") }
        #expect(error?.description.contains("/nonexistent/hub.sqlite") == true)
    }
}
