import ArgumentParser
import ConfigurationFiles
import ProgramShell
import Testing

@Suite("How a command fails")
struct FailureTests {
    private struct Broken: Error {}

    @Test("a bad file is 65, anything else 1, and a command's own code is kept")
    func codes() async {
        func code(_ error: any Error) async -> ExitCode? {
            do {
                try await Failures.reporting("test") { throw error }
                return nil
            } catch {
                return error as? ExitCode
            }
        }
        #expect(
            await code(ConfigurationError(place: "hub.yaml:3", field: "listen", reason: "is missing")) == ExitCode(65)
        )
        #expect(await code(Broken()) == .failure)
        #expect(await code(ExitCode(79)) == ExitCode(79))
        #expect(await code(CancellationError()) == nil)
    }
}
