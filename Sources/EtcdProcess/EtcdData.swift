import Foundation

/// The folder of a member's data, with a note beside etcd's own folder of the process that uses it.
package struct EtcdData: Sendable {
    /// Why a folder cannot be used; it says the fix.
    package struct Fault: Error, Hashable, CustomStringConvertible {
        package let path: String
        package let reason: String

        package var description: String { "managedEtcd.data: \(self.path): \(self.reason)" }
    }

    package let path: String

    /// Makes the folder when it is not there.
    ///
    /// - Throws: ``Fault``.
    package init(path: String) throws(Fault) {
        self.path = path
        do {
            try FileManager.default.createDirectory(
                atPath: path,
                withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700]
            )
            // etcd refuses a folder that others may read, and one that an operator made is often such.
            try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: path)
        } catch {
            throw Fault(path: path, reason: "cannot be made: \(error.localizedDescription)")
        }
    }

    /// Whether it holds a log: then the member has been in a cluster.
    package var isUsed: Bool {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "\(self.path)/etcd/member/wal")) ?? []
        return names.contains { $0.hasSuffix(".wal") }
    }

    private var note: String { "\(self.path)/etcd.pid" }

    func remember(_ process: pid_t) throws {
        try Data("\(process)\n".utf8).write(to: URL(fileURLWithPath: self.note), options: .atomic)
    }

    func forget() { try? FileManager.default.removeItem(atPath: self.note) }

    /// The number of the etcd that uses the folder, by its note.
    package var process: Int32? {
        (try? String(contentsOfFile: self.note, encoding: .utf8))
            .flatMap { Int32($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
    }

    /// The etcd that a hub left behind when it was killed, while it still runs on this folder.
    var leftBehind: pid_t? {
        guard let process = self.process, process > 1,
            // The number may be another program's by now.
            let line = try? String(contentsOfFile: "/proc/\(process)/cmdline", encoding: .utf8)
        else { return nil }
        return line.split(separator: "\0").contains { $0 == "\(self.path)/etcd" } ? process : nil
    }

    /// Ends the etcd that was left behind, so that the folder and the ports are free.
    ///
    /// - Returns: Whether there was one.
    package func endLeftBehind() async -> Bool {
        guard let process = self.leftBehind else { return false }
        kill(process, SIGTERM)
        let deadline = ContinuousClock.now + EtcdProcess.grace
        while self.leftBehind == process, !Task.isCancelled {
            if ContinuousClock.now >= deadline { kill(process, SIGKILL) }
            try? await Task.sleep(for: .milliseconds(50))
        }
        self.forget()
        return true
    }
}
