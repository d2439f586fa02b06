import Foundation

/// A fresh folder that is removed when the test lets go of it.
package final class TemporaryFolder: Sendable {
    package let path: String

    /// - Throws: When the folder cannot be made.
    package init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("isobar-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        self.path = url.path
    }

    /// The path of a file in it.
    package func file(_ name: String) -> String { "\(self.path)/\(name)" }

    deinit {
        // A folder that is left behind in the temporary directory harms nobody.
        try? FileManager.default.removeItem(atPath: self.path)
    }
}
