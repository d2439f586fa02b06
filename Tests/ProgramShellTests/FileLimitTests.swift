import Testing

@testable import ProgramShell

@Suite("How many files a program may open")
struct FileLimitTests {
    @Test("is what the system allows, not what a shell begins with")
    func raised() throws {
        FileLimit.raise()
        let first = try #require(FileLimit.current)
        #expect(first >= 1_024)
        FileLimit.raise()
        #expect(FileLimit.current == first)
    }
}
