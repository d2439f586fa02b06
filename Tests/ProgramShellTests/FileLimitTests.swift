import Testing

@testable import ProgramShell

@Suite("How many files a program may open")
struct FileLimitTests {
    @Test("is what the system allows, not what a shell begins with")
    func raised() throws {
        let first = try #require(FileLimit.raise())
        #expect(first >= 1_024)
        #expect(FileLimit.raise() == first)
    }
}
