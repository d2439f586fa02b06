package import ArgumentParser
import ConfigurationFiles
import Foundation

/// How commands fail: one clear line on standard error, and an exit code that says which kind it was.
///
/// 0 well · 1 failed · 64 wrong usage (ArgumentParser's own) · 65 a bad input file.
package enum Failures {
    /// A bad input file (`EX_DATAERR` of sysexits).
    package static let badInput = ExitCode(65)

    /// Runs a command's body and turns its error into that line and that code.
    ///
    /// - Throws: `ExitCode`.
    package static func reporting(_ command: String, _ body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch let code as ExitCode {
            throw code
        } catch is CancellationError {
            // A service failed and took the others with it; its own error is the one that is thrown.
        } catch let error as ConfigurationError {
            Self.report(command, "\(error)")
            throw Self.badInput
        } catch {
            Self.report(command, "\(error)")
            throw ExitCode.failure
        }
    }

    /// Writes `isobar COMMAND: reason` to standard error.
    package static func report(_ command: String, _ reason: String) {
        FileHandle.standardError.write(Data("isobar \(command): \(reason)\n".utf8))
    }
}
