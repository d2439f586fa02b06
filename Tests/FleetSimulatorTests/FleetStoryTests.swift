import Foundation
import Testing

@testable import FleetSimulator

/// The stories in `testenv/stories`: what is printed now is what stands there.
///
/// `ISOBAR_REWRITE_STORIES=1` writes what is printed now into the files; read the difference before it is committed.
@Suite struct FleetStoryTests {
    static let folder = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("testenv/stories")

    static var stories: [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: self.folder.path)) ?? []
        return names.filter { $0.hasSuffix(".txt") }.sorted()
    }

    @Test func `there are stories`() { #expect(!Self.stories.isEmpty) }

    @Test(arguments: FleetStoryTests.stories)
    func `the story goes as it is told`(name: String) throws {
        let file = Self.folder.appendingPathComponent(name)
        let text = try String(contentsOf: file, encoding: .utf8)
        let told = try FleetStory.retell(text)
        #expect(!told.contains("FAILED"), "\(told)")
        if ProcessInfo.processInfo.environment["ISOBAR_REWRITE_STORIES"] == "1" {
            try told.write(to: file, atomically: true, encoding: .utf8)
        } else {
            #expect(told == text)
        }
    }

    @Test func `a line that is no command is named`() {
        let error = #expect(throws: FleetStory.Failure.self) { try FleetStory.retell("region east\ndance\n----\n") }
        #expect(error?.line == 2)
    }
}
