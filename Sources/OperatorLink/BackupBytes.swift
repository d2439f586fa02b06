import Crypto
import Foundation
import SwiftProtobuf
package import WireProtocol

/// A backup as it lies on disk: a line that says what it is, the SHA-256 of the rest, the rest.
package enum BackupBytes {
    private static let head = Array("isobar backup 1\n".utf8)

    /// Why a file is no backup.
    package struct Unreadable: Error, Hashable, CustomStringConvertible {
        package let reason: String
        package var description: String { self.reason }
    }

    package static func encode(_ backup: Isobar_V1_BackupFile) throws -> [UInt8] {
        let body: [UInt8] = try backup.serializedBytes()
        return self.head + Array(SHA256.hash(data: body)) + body
    }

    /// - Throws: ``Unreadable`` for a file that is cut, damaged or something else.
    package static func decode(_ bytes: [UInt8]) throws(Unreadable) -> Isobar_V1_BackupFile {
        guard bytes.starts(with: self.head) else {
            throw Unreadable(reason: "is no backup of this version: it does not begin with `isobar backup 1`")
        }
        let (hash, body) = (bytes.dropFirst(self.head.count).prefix(32), bytes.dropFirst(self.head.count + 32))
        guard Array(SHA256.hash(data: Array(body))) == Array(hash) else {
            throw Unreadable(reason: "is damaged: its checksum does not match; use another copy")
        }
        do {
            return try Isobar_V1_BackupFile(serializedBytes: Array(body))
        } catch {
            throw Unreadable(reason: "cannot be read: \(error)")
        }
    }
}
