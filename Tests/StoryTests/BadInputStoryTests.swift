import Foundation
import TestKit
import Testing

/// What an operator sees who has made a mistake: one clear line and an exit code.
@Suite("Mistakes")
struct BadInputStoryTests {
    private func file(_ text: String, in folder: TemporaryFolder) throws -> String {
        let path = folder.file("bad.yaml")
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        return path
    }

    @Test(
        "a bad file is one line with file, line, field and fix, and exit code 65",
        arguments: [
            ("hub", "listen: 127.0.0.1:7400\nstat: x\n", "bad.yaml:1: state: is missing; add a line `state: …`"),
            ("hub", "listen: [\n", "bad.yaml: is not YAML:"),
            ("agent", "cluster: A\n", "bad.yaml:1: cluster: cluster \"A\" is not valid"),
            ("gateway", "gateway: gw\nregion: us\n", "listen: is missing"),
        ]
    )
    func badFile(program: String, text: String, message: String) async throws {
        let folder = try TemporaryFolder()
        let ended = try await Binary.run([program, "--config", try self.file(text, in: folder)])
        #expect(ended.code == 65)
        #expect(ended.errors.contains(message), "\(ended.errors)")
        #expect(ended.errors.split(separator: "\n").count == 1, "\(ended.errors)")
    }

    @Test("a file that is not there is named")
    func missingFile() async throws {
        let ended = try await Binary.run(["hub", "--config", "/nowhere/hub.yaml"])
        #expect(ended.code == 65)
        #expect(ended.errors == "isobar hub: /nowhere/hub.yaml: no such file\n")
    }

    @Test("an address off loopback is refused with the reason")
    func offLoopback() async throws {
        let folder = try TemporaryFolder()
        let text = "listen: 0.0.0.0:7400\nstate: \(folder.file("hub.sqlite"))\n"
        let ended = try await Binary.run(["hub", "--config", try self.file(text, in: folder)])
        #expect(ended.code == 1)
        #expect(ended.errors.contains("listen: 0.0.0.0:7400: links off loopback need mutual TLS"), "\(ended.errors)")
    }

    @Test("a state file that cannot be opened is named")
    func badState() async throws {
        let folder = try TemporaryFolder()
        let text = "listen: 127.0.0.1:0\nstate: /nowhere/hub.sqlite\n"
        let ended = try await Binary.run(["hub", "--config", try self.file(text, in: folder)])
        #expect(ended.code == 1)
        #expect(ended.errors.contains("/nowhere/hub.sqlite"), "\(ended.errors)")
    }

    @Test("a trace that is not there, and a region that does not exist, are named")
    func demo() async throws {
        let trace = try await Binary.run(["demo", "--trace", "/nowhere/trace.csv"])
        #expect(trace.code != 0)
        #expect(trace.errors.contains("/nowhere/trace.csv"), "\(trace.errors)")
        let region = try await Binary.run(["demo", "--fail", "mars@3s"])
        #expect(region.code == 64)
        #expect(region.errors.contains("there is no region \"mars\""), "\(region.errors)")
    }
}
