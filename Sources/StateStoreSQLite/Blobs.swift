import Foundation
import GRDB

extension SQLiteStore {
    /// Bytes as SQLite takes them; an empty value is an empty blob, not NULL.
    static func blob(_ value: [UInt8]) -> Data { Data(value) }
}

extension DatabaseValue {
    /// The bytes of a blob.
    var bytes: [UInt8] {
        if case .blob(let data) = self.storage { return [UInt8](data) }
        return []
    }
}
