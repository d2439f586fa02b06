import StateStore
import TestKit
import Testing

@Suite("The store in memory")
struct MemoryStoreTests {
    @Test("keeps the laws of a store", arguments: StoreLaw.all)
    func laws(law: StoreLaw) async throws {
        try await law.check(running: MemoryStore())
    }
}
