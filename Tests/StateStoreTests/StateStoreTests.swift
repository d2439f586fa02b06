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
        let progress = Progress()
        // Threads of their own: a deadlock would be theirs, and this test would live to tell it.
        Thread.detachNewThread {
            var seen = 0
            while !progress.isOver.load(ordering: .relaxed) {
                let round = progress.rounds.load(ordering: .acquiring)
                if round > seen { bell.ring() }
                seen = round
            }
        }
        Thread.detachNewThread {
            for round in 1...200 {
                let readers = (0..<20).map { _ in
                    Task { for await _ in bell.rings() { progress.heard.add(1, ordering: .relaxed) } }
                }
                // Each begins with something to hear, and then waits.
                while progress.heard.load(ordering: .relaxed) < 20 { sched_yield() }
                for _ in 0..<50 { sched_yield() }
                progress.rounds.store(round, ordering: .releasing)
                for reader in readers { reader.cancel() }
                progress.heard.store(0, ordering: .relaxed)
            }
            progress.hasEnded.store(true, ordering: .relaxed)
        }
        defer { progress.isOver.store(true, ordering: .relaxed) }
        try await eventually("all have left") { progress.hasEnded.load(ordering: .relaxed) }
        try await eventually("none is kept") { bell.listenerCount == 0 }
    }
}

private final class Progress: Sendable {
    let isOver = Atomic(false)
    let hasEnded = Atomic(false)
    let heard = Atomic(0)
    let rounds = Atomic(0)
}
