package import FleetModel
import Foundation

/// The last good plan on a gateway's disk, whole for that gateway whether it came as a body or as a delta, so that it can start while everything above it is gone.
package struct PlanFile: Sendable {
    package let path: String

    package init(path: String) { self.path = path }

    /// The plan in the file, or `nil` when there is no file.
    ///
    /// - Throws: ``PlanUnreadable`` when the file cannot be read or is damaged; it names the file.
    package func load() throws(PlanUnreadable) -> (plan: Plan, encoded: EncodedPlan)? {
        guard FileManager.default.fileExists(atPath: self.path) else { return nil }
        do {
            return try EncodedPlan.read([UInt8](try Data(contentsOf: URL(fileURLWithPath: self.path))))
        } catch {
            throw PlanUnreadable(reason: "\(self.path): \(error)")
        }
    }

    /// Replaces the file: after a power cut there is the old plan or the new one, never a mixture.
    ///
    /// - Throws: ``PlanUnreadable`` when it cannot be written; the old file is then untouched.
    package func save(_ plan: EncodedPlan) throws(PlanUnreadable) {
        let bytes = try plan.bytes()
        let temporary = self.path + ".new"
        do {
            try Data(bytes).write(to: URL(fileURLWithPath: temporary))
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: temporary))
            try file.synchronize()
            try file.close()
        } catch {
            throw PlanUnreadable(reason: "\(temporary): \(error)")
        }
        guard rename(temporary, self.path) == 0 else {
            throw PlanUnreadable(reason: "\(self.path): \(String(cString: strerror(errno)))")
        }
    }
}
