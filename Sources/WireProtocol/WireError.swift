import FleetModel

/// Why a message from outside was refused: it names the field and what was wrong with it.
package struct WireError: Error, Hashable, CustomStringConvertible {
    package let field: String
    package let reason: String

    package init(field: String, reason: String) {
        self.field = field
        self.reason = reason
    }

    package var description: String { "field \(self.field): \(self.reason)" }

    /// Runs a name's own check and adds the field to its complaint.
    static func checking<Name>(_ field: String, _ make: () throws(InvalidName) -> Name) throws(WireError) -> Name {
        do {
            return try make()
        } catch {
            throw WireError(field: field, reason: error.description)
        }
    }

    /// A number that a computation may use: finite and not negative.
    static func quantity(_ field: String, _ value: Double) throws(WireError) -> Double {
        guard value.isFinite, value >= 0 else {
            throw WireError(field: field, reason: "\(value) is not a finite number of at least 0")
        }
        return value
    }
}
