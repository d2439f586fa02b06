import Foundation
import TestKit
import Testing

@testable import ProcessKit

@Suite("Processes beside a test")
struct ProcessKitTests {
    @Test("run, write their log, and end by a signal or with their task")
    func life() async throws {
        let folder = try TemporaryFolder()
        for isKilled in [true, false] {
            let child = ChildProcess("/bin/sh", ["-c", "echo up; exec sleep 600"], log: folder.file("\(isKilled).log"))
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await child.run() }
                try await eventually("it is up") { child.isRunning && child.lines == ["up"] }
                if isKilled { child.signal(SIGKILL) } else { group.cancelAll() }
            }
            #expect(!child.isRunning)
        }
    }
}
