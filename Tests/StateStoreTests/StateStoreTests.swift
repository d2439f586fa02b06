import Foundation
import Synchronization
import TestKit
import Testing

@testable import StateStore

@Suite("The store in memory")
struct MemoryStoreTests {
    @Test("keeps the laws of a store", arguments: StoreLaw.all)
    func laws(law: StoreLaw) async throws {
        try await law.check(running: MemoryStore())
    }
}

@Suite("The bell of a store")
struct StoreBellTests {
    @Test("listeners may leave at any moment while it rings")
    func leaving() async throws {
        let bell = StoreBell()
        let hasEnded = Flag()
        // Threads of their own: a deadlock would be theirs, and this test would live to tell it.
        Thread.detachNewThread {
            for _ in 0..<40 {
                let (waiting, go, gone) = (
                    DispatchSemaphore(value: 0), DispatchSemaphore(value: 0), DispatchSemaphore(value: 0)
                )
                let readers = (0..<20).map { _ in
                    Task { for await _ in bell.rings() { waiting.signal() } }
                }
                // Each begins with something to hear, and then waits.
                for _ in readers { waiting.wait() }
                for _ in 0..<50 { sched_yield() }
                Thread.detachNewThread {
                    go.wait()
                    bell.ring()
                    gone.signal()
                }
                go.signal()
                for reader in readers { reader.cancel() }
                gone.wait()
            }
            hasEnded.set()
        }
        try await eventually("all have left") { hasEnded.isSet }
        try await eventually("none is kept") { bell.listenerCount == 0 }
    }
}

private final class Flag: Sendable {
    private let flag = Atomic(false)

    var isSet: Bool { self.flag.load(ordering: .relaxed) }
    func set() { self.flag.store(true, ordering: .relaxed) }
}
