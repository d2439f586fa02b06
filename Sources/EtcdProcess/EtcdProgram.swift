package import EtcdCare
import Foundation
import Subprocess
import SystemPackage

/// etcd's program file, found and looked at.
package struct EtcdProgram: Sendable {
    package let path: String
    package let version: EtcdVersion

    /// Finds etcd and asks it for its version.
    ///
    /// - Parameter named: A path, or a name to look for in `PATH`.
    /// - Returns: The program.
    /// - Throws: ``EtcdProgramFault``.
    package static func find(_ named: String) async throws(EtcdProgramFault) -> EtcdProgram {
        guard let path = self.path(of: named) else {
            let place = named.contains("/") ? "is no program" : "is not in PATH"
            throw EtcdProgramFault(
                program: named,
                reason: "\(place); install etcd \(EtcdVersion.oldest) or later (Debian: etcd-server), "
                    + "or name its program in managedEtcd.program"
            )
        }
        let printed: String
        do {
            printed = try await Subprocess.run(
                .path(FilePath(path)),
                arguments: ["--version"],
                input: .none,
                output: .string(limit: 1 << 16),
                error: .discarded
            ).standardOutput
        } catch {
            throw EtcdProgramFault(program: path, reason: "cannot be run: \(error)")
        }
        guard let version = EtcdVersion(printed: printed) else {
            throw EtcdProgramFault(
                program: path,
                reason: "does not say its version when asked with --version; is it etcd?"
            )
        }
        guard version >= EtcdVersion.oldest else {
            throw EtcdProgramFault(
                program: path,
                reason:
                    "is etcd \(version); \(EtcdVersion.oldest) or later is needed, which managedEtcd.program may name"
            )
        }
        return EtcdProgram(path: path, version: version)
    }

    private static func path(of named: String) -> String? {
        let candidates =
            named.contains("/")
            ? [named]
            : (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/\(named)" }
        return candidates.first { path in
            var isFolder: ObjCBool = false
            return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && !isFolder.boolValue
                && FileManager.default.isExecutableFile(atPath: path)
        }
    }
}

/// Why etcd cannot be run; it says the fix.
package struct EtcdProgramFault: Error, Hashable, CustomStringConvertible {
    package let program: String
    package let reason: String

    package var description: String { "managedEtcd.program: \(self.program): \(self.reason)" }
}
